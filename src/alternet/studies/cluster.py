"""SLURM as an executor, through submitit: a job array, in which each job goes on where it was stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from alternet.studies.executor import Job, ends_with, jobs_failed

AT_ONCE = 256
"""How many jobs of an array run at a time, where nothing is said."""

POLL = 2.0
"""Seconds between looks at what is finished."""

ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
"""States of SLURM after which a job does nothing any more; one that is put back into the queue is none of them."""

REQUEUES = 20
"""How often a job that is preempted or out of time is put back into the queue."""


@dataclass(frozen=True)
class Slurm:
    """Jobs of SLURM, one a network, handed in as an array; the call waits for them, and can be started again.

    A job that SLURM preempts or that runs out of its time is put back into the queue and goes on where it stopped. One
    that fails or is cancelled keeps no other from being finished; started again, it is handed in again.

    Attributes:
        logs: Folder of what jobs print.
        partition: Where to run; by default that of the cluster.
        minutes: Limit of time of a job.
        gpus: GPUs of a job; with two or more the job is a torchrun of as many processes.
        cpus: Cores of a job.
        at_once: How many jobs run at a time, at most.
        device: As `--device`.
        options: More of sbatch's, by their long names with underscores.

    Raises:
        ValueError: submitit or SLURM is not installed.
    """

    logs: Path
    partition: str = ""
    minutes: int = 24 * 60
    gpus: int = 0
    cpus: int = 2
    at_once: int = AT_ONCE
    device: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Hand them in, and hand each out as it is finished.

        Raises:
            RuntimeError: Some failed or were cancelled; the others are finished.
        """
        if not jobs:
            return
        executor = self._executor()
        with executor.batch():
            handed = [executor.submit(Resumed(self._line(job))) for job in jobs]
        waiting = list(zip(jobs, handed, strict=True))
        failed: list[str] = []
        gone: set[str] = set()
        while waiting:
            known = in_queue([task.job_id for _, task in waiting])
            for job, task in list(waiting):
                if task.paths.result_pickle.exists():
                    waiting.remove((job, task))
                    if (error := task.exception()) is None:
                        yield job
                    else:
                        failed.append(f"{job.folder} ({_why(task, error)})")
                elif task.job_id in gone - known:  # twice in a row, since a shared disk may lag behind the queue
                    waiting.remove((job, task))
                    failed.append(f"{job.folder} (job {task.job_id} was killed or cancelled; see {task.paths.stderr})")
            gone = {task.job_id for _, task in waiting} - known
            time.sleep(POLL if waiting else 0)
        if failed:
            raise jobs_failed(len(jobs), failed)

    def __post_init__(self) -> None:
        if find_spec("submitit") is None:
            raise ValueError("--cluster slurm needs submitit. Install it: pip install 'alternet[cluster]'")
        if which("srun") is None:
            raise ValueError(
                "--cluster slurm found no SLURM: there is no srun. Call it on a machine that hands in jobs."
            )

    def _executor(self) -> Any:
        import submitit

        executor = submitit.SlurmExecutor(folder=self.logs, max_num_timeout=REQUEUES)
        options: dict[str, Any] = {"time": self.minutes, "cpus_per_task": self.cpus, "array_parallelism": self.at_once}
        options |= {"job_name": "alternet", "signal_delay_s": 60}
        options |= {"partition": self.partition} if self.partition else {}
        options |= {"gres": f"gpu:{self.gpus}"} if self.gpus else {}
        executor.update_parameters(**options, **({"additional_parameters": self.options} if self.options else {}))
        return executor

    def _line(self, job: Job) -> list[str]:
        alternet = ["-m", "alternet.cli", *job.command(self.device)]
        if self.gpus < 2:
            return [sys.executable, *alternet]
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={self.gpus}",
            *alternet,
        ]


def minutes(text: str) -> int:
    """A limit of time; a number alone counts minutes.

    Raises:
        ValueError: It is none.

    Examples:
        >>> minutes("90"), minutes("24h"), minutes("2d")
        (90, 1440, 2880)
    """
    found = re.fullmatch(r"(\d+)\s*([mhd]?)", text.strip())
    if found is None or not int(found[1]):
        raise ValueError(f"--time got {text!r}, expected minutes, or a number with m, h or d: 45m, 24h, 2d.")
    return int(found[1]) * {"": 1, "m": 1, "h": 60, "d": 1440}[found[2]]


def in_queue(jobs: Sequence[str]) -> set[str]:
    """Which of the jobs SLURM still has to do or is doing; asked of the queue, since many clusters keep no accounts."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    line = ["squeue", "--noheader", "--array", "--format=%F_%K %T", f"--jobs={','.join(arrays)}"]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    if told.returncode and "Invalid job id" not in told.stderr:  # what it says of jobs that it has forgotten
        return set(jobs)  # the controller is away for a moment
    rows = [row.split() for row in told.stdout.splitlines() if row.strip()]
    there = {job.removesuffix("_N/A") for job, state in rows if state not in ENDED}
    return there & set(jobs)


def _why(task: Any, error: Exception) -> str:
    said = [line for line in task.stderr().splitlines() if line.startswith("alternet: ")] if task.stderr() else []
    return said[-1].rstrip(".") if said else str(error).strip().splitlines()[-1]


class Resumed:
    """A command that may be stopped at any time, and is the same when it is begun again; submitit calls it."""

    def __init__(self, line: Sequence[str]) -> None:
        self.line = list(line)

    def __call__(self) -> None:
        """Run it to its end.

        Raises:
            RuntimeError: It failed.
        """
        # The signal that time is over is for submitit, which puts the job back; the command only ends with it.
        done = subprocess.run(self.line, check=False, preexec_fn=ends_with(os.getpid(), ignored=signal.SIGUSR2))
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {' '.join(self.line)}")

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue when SLURM takes the machine away or the time is over."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
