"""A Subject states facts, normalises, and tells weights apart."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alternet.subject.subject import Subject, logits_of
from alternet.taps import find
from alternet.untouched import _COPIES, untouched


def net(**facts) -> Subject:
    torch.manual_seed(0)
    return Subject(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5)), name="n", **facts
    )


def test_normalisation_is_per_channel():
    subject = net(mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))
    expected = [(0.5 - m) / s for m, s in ((0.1, 1), (0.2, 0.5), (0.3, 0.25))]
    got = subject.normalise(torch.full((2, 3, 2, 2), 0.5))
    torch.testing.assert_close(got[1, :, 0, 1], torch.tensor(expected))


def test_a_missing_fact_names_the_argument():
    with pytest.raises(ValueError, match="input_size="):
        net().example()
    with pytest.raises(ValueError, match="only one of mean and std"):
        net(mean=(0.0,) * 3)
    with pytest.raises(TypeError, match="takes a torch nn.Module, got str"):
        Subject("resnet18", name="x")  # pyright: ignore[reportArgumentType]


def test_the_checksum_follows_values_names_and_buffers():
    first, second = net(), net()
    assert first.weights_sha256 == second.weights_sha256
    with torch.no_grad():
        second.model[1].running_mean[0] += 1e-6
    changed = Subject(second.model, name="n")
    assert changed.weights_sha256 != first.weights_sha256


@pytest.mark.parametrize(
    "output",
    [
        torch.zeros(2, 5),
        (torch.zeros(2, 5), None),
        {"logits": torch.zeros(2, 5)},
        SimpleNamespace(logits=torch.zeros(2, 5)),
    ],
)
def test_logits_in_every_wrapping(output):
    assert logits_of(output).shape == (2, 5)


@pytest.mark.parametrize("output", [torch.zeros(2, 5, 1), "x", (), None])
def test_what_is_no_logits(output):
    with pytest.raises(ValueError, match=r"expected logits \[n, classes\]"):
        logits_of(output, "it")


def snapshot(model: nn.Module) -> dict:
    return {
        "training": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "grad": [None if p.grad is None else p.grad.clone().tolist() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "buffers": [b.clone().tolist() for b in model.buffers()],
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
    }


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_untouched_undoes_everything(error: type[BaseException] | None):
    model = net().model.train()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    model[0].register_forward_hook(lambda *_: None)
    before = snapshot(model)
    try:
        with untouched(model):
            assert not model.training and not torch.is_grad_enabled()
            model.train()
            model(torch.rand(4, 3, 2, 2))
            model[2].register_forward_hook(lambda *_: None)
            model[0].weight.requires_grad_(True)
            model[3].weight.grad = None
            random.random(), np.random.rand(), torch.rand(1)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert snapshot(model) == before


def test_blocks_within_one_another_each_undo_what_happened_in_them():
    model = net().model.train()
    statistics, before = model[1].running_mean, snapshot(model)
    with untouched(model):
        for _ in range(2):
            model.train()
            model(torch.rand(4, 3, 2, 2))
            inside = statistics.clone()
            with untouched(model):
                model.train()
                model(torch.rand(4, 3, 2, 2))
                assert not torch.equal(statistics, inside)
            assert torch.equal(statistics, inside)
    assert snapshot(model) == before
    # of this model: an error that another test keeps may hold copies of its own
    assert not {id(buffer) for buffer in model.buffers()} & set(_COPIES)


def test_blocks_within_one_another_share_one_copy_of_the_buffers(monkeypatch: pytest.MonkeyPatch):
    model, copied = net().model, []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda tensor: copied.append(tensor) or clone(tensor))
    with untouched(model), untouched(model), untouched(model):
        assert len(copied) == len(list(model.buffers()))


def test_each_image_size_is_traced_once(monkeypatch: pytest.MonkeyPatch):
    layers = (nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    subject, sizes, record = Subject(nn.Sequential(*layers), name="n", input_size=(3, 8, 8)), [], find.record
    monkeypatch.setattr(find, "record", lambda model, images: sizes.append(images.shape) or record(model, images))
    assert subject.taps is subject.taps_on(torch.rand(5, 3, 8, 8))
    assert subject.taps_on(torch.rand(1, 3, 6, 4)) is subject.taps_on(torch.rand(3, 3, 6, 4))
    assert sizes == [(2, 3, 8, 8), (2, 3, 6, 4)]
