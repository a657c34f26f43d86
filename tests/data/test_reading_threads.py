"""Threads that read pictures beside each other: the same images as one after the other, and none is waited for long."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data import batches, folder, reading
from alternet.data.image_batches import Batches

SIDE = 24


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of several sizes, two that cannot be read among them."""
    random = np.random.RandomState(0)
    for number in range(23):
        path = tmp_path / "pictures" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + number, 61 - number, 3)
        Image.fromarray(random.randint(0, 256, size).astype(np.uint8)).save(path)
    (tmp_path / "pictures" / "a" / "4.png").write_bytes(b"no picture")
    (tmp_path / "pictures" / "b" / "9.png").write_bytes(b"")
    return tmp_path / "pictures"


def read(folder: Path, threads: int, monkeypatch: pytest.MonkeyPatch, **options) -> tuple[Batches, list]:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    data = batches(str(folder), img_size=SIDE, batch_size=5, **options)
    return data, list(data)


@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("workers", [0, None])
def test_threads_change_neither_images_nor_order_nor_what_is_skipped(pictures, threads, workers, monkeypatch) -> None:
    alone, expected = read(pictures, 1, monkeypatch)
    together, found = read(pictures, threads, monkeypatch, workers=workers)
    for (images, targets), (theirs, labels) in zip(expected, found, strict=True):
        assert torch.equal(images, theirs) and torch.equal(targets, labels)
    assert together.reasons == alone.reasons
    assert together.skipped == ("a/4.png", "b/9.png")  # 4 and 9, as said above
    assert together.pictures == alone.pictures


def test_pictures_are_read_at_the_same_time(pictures, monkeypatch) -> None:
    both = threading.Barrier(2, timeout=20)
    decode = folder.decode

    def met(path: Path):
        if path.name in ("0.png", "3.png"):  # the first two
            both.wait()
        return decode(path)

    monkeypatch.setattr(folder, "decode", met)
    assert read(pictures, 2, monkeypatch)[0].skipped == ("a/4.png", "b/9.png")


def test_no_more_is_read_than_the_batch_that_is_asked_for(pictures, monkeypatch) -> None:
    seen = []
    decode = folder.decode
    monkeypatch.setattr(folder, "decode", lambda path: seen.append(path) or decode(path))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    running = iter(batches(str(pictures), img_size=SIDE, batch_size=5))
    next(running)
    time.sleep(0.2)
    assert len(seen) == 5
    next(running)
    time.sleep(0.2)
    assert len(seen) == 10
    running.close()
    assert not [thread for thread in threading.enumerate() if "_worker_handler" in thread.name]


def test_beside_a_model_on_the_cpu_no_process_reads(pictures, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(reading, "Loader", lambda *given, workers: asked.append(workers) or iter(()))
    monkeypatch.setattr(reading, "sensible_workers", lambda batches: 3)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert len(read(pictures, 2, monkeypatch, workers=None)[1]) == 5
    assert not asked
    for threads, there in ((1, False), (2, True)):  # a single thread is helped by a process, and so is a GPU
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        with pytest.raises(RuntimeError):  # nothing comes
            read(pictures, threads, monkeypatch, workers=None)
    assert asked == [3, 3]


def test_pillows_own_bound_is_what_it_was_however_many_read(pictures, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIDE**2)  # of which Pillow allows double
    for _ in range(20):
        assert len(read(pictures, 8, monkeypatch)[0].skipped) == 2
    assert Image.MAX_IMAGE_PIXELS == SIDE**2


HUNG = """
import sys, time, torch
from alternet.data import batches, folder
torch.set_num_threads(2)
decode = folder.decode
folder.decode = lambda path: time.sleep(600) if path.name == "7.png" else decode(path)
try:
    list(batches(sys.argv[1], img_size=24, batch_size=5))
except RuntimeError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_picture_that_is_waited_for_too_long_is_named_and_the_program_ends(pictures, monkeypatch) -> None:
    monkeypatch.setenv("ALTERNET_TIMEOUT", "2")
    ended = subprocess.run(
        [sys.executable, "-c", HUNG, str(pictures)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "b/7.png of 'pictures' was not read within 2 seconds." in ended.stdout, ended.stderr
    assert ended.stderr == ""
