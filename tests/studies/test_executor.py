"""Executors: how many jobs run at a time, with what of the machine each, and that none is left behind."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from alternet.studies import executor
from alternet.studies.executor import LocalProcesses


class Idle:
    """A job of which only the folder is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, device: str | None = None) -> None:
        raise AssertionError("it belongs into a process of its own")

    def command(self, device: str | None = None) -> list[str]:
        return ["train", str(device)]


class Started:
    """A process that ends when it was asked often enough, later ones later, and is noted."""

    every: list["Started"]
    together: int

    def __init__(self, arguments: list[str], *, env: dict[str, str], **_: Any) -> None:
        self.arguments, self.environment, self.asked, self.returncode = arguments, env, 0, 0
        self.ended = False
        Started.every.append(self)
        Started.together = max(Started.together, sum(not each.ended for each in Started.every))

    def poll(self) -> int | None:
        self.asked += 1
        self.ended = self.asked > 2 + Started.every.index(self)
        return 0 if self.ended else None

    def terminate(self) -> None:
        self.ended = True

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGCONT

    def wait(self, timeout: float | None = None) -> None:
        assert self.ended, "it would be waited for until it is done"


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    Started.every, Started.together = [], 0
    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(executor.time, "sleep", lambda _: None)
    monkeypatch.setattr(executor.os, "cpu_count", lambda: 12)
    monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: 0)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def jobs(folder: Path, number: int = 7) -> list[Idle]:
    return [Idle(folder / "trained" / str(each)) for each in range(number)]


def test_so_many_at_a_time_as_were_asked_for_and_each_once(tmp_path: Path) -> None:
    given = jobs(tmp_path)
    done = [job.folder.name for job in LocalProcesses(3).run(given)]
    assert sorted(done) == [str(number) for number in range(7)] and len(Started.every) == 7
    assert Started.together == 3
    assert {each.environment["OMP_NUM_THREADS"] for each in Started.every} == {"4"}
    assert all(each.arguments[2:] == ["alternet.cli", "train", "None"] for each in Started.every)
    assert "CUDA_VISIBLE_DEVICES" not in Started.every[0].environment


def test_what_the_user_says_of_threads_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    list(LocalProcesses(3).run(jobs(tmp_path, 1)))
    assert Started.every[0].environment["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(("visible", "used"), [(None, ["0", "1", "0", "1"]), ("4,7", ["4", "7", "4", "7"])])
def test_gpus_are_taken_in_turn(
    visible: str | None, used: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: 2)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    list(LocalProcesses(2).run(jobs(tmp_path, 4)))
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in Started.every] == used
    list(LocalProcesses(2, "cpu").run(jobs(tmp_path, 1)))
    assert Started.every[-1].environment.get("CUDA_VISIBLE_DEVICES") == visible
    assert Started.every[-1].arguments[-1] == "cpu"


def test_who_stops_halfway_leaves_no_process_behind(tmp_path: Path) -> None:
    running = LocalProcesses(2).run(jobs(tmp_path))
    next(running)
    running.close()
    assert all(each.ended for each in Started.every) and len(Started.every) < 7
