"""A job that is stopped or hangs is not waited for without end, and costs the others nothing."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from alternet.errors import in_one_line
from alternet.studies import executor
from alternet.studies.executor import LocalProcesses

pytestmark = pytest.mark.slow

STOPPED = "import os, signal; print('begun', flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
HUNG = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
GETS_ON = """
import os, time
from alternet.patience import FINISHED, PULSE
assert PULSE not in os.environ
for _ in range(10):
    time.sleep(1)
    FINISHED.one()
"""
"""It lasts longer than the limit, but finishes something every second."""


class Written:
    """A job whose process runs what is given."""

    def __init__(self, folder: Path, code: str) -> None:
        self.folder, self.code = folder, code

    def run(self, device: str | None = None) -> None:
        raise AssertionError("it belongs into a process of its own")

    def command(self, device: str | None = None) -> list[str]:
        return [self.code]


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def started(arguments: list[str], **options: Any) -> Any:
        return start([sys.executable, "-c", arguments[-1]], **options)

    monkeypatch.setattr(executor.subprocess, "Popen", started)
    monkeypatch.setenv("ALTERNET_TIMEOUT", "6")


def test_a_job_that_is_stopped_or_hangs_is_ended_and_named(tmp_path: Path) -> None:
    codes = {"stopped": STOPPED, "hung": HUNG, "done": "", "gets-on": GETS_ON}
    jobs = [Written(tmp_path / name, code) for name, code in codes.items()]
    done: list[str] = []
    with pytest.raises(RuntimeError) as caught:
        done += (job.folder.name for job in LocalProcesses(4).run(jobs))
    line = in_one_line(caught.value)
    assert line.startswith("2 of 4 jobs failed: ") and line.count("has finished nothing for 6 seconds") == 2
    assert all(str(tmp_path / name) in line for name in ("stopped", "hung"))


def test_what_is_finished_is_handed_out_although_another_job_hangs(tmp_path: Path) -> None:
    running: Any = LocalProcesses(2).run([Written(tmp_path / "hung", HUNG), Written(tmp_path / "done", "")])
    assert next(running).folder.name == "done"
    running.close()


@pytest.mark.parametrize("code", [STOPPED, DEAF])
def test_who_stops_does_not_wait_for_a_job_that_does_not_end(code: str, tmp_path: Path) -> None:
    running: Any = LocalProcesses(2).run(
        [Written(tmp_path / "lost", code), Written(tmp_path / "done", "import time; time.sleep(1)")]
    )
    assert next(running).folder.name == "done"
    begun = time.monotonic()
    running.close()
    assert time.monotonic() - begun < 60
