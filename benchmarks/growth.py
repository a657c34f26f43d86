"""Growth: seconds and memory of a whole command with more images, more networks, and a second process.

`alternet measure fourier variance calibration` of ResNet-18 at 64 pixels, from JPEGs of 160 x 120, in processes of
their own. Seconds are those beyond the command with two images, memory is the peak of the process, with nothing kept
(`--cache 0`). Each side is the median of three turns. Two processes (torchrun) get a core each, one gets one core.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.pictures import made
from benchmarks.turns import row

MODEL, SIDE, CLASSES = "resnet18", 64, 8
FEW, TIMES = 128, (4, 16)
NETWORKS = (3, 12)
TURNS = 3
MIB = 2**20


def rows() -> list[dict[str, Any]]:
    """Rows for images, networks and processes."""
    return list(_rows())


def _rows() -> Iterator[dict[str, Any]]:
    with TemporaryDirectory() as folder:
        files = (Path(folder, "test", str(n % CLASSES), f"{n}.jpg") for n in range(FEW * max(TIMES)))
        made(files, size=(160, 120), coarse=(16, 12), grain=8)
        start, _ = spent(folder, 2)
        few, least = spent(folder, FEW)
        larger = {times: spent(folder, FEW * times) for times in TIMES}
        for times, (seconds, peak) in larger.items():
            grown = (seconds - start) / (few - start)
            yield row(f"{times} x {FEW} images", seconds - start, few - start, grown, f"<= {1.1 * times:.1f}")
            yield row(
                f"peak memory with {times} x {FEW} images", peak / MIB, least / MIB, peak / least, "<= 1.1", "MiB"
            )
        alone, held = larger[4]
        for networks in NETWORKS:
            started, _ = spent(folder, 2, networks=networks)
            seconds, peak = spent(folder, FEW * 4, networks=networks)
            grown = (seconds - started) / (alone - start)
            yield row(
                f"{networks} networks, {FEW * 4} images", seconds - started, alone - start, grown, f"<= {networks}"
            )
            yield row(f"peak memory with {networks} networks", peak / MIB, held / MIB, peak / held, "<= 1.3", "MiB")
        for times in (1, *TIMES):
            one, _ = spent(folder, FEW * times, threads=1)
            two, _ = spent(folder, FEW * times, threads=1, processes=2)
            yield row(f"two processes for one, {FEW * times} images, the start included", two, one, one / two, "> 1")


def spent(folder: str, limit: int, *, networks: int = 1, processes: int = 1, threads: int = 0) -> tuple[float, float]:
    """Median seconds of the command, and the most bytes that its largest process held."""
    seconds, peaks = [], []
    for _ in range(TURNS):
        with TemporaryDirectory() as out:
            call = [sys.executable, "-m", "alternet.cli"]
            if processes > 1:
                call = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *call[1:]]
            call += ["measure", "fourier", "variance", "calibration", "--data", folder, "--img-size", str(SIDE)]
            for number in range(networks):
                call += ["-m", f"n{number}={MODEL}"]
            call += ["--limit", str(limit), "--cache", "0", "--workers", "0", "--out", out]
            taken, peak = finished(call, threads)
            seconds.append(taken)
            peaks.append(peak)
    return median(seconds), median(peaks)


def finished(call: Sequence[str], threads: int) -> tuple[float, float]:
    """Seconds of a process, and the most bytes that it, or one that it waited for, held."""
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    begun = perf_counter()
    process = subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, call)
    return perf_counter() - begun, usage.ru_maxrss * 1024.0


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())), flush=True)
