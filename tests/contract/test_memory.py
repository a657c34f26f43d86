"""Memory does not grow with the data; where a device has too little, fewer images at a time give the same numbers."""

import ctypes
import gc
import os
import resource
import warnings
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.contract.networks import CLASSES, IMAGES, data, network
from tests.contract.optional import cases
from tests.contract.test_instruments import KINDS, SMALL, assert_same, measure
from tests.loss.test_risk import Softmax
from tests.loss.test_risk import data as labelled
from tests.loss.test_risk import subject as small
from torch import Tensor, nn

from alternet import memory
from alternet.data.datasets import batches
from alternet.data.kept import BUDGET
from alternet.errors import Doubt
from alternet.loss.risk import Risk
from alternet.subject.subject import Subject

SIDE, FEW, MANY = 96, 256, 1024  # up to some hundreds of pictures the peak still wavers by 30 MB, then it stays
PICTURE = 3 * SIDE * SIDE
"""Bytes of a picture; of floats it has four times as many."""

LESS = {
    "hessian": {"k": 1, "batch_size": 16, "augment": "none"},
    "spectral_density": {"draws": 1, "steps": 2, "exact": 0, "batch_size": 16, "augment": "strong"},
    "landscape": {"points": 3, "draws": 2, "augment": "none"},
    "frequency_noise": {"bands": 2, "repeats": 1},
}
"""Settings with which an instrument does little, and all that it does with all images."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noise in ten classes, called so that each instrument can read them."""
    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(MANY):
        kind = folder / "train" / f"{number % CLASSES}-{(number + 1) % CLASSES}"
        kind.mkdir(parents=True, exist_ok=True)
        levels = draws.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(levels).save(kind / f"{number}.bmp")
    return folder


M_MMAP_THRESHOLD = -3
"""Of malloc.h: from how many bytes on a piece of memory goes back to the system as soon as it is freed."""


def peak(work: Callable[[], object]) -> int:
    """The most memory that a child of this process has, in bytes, while it does some work."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)  # what is free here shall not hide what is taken there
    receive, send = os.pipe()
    if not (child := os.fork()):
        try:
            # By itself malloc keeps what was freed, up to 32 MB a piece, the more the longer it runs: what is in use
            # shall count and not its habits, nor holes that small pictures leave
            libc.mallopt(M_MMAP_THRESHOLD, 2**14)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the parent's peak
            work()
            os.write(send, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as said:
        os.waitpid(child, 0)
        return int(said.read())


@pytest.mark.thorough
@pytest.mark.parametrize("name", cases(KINDS))
def test_four_times_the_data_take_no_more_memory(name: str, pictures: Path, monkeypatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(BUDGET, "_most", 20 * PICTURE)
    subject = network("handwritten")

    def run(limit: int) -> None:
        measure(name, subject, batches(str(pictures), split="train", limit=limit, batch_size=32), **LESS.get(name, {}))

    run(FEW)  # once here, for what is imported and compiled
    # The peak counts pages of libraries too, of which the kernel maps now more, now fewer: the lower of two is taken
    few, many = (min(peak(partial(run, limit)) for _ in range(2)) for limit in (FEW, MANY))
    assert many < 1.1 * few
    assert many - few < (MANY - FEW) * 4 * PICTURE / 2  # half of what the images would take


def narrow(most: int) -> Callable[..., None]:
    """A device on which no more images than so many find room."""

    def check(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has 10 GiB in all.")

    return check


COMPARING = {"similarity"}
"""Instruments that compare the images of a batch."""

DERIVING = {"hessian", "spectral_density"}
"""Instruments whose passes are those of gradients."""


@pytest.mark.parametrize("name", cases(KINDS))
def test_half_as_many_images_at_a_time_give_the_same_numbers(name: str) -> None:
    subject = network("handwritten")
    whole = data(subject, batch_size=IMAGES)
    before = measure(name, subject, whole)
    if name == "trajectory":
        return  # no image passes
    subject.model.stem.register_forward_pre_hook(narrow(2))
    if name in COMPARING:
        with pytest.raises(MemoryError, match=r"Out of memory with 4 images .*compares.*give smaller batches"):
            measure(name, subject, whole, **SMALL.get(name, {}))
        return
    with pytest.warns(Doubt, match=r"out of memory with \d images at a time \(CUDA out of memory\), so \d are taken"):
        assert_same(before, measure(name, subject, whole), rtol=1e-4, atol=1e-5)


def passing(subject: Subject) -> list[int]:
    """How many images pass the first layer of a network, in every pass from now on."""
    seen: list[int] = []
    subject.model.stem.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


@pytest.mark.parametrize("name", cases(KINDS))
def test_as_few_images_at_a_time_as_suit_a_cache_give_the_same_numbers(name: str, monkeypatch) -> None:
    subject = network("handwritten")
    whole = data(subject, batch_size=IMAGES)
    seen = passing(subject)
    measure(name, subject, whole)  # which tries out the network
    seen.clear()
    before = measure(name, subject, whole)
    shown = sum(seen)
    seen.clear()
    monkeypatch.setattr(memory, "PIXELS", 2 * prod(whole.shape[1:]))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Doubt)
        assert_same(before, measure(name, subject, whole), rtol=1e-5, atol=1e-6)
    assert sum(seen) == shown  # none is shown twice for it, nor what a lesion remembers lost
    if name not in COMPARING | DERIVING | {"trajectory"}:
        assert max(seen) == 2


class Together(nn.Module):
    """A network that normalises with the statistics of the batch, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CLASSES, 3)
        self.norm = nn.BatchNorm2d(CLASSES, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.stem(x)).relu().mean((2, 3))


def test_images_that_are_normalised_with_one_another_stay_together(monkeypatch) -> None:
    subject = Subject(Together(), name="together", input_size=(3, 16, 16))
    whole = data(subject, batch_size=IMAGES)
    monkeypatch.setattr(memory, "PIXELS", 1)
    seen = passing(subject)
    measure("calibration", subject, whole)
    measure("frequency_noise", subject, whole)
    assert set(seen) <= {2, IMAGES}  # two are the trial
    subject.model.stem.register_forward_pre_hook(narrow(2))
    with pytest.raises(MemoryError, match=rf"{IMAGES} images of together .*statistics of their batch.*smaller batches"):
        measure("calibration", subject, whole)


def test_how_many_images_suit_a_cpu(monkeypatch) -> None:
    at_once = memory.AtOnce(network("handwritten"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    sides = (32, 64, 112, 224, 384, 1024)
    assert [at_once.of(torch.empty(512, 3, side, side)) for side in sides] == [392, 98, 32, 8, 2, 1]
    assert at_once.of(torch.empty(5, 3, 32, 32)) == 5
    assert at_once.of(torch.empty(64, 3, 224, 224), whole=True) == 64


@pytest.mark.parametrize("name", ["variance", "landscape", "hessian", "frequency_noise"])
def test_a_single_image_that_is_too_much_is_said_with_what_to_do(name: str) -> None:
    subject = network("handwritten")
    _ = subject.taps
    subject.model.stem.register_forward_pre_hook(narrow(0))
    with pytest.warns(Doubt), pytest.raises(MemoryError, match=r"Out of memory with a single image of .*--img-size"):
        measure(name, subject, data(subject, batch_size=2))


class Narrow(Softmax):
    """A network through which gradients of no more than two images find room in the memory of the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        if logits.requires_grad and len(x) > 2:
            logits.register_hook(lambda _: torch.empty(2**52))
        return logits


def test_derivatives_for_which_the_cpu_has_no_room_are_taken_of_fewer_images() -> None:
    images = labelled(side=2)
    with Risk(small(Softmax), images) as plain, Risk(small(Narrow), images) as narrow:
        with pytest.warns(Doubt, match="net: out of memory with 4 images at a time .*, so 2 are taken"):
            found = narrow.product(narrow.theta)
        torch.testing.assert_close(found, plain.product(plain.theta))
