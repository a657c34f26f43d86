"""A study on a real SLURM, of one machine: as a job array, with jobs that are killed, cancelled and put back."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.studies.test_reproduce import STUDIES, numbers
from tests.studies.tiny_studies import HONEST, VARIED

from alternet.cli import run
from alternet.studies import cluster
from alternet.studies.cluster import Resumed, Slurm, in_queue, minutes
from alternet.studies.executor import InProcess
from alternet.studies.plan import Plan
from alternet.studies.reproduce import reproduce
from alternet.studies.scale import SMOKE

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm.sh"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of this machine alone."""
    folder = tmp_path_factory.mktemp("slurm")
    with socket.socket() as free:
        free.bind(("", 0))
        ports = {"SLURM_TEST_PORT": str(free.getsockname()[1])}
    begun = subprocess.run(
        ["sh", SCRIPT, "start", folder], env=os.environ | ports, capture_output=True, text=True, check=False
    )
    if begun.returncode:
        pytest.skip(begun.stderr.strip() or f"scripts/slurm.sh ended with {begun.returncode}")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield folder
    subprocess.run(["scancel", "--user=root"], check=False)
    subprocess.run(["sh", SCRIPT, "stop", folder], check=False)
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


def wait_for(what, seconds: float = 240):
    """Look until there is something to see."""
    until = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.2)
    return seen


def planned(out: Path, **more) -> Plan:
    again = ("reproduce", str(STUDIES), "--seeds", "2", "--out", str(out))
    return Plan(studies=(HONEST, VARIED), scale=SMOKE, out=out, seeds=range(2), again=again, **more)


@pytest.mark.thorough
def test_a_study_as_a_job_array_with_a_job_killed_and_one_cancelled(slurm, tmp_path):
    out, alone = tmp_path / "out", tmp_path / "alone"
    executor = Slurm(tmp_path / "jobs", minutes=30, cpus=1, device="cpu")
    jobs = planned(out).jobs
    assert len(jobs) == 4
    handed = executor.run(jobs)
    seen = [next(handed)]  # by now all are handed in, and the first one is finished
    names = sorted(in_queue([f"{array}_{k}" for array in arrays() for k in range(4)]))
    assert names, "the others are waiting or running"
    subprocess.run(["scancel", names[-1]], check=True)
    if len(names) > 1:
        subprocess.run(["scancel", "--signal=KILL", names[0]], check=True)
    with pytest.raises(RuntimeError, match=r"of 4 jobs failed: .*(killed or cancelled|exit code)"):
        seen += list(handed)
    assert 0 < len(seen) < 4
    results, failed = reproduce(planned(out), executor)  # handed in again, what was stopped goes on
    assert not failed
    assert not results.missing
    reproduce(planned(alone), InProcess("cpu"))
    one, two = numbers(alone), numbers(out)
    keys = ["figure", "arm", "quantity", "seed"]
    assert one[keys].equals(two[keys])
    # with another number of threads sums may be in another order
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-3, atol=1e-5)


def arrays() -> set[str]:
    """Numbers of the jobs that SLURM has."""
    told = subprocess.run(["squeue", "--noheader", "--format=%F"], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


@pytest.mark.thorough
def test_what_is_preempted_is_put_back_and_goes_on(slurm, tmp_path):
    counter = tmp_path / "begun"
    # begins, and waits at its first beginning alone
    code = f"import pathlib, time; f = pathlib.Path({str(counter)!r}); n = f.read_text() if f.exists() else ''; "
    code += "f.write_text(n + 'x'); time.sleep(0 if n else 600)"
    executor = Slurm(tmp_path / "jobs", minutes=30, cpus=1)._executor()
    task = executor.submit(Resumed([sys.executable, "-c", code]))
    wait_for(counter.exists)
    time.sleep(1)
    subprocess.run(
        ["scancel", "--signal=USR2", task.job_id], check=True
    )  # as SLURM does before it takes a machine away
    wait_for(task.paths.result_pickle.exists)
    assert task.exception() is None
    assert counter.read_text() == "xx"


def test_the_queue_is_read(monkeypatch):
    class Told:
        returncode, stderr = 0, ""
        stdout = "7_0 RUNNING\n7_1 PENDING\n7_2 CANCELLED\n8_N/A COMPLETING\n"

    monkeypatch.setattr(cluster.subprocess, "run", lambda *_, **__: Told)
    assert in_queue(["7_0", "7_1", "7_2", "7_3", "8"]) == {"7_0", "7_1", "8"}
    monkeypatch.setattr(Told, "returncode", 1)
    monkeypatch.setattr(Told, "stderr", "slurm_load_jobs error: Unable to contact slurm controller")
    assert in_queue(["7_0", "7_3"]) == {"7_0", "7_3"}


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """A machine that looks as if it had SLURM."""
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_job_of_several_gpus_is_a_torchrun(tmp_path, somewhere):
    (job, *_) = planned(tmp_path).jobs
    line = Slurm(tmp_path, gpus=4)._line(job)
    assert line[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4"]
    assert line[-2:] == ["--only", job.folder.name]
    assert Slurm(tmp_path, gpus=1, device="cuda")._line(job)[-1] == "cuda"


def test_without_slurm_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["reproduce", str(STUDIES), "--cluster", "slurm", "--out", str(tmp_path / "out")]) == 2
    assert "found no SLURM" in capsys.readouterr().err


def test_limits_of_time():
    with pytest.raises(ValueError, match="expected minutes, or a number with m, h or d"):
        minutes("tomorrow")
