"""Peak memory of training each INR codec on a long clip of large frames, beside the clip itself.

    OMP_NUM_THREADS=1 python tests/benchmarks/memory.py [--codecs nerv,hinerv] [--dataset bunny1080]

One process for each codec: it holds the clip in 8 bits, takes the first step of every stage of the recipe, and saves a
checkpoint after each stage. FFNeRV and T-NeRV render some frames and fill their frame buffer with gray instead of
rendering all frames into it, which takes the same memory and an hour less. The clip is an artificial one of 600 frames
of 1920x1080; `--dataset` names a real one.
Prints the peak of the resident memory without that of the interpreter with torch imported and without the clip, the
network's parameters, the size of the checkpoint, and the seconds of the clock of the longest step.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rdbench.codecs.inr.networks.flow_guided import FlowNetwork

CODECS = (
    "nerv", "enerv", "psnerv", "nervpp", "hnerv", "dnerv", "hnerv-boost", "ffnerv", "cnerv", "tnerv", "hinerv",
    "tenerv", "canerv", "nvrc",
)  # fmt: skip
GIB = 1 << 30


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--dataset", default="", help="a clip by name; by default an artificial one")
    parser.add_argument("--clip", default="1920x1080", help="width and height of the artificial clip")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--size", default="3M", help="a rate point")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def fill_frame_buffer(network: "FlowNetwork") -> None:
    """Gives the network a frame buffer of the whole clip, after rendering as many frames as fill it at once."""
    import torch

    from rdbench.codecs.inr.networks.flow_guided import FRAMES_AT_ONCE
    from rdbench.codecs.inr.networks.render_batches import frames_on_cpu

    with torch.no_grad():
        network.independent_frames(torch.arange(frames_on_cpu(math.prod(network.patch_size), FRAMES_AT_ONCE)))
    network.set_extra_state(torch.full((network.frames, 3, *network.patch_size), 128, dtype=torch.uint8))


def measure(given: argparse.Namespace) -> dict[str, float | str]:
    """The figures of one codec, in a process that does nothing else."""
    import numpy as np
    import torch

    from rdbench.clips.dataset import resolve
    from rdbench.codec import Clip, Source, Workspace
    from rdbench.codecs.inr.codec import InrCodec
    from rdbench.codecs.inr.networks.flow_guided import FlowNetwork
    from rdbench.codecs.inr.networks.network import count_parameters
    from rdbench.registry import create, parse_specs
    from rdbench.video import Frames, Video, VideoFormat
    from rdbench.video.conditions import find_conditions
    from rdbench.video.readers import RgbVideo

    class Moving(Video):
        """RGB gradients that move; frames are made when they are read."""

        def __init__(self, width: int, height: int, frames: int) -> None:
            self.format, self.frames = VideoFormat(width, height, "rgb", frame_rate=Fraction(120)), frames

        def batches(self, size: int = 1) -> Iterator[Frames]:
            y, x = np.mgrid[: self.format.height, : self.format.width]
            for frame in range(self.frames or 0):
                plane = (x // 3 + y // 2 + 2 * frame).astype(np.uint8)[None]
                yield Frames((plane, plane[:, ::-1], plane[:, :, ::-1]))

    torch.set_num_threads(1)
    width, height = map(int, given.clip.split("x"))
    video: Video = Moving(width, height, given.frames)
    if given.dataset:
        (named,) = resolve(given.dataset)
        video = RgbVideo(named.open(frames=given.frames), find_conditions("rgb601"))
    (spec,) = parse_specs(given.child)
    codec = create(spec, given.preset)
    assert isinstance(codec, InrCodec)
    base = peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        point = codec.rate_point(given.size, Clip(video.format, given.frames))
        ready = codec.prepare(Source(video, video), point, Workspace(Path(folder)))
        trainer = ready.trainer(codec.chosen_compression(), Workspace(Path(folder)), codec.stages(point))
        if isinstance(trainer.network, FlowNetwork):
            fill_frame_buffer(trainer.network)
        longest = 0.0
        for number, stage in enumerate(trainer.stages):
            trainer.network.enter(stage)
            trainer.scheme.enter(trainer.network, stage)
            optimizer, average = trainer.start(stage)
            began = time.perf_counter()
            trainer.step(stage, optimizer, torch.arange(trainer.samples.batch(stage)), max(1, stage.rate_every))
            longest = max(longest, time.perf_counter() - began)
            trainer.save(number, stage.epochs, optimizer, average)
            trainer.checkpoint.wait()
        checkpoint = trainer.checkpoint.path.stat().st_size
    return {
        "codec": given.child, "frames": len(ready.frames), "parameters": count_parameters(ready.network),
        "beside": (peak_bytes() - base - ready.frames.nbytes) / GIB, "clip": ready.frames.nbytes / GIB,
        "checkpoint": checkpoint / GIB, "step": longest,
    }  # fmt: skip


def main() -> None:
    """Measures the codecs, one process after the other."""
    given = parse()
    if given.child:
        print(json.dumps(measure(given)))
        return
    print("| codec | parameters | clip (GiB) | beside it (GiB) | checkpoint (GiB) | longest step (s) |")
    print("|---|---|---|---|---|---|")
    for codec in given.codecs.split(","):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", codec]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{codec} failed.")
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {codec} | {found['parameters']} | {found['clip']:.2f} | {found['beside']:.2f} "
            f"| {found['checkpoint']:.2f} | {found['step']:.0f} |", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
