"""A process that reads a stream and is killed, or hangs, is replaced once, and no batch is lost or given twice."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.training.test_streams import INSTALLED, data, made

from alternet.data import streaming
from alternet.errors import Failure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # webdataset leaves its files open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hung() -> None:
    time.sleep(60)


def failing(at: int, mark: Path | None, fail: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a worker decodes its so-manieth picture: the first time, where there is a file for it, or always."""
    decoded, count = streaming._decoded, []

    def decode(one):
        count.append(one)
        if torch.utils.data.get_worker_info() and len(count) == at and not (mark and mark.exists()):
            if mark:
                mark.touch()
            fail()
        return decoded(one)

    monkeypatch.setattr(streaming, "_decoded", decode)


@INSTALLED
@pytest.mark.parametrize("fail", [killed, hung])
@pytest.mark.parametrize("at", [1, 9, 16])
def test_a_lost_reader_is_replaced(at: int, fail: Callable[[], None], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ALTERNET_TIMEOUT", "600" if fail is killed else "10")
    root = made(tmp_path / "shards")
    alone = [list(data(root).epoch(epoch)) for epoch in range(2)]
    failing(at, tmp_path / "failed", fail, monkeypatch)
    helped = data(root, workers=2)
    for epoch, whole in enumerate(alone):  # the second one with the workers of the first
        for (images, classes), (same, same_classes) in zip(whole, helped.epoch(epoch), strict=True):
            assert torch.equal(images, same) and torch.equal(classes, same_classes)
    assert (tmp_path / "failed").exists()


@INSTALLED
def test_a_reader_that_is_lost_twice_is_named(tmp_path: Path, monkeypatch) -> None:
    root = made(tmp_path / "shards")
    failing(5, None, killed, monkeypatch)
    with pytest.raises(Failure, match=r"A process that reads images was lost twice .*Lower --workers"):
        list(data(root, workers=1).epoch(0))
