"""Which jobs a machine takes side by side, with GPUs of any number and memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.runner.executors.slots import Need, Slot, Slots
from rdbench.runner.nvml import VisibleGpu

TWO = (VisibleGpu("3", 8000.0), VisibleGpu("GPU-b", 16000.0))


def take(slots: Slots, need: Need) -> Slot:
    slot = slots.take(need)
    assert slot is not None
    return slot


def test_jobs_on_gpus_go_to_visible_ones_alone_the_emptier_first() -> None:
    slots = Slots(TWO, 16, 8)
    need = Need(1, "cuda", 5000.0)
    assert [take(slots, need).entry for _ in range(4)] == ["GPU-b", "3", "GPU-b", "GPU-b"]  # 3 * 5000 and 1 * 5000
    assert slots.take(need) is None
    assert slots.take(Need(1)) is not None  # a job on cores needs no GPU


def test_a_job_that_ended_frees_its_memory() -> None:
    slots = Slots(TWO[:1], 16, 8)
    first = take(slots, Need(1, "cuda", 7000.0))
    assert slots.take(Need(1, "cuda", 7000.0)) is None
    slots.give_back(first)
    assert take(slots, Need(1, "cuda", 7000.0)).entry == "3"


def test_conventional_jobs_take_no_gpu() -> None:
    assert take(Slots(TWO, 16, 8), Need(4)) == Slot(Need(4), None, None)


def test_a_job_of_unknown_memory_has_a_gpu_for_itself() -> None:
    slots = Slots(TWO, 16, 8)
    assert {take(slots, Need(1, "cuda")).entry, take(slots, Need(1, "cuda")).entry} == {"3", "GPU-b"}
    assert slots.take(Need(1, "cuda", 1.0)) is None


def test_gpus_of_unknown_memory_take_one_job_each() -> None:
    slots = Slots((VisibleGpu("0", None), VisibleGpu("1", None)), 16, 8)
    assert [take(slots, Need(1, "cuda", 100.0)).entry for _ in range(2)] == ["0", "1"]
    assert slots.take(Need(1, "cuda", 100.0)) is None


def test_where_nothing_lists_gpus_one_job_at_a_time_keeps_the_users_variables() -> None:
    slots = Slots((), 16, 8)
    assert take(slots, Need(1, "cuda", 100.0)).entry is None
    assert slots.take(Need(1, "cuda", 100.0)) is None


def test_a_job_larger_than_every_gpu_is_tried_alone_on_the_largest() -> None:
    slots = Slots(TWO, 16, 8)
    small = take(slots, Need(1, "cuda", 100.0))
    assert slots.take(Need(1, "cuda", 99000.0)) is None
    slots.give_back(small)
    assert take(slots, Need(1, "cuda", 99000.0)).entry == "GPU-b"


def test_a_certain_gpu_keeps_the_variables_because_its_number_counts_the_visible_ones() -> None:
    slots = Slots(TWO, 16, 8)
    first = take(slots, Need(1, "cuda:0", 99000.0))
    assert (first.gpu, first.entry) == (0, None)
    assert slots.take(Need(1, "cuda:0", 10.0)) is None
    assert take(slots, Need(1, "cuda", 5000.0)).entry == "GPU-b"
    assert take(slots, Need(1, "cuda:7", 5000.0)).entry is None  # fails by itself, as there is no such GPU


def test_no_more_threads_than_cores_unless_one_job_asks_for_more() -> None:
    slots = Slots((), 8, 8)
    large = take(slots, Need(12))
    assert slots.take(Need(1)) is None
    slots.give_back(large)
    assert [slots.take(Need(3)) is not None for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_jobs_than_asked_for(parallel: int) -> None:
    slots = Slots((), 64, parallel)
    assert sum(slots.take(Need(1)) is not None for _ in range(5)) == parallel
    assert slots.full


needs = st.builds(
    Need,
    st.integers(1, 12),
    st.sampled_from(["cpu", "cuda", "cuda:0", "cuda:1", "cuda:5"]),
    st.none() | st.floats(1, 30000),
)
gpu_lists = st.lists(st.builds(VisibleGpu, st.text("0123", min_size=1), st.none() | st.floats(0, 30000)), max_size=3)


@given(st.lists(needs, max_size=12), gpu_lists, st.integers(1, 16), st.integers(1, 6))
def test_every_job_starts_in_the_end_and_nothing_is_promised_twice(
    wanted: list[Need], gpus: list[VisibleGpu], cores: int, parallel: int
) -> None:
    slots, waiting, running = Slots(gpus, cores, parallel), list(wanted), list[Slot]()
    while waiting:
        started = [(need, slot) for need in waiting if (slot := slots.take(need)) is not None]
        assert started or running
        waiting = [need for need in waiting if all(need is not one for one, _ in started)]
        running += [slot for _, slot in started]
        assert len(running) <= parallel
        assert len(running) == 1 or sum(slot.need.threads for slot in running) <= cores
        for number, gpu in enumerate(gpus):
            there = [slot.need.memory_mb for slot in running if slot.gpu == number]
            assert len(there) < 2 or sum(memory or float("inf") for memory in there) <= (gpu.free_mb or 0.0)
        if running:
            slots.give_back(running.pop(0))
