"""Executors: where the jobs of a study run. Every executor leaves the same files."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from alternet.errors import Failure, in_one_line
from alternet.patience import PULSE, patience

PAUSE = 0.1
"""Seconds between two looks at what runs."""

KILLED = 5.0
"""Seconds that are waited for the end of a process that was killed."""


class Job(Protocol):
    """A piece of work that writes one folder and finds finished work finished."""

    @property
    def folder(self) -> Path:
        """Where its files belong."""
        ...

    def run(self, device: str | None = None) -> None:
        """Do it in this process."""
        ...

    def command(self, device: str | None = None) -> list[str]:
        """The same as arguments of `alternet`."""
        ...


class Executor(Protocol):
    """Runs jobs in any order and number at a time; a cluster is one more class with this method."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Run all of them, and hand out each as it is finished.

        Raises:
            RuntimeError: Some failed; the others are finished.
        """
        ...


@dataclass(frozen=True)
class InProcess:
    """One job after the other, in this process.

    Attributes:
        device: Where to train; by default a GPU if there is one.
    """

    device: str | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Run them in order; those that fail keep no other from being finished.

        Raises:
            Exception: What kept the only one that failed from being finished.
            RuntimeError: Several failed.
        """
        failed: list[tuple[Job, Exception]] = []
        for job in jobs:
            try:
                job.run(self.device)
            except Exception as error:
                failed.append((job, error))
            else:
                yield job
        if len(failed) == 1:
            raise failed[0][1]
        if failed:
            raise jobs_failed(len(jobs), [f"{job.folder} ({in_one_line(error).rstrip('.')})" for job, error in failed])


@dataclass(frozen=True)
class LocalProcesses:
    """Several jobs at a time, each a process of its own with its share of the cores, and a GPU of its own if it can.

    What a job prints stands beside its folder, in a file that ends in `.txt`. Jobs end with the process that started
    them (on Linux also if that is killed), and go on where they stopped when they are started again. One that finishes
    nothing for ten minutes (`--timeout`) is ended, and counts as failed.

    Attributes:
        number: How many at a time.
        device: Where to train; by default each on a GPU, in turn, if there are any.
    """

    number: int = 2
    device: str | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"LocalProcesses got {self.number} at a time, expected 1 or more.")

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Run them; those that fail keep no other from being finished."""
        waiting, limit = list(enumerate(jobs)), patience()
        running: list[_Running] = []
        failed: list[str] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.number:
                    place, job = waiting.pop(0)
                    running.append(self._started(job, place))
                time.sleep(PAUSE)
                for one in [each for each in running if each.over(limit)]:
                    running.remove(one)
                    if why := one.failed(limit):
                        failed.append(f"{one.job.folder} ({why})")
                    else:
                        yield one.job
        finally:
            for one in running:
                one.stop()
            for one in running:
                one.wait(limit)
        if failed:
            raise jobs_failed(len(jobs), failed)

    def _started(self, job: Job, place: int) -> "_Running":
        threads = max(1, (os.cpu_count() or 1) // self.number)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        if self.device is None and (gpus := torch.cuda.device_count()) > 0:
            allowed = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
            environment["CUDA_VISIBLE_DEVICES"] = allowed.split(",")[place % gpus]
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-m", "alternet.cli", *job.command(self.device)]
        hears, tells = os.pipe()
        try:
            for end in (hears, tells):
                os.set_blocking(end, False)
            _output(job).unlink(missing_ok=True)  # what an earlier one said, or a link or a pipe in its place
            with _output(job).open("xb") as output:
                process = subprocess.Popen(
                    arguments,
                    stdout=output,
                    stderr=output,
                    env=environment | {PULSE: str(tells)},
                    preexec_fn=ends_with(os.getpid()),
                    pass_fds=(tells,),
                )
        except BaseException:
            os.close(hears)
            raise
        finally:
            os.close(tells)
        return _Running(job, process, hears)


@dataclass(eq=False)
class _Running:
    """A job in a process of its own, which says through a pipe that it gets on.

    Attributes:
        job: What it does.
        process: The process.
        hears: The end of the pipe that we read.
        silent: Seconds that we have waited without a word; pauses are counted, since this process may have been stopped
            itself meanwhile.
    """

    job: Job
    process: "subprocess.Popen[bytes]"
    hears: int
    silent: float = 0.0

    def over(self, limit: float) -> bool:
        """Whether it has ended, or has finished nothing for so long that it is ended now."""
        if self.process.poll() is None:
            self.silent = 0.0 if self._heard() else self.silent + PAUSE
            if self.silent <= limit:
                return False
            self._kill()
        os.close(self.hears)
        return True

    def failed(self, limit: float) -> str:
        """Why it failed, empty where it did not."""
        if self.silent > limit:
            return f"it has finished nothing for {limit:g} seconds: it was stopped, or hung; --timeout sets that"
        return _last_line(_output(self.job), self.process.returncode) if self.process.returncode else ""

    def stop(self) -> None:
        """Let it store what is finished, and end; one that was stopped must go on for that."""
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)

    def wait(self, limit: float) -> None:
        """Wait until it has ended, and end it where that takes too long."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self._kill()
        finally:
            os.close(self.hears)

    def _kill(self) -> None:
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that waits for a disk that is gone cannot even be killed
            self.process.wait(KILLED)

    def _heard(self) -> bool:
        try:
            return bool(os.read(self.hears, 2**16))
        except BlockingIOError:
            return False


def local(number: int, device: str | None) -> Executor:
    """The executor on this machine for so many jobs at a time."""
    return InProcess(device) if number == 1 else LocalProcesses(number, device)


def jobs_failed(jobs: int, failed: Sequence[str]) -> Failure:
    """The error of an executor some of whose jobs failed."""
    return Failure(f"{len(failed)} of {jobs} jobs failed: {'; '.join(failed)}.")


def _output(job: Job) -> Path:
    return job.folder.with_suffix(".txt")


def _last_line(file: Path, code: int) -> str:
    lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else f"exit code {code}, without a word"


def ends_with(parent: int, *, ignored: signal.Signals | None = None) -> Callable[[], None] | None:
    """Let a new process be ended with its parent, also where that is killed; on Linux alone.

    Args:
        parent: Its number.
        ignored: A signal to the parent that the new process shall not mind.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)

    def prepare() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)
        with suppress(AttributeError):
            library.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it was killed before we said so
            os._exit(1)

    return prepare
