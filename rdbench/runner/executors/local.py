"""Jobs in processes of this machine; each GPU takes its share of them."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from ...codec import Progress
from ...report.results import Record
from ..job import run_job
from ..stage import Stopped
from ..sweep import Job


def count_gpus() -> int:
    """The number of NVIDIA GPUs, from the driver's own tool so that torch need not be imported."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def run_jobs(
    jobs: Sequence[Job], out: Path, parallel: int, progress: Callable[[Job], Progress], stop: threading.Event
) -> Iterator[tuple[Job, Record]]:
    """Runs `parallel` jobs side by side and yields each with its record as it ends; jobs take turns on the GPUs."""
    gpus = count_gpus()
    with ThreadPoolExecutor(parallel, thread_name_prefix="job") as pool:
        waiting: dict[Future[Record], Job] = {}
        queue = iter(enumerate(jobs))
        try:
            while True:
                while len(waiting) < parallel and (following := next(queue, None)) is not None:
                    index, job = following
                    gpu = index % gpus if gpus > 1 else None
                    waiting[pool.submit(run_job, job, out, progress(job), stop, gpu)] = job
                if not waiting:
                    return
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        except (KeyboardInterrupt, GeneratorExit, Stopped):
            stop.set()
            raise
