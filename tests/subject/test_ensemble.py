"""Ensembles: the mean of the members' probabilities, and a refusal wherever one network is asked for."""

from pathlib import Path

import pytest
import torch

from alternet import Batches, Calibration, Fourier, Hessian, Subject, load
from alternet.subject.ensemble import Ensemble, ensemble, members_of
from alternet.subject.loading import check, is_random

IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(5) % 3
MODEL = "ensemble(test_resnet,test_vit)"


def loaded(model: str = MODEL, **facts: object):
    return load(model, num_classes=3, img_size=32, device="cpu", **facts)


def test_the_members_are_told_apart_by_commas_outside_of_brackets() -> None:
    assert members_of("ensemble(run:a, b@c.pth)") == ["run:a", "b@c.pth"]
    assert members_of("ensemble(a+msa(x:heads=2,y),ensemble(b,c))") == ["a+msa(x:heads=2,y)", "ensemble(b,c)"]
    assert members_of("resnet18") == []
    for wrong in ("ensemble(a)", "ensemble()", "ensemble(a,)", "ensemble(a,b(,c)"):
        with pytest.raises(ValueError, match="at least two of them"):
            members_of(wrong)


def test_its_answer_is_the_mean_of_the_members_probabilities() -> None:
    mean = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    both = loaded(**mean)
    members = [loaded(name, **mean) for name in ("test_resnet", "test_vit")]
    with torch.no_grad():
        wanted = torch.stack([member.logits(IMAGES).softmax(1) for member in members]).mean(0)
        torch.testing.assert_close(both.logits(IMAGES).softmax(1), wanted)
        torch.testing.assert_close(both.logits(IMAGES).exp(), wanted)
    assert isinstance(both.model, Ensemble) and both.doubt == ""
    assert list(both.origin["weights"]["members"]) == ["test_resnet", "test_vit"]
    changed = loaded(mean=(0.4, 0.5, 0.5), std=mean["std"])
    assert changed.weights_sha256 != both.weights_sha256


def test_each_member_normalises_with_its_own_mean_and_std() -> None:
    members = [
        Subject(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 3)).eval(),
            name=name,
            input_size=(3, 1, 1),
            **own,
        )
        for name, own in (
            ("a", {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}),
            ("b", {"mean": (0.9, 0.8, 0.7), "std": (0.1, 0.2, 0.4)}),
        )
    ]
    images = IMAGES[:, :, :1, :1]
    with torch.no_grad():
        wanted = torch.stack([member.logits(images).softmax(1) for member in members]).mean(0)
        torch.testing.assert_close(ensemble(members, "both").logits(images).exp(), wanted)


def test_it_is_measured_by_its_answers(tmp_path: Path) -> None:
    data = Batches.of(IMAGES, TARGETS, batch_size=2)
    both = loaded(name="both")
    table = Calibration().measure(both, data, out=tmp_path).table.set_index("metric")["value"]
    with torch.no_grad():
        chances = both.logits(IMAGES).double().exp()
    assert table["nll"] == pytest.approx(-chances[range(5), TARGETS].log().mean().item(), abs=1e-6)


@pytest.mark.parametrize(("instrument", "needs"), [(Fourier(), "features"), (Hessian(), "gradients")])
def test_what_needs_one_network_refuses_it(instrument, needs: str) -> None:
    with pytest.raises(ValueError, match=f"needs the {needs} of one network, and both is several"):
        instrument.measure(loaded(name="both"), Batches.of(IMAGES, TARGETS))
    with pytest.raises(ValueError, match="has no units of its own"):
        _ = loaded().taps


def test_members_that_do_not_fit_or_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="test_vit takes images"):
        load("ensemble(conv_vit_tiny,test_vit)", device="cpu")
    with pytest.raises(ValueError, match="tells 10 classes apart, conv_vit_tiny 100"):
        load("ensemble(conv_vit_tiny,vit_mini)", device="cpu")
    with pytest.raises(ValueError, match="no timm model 'resnet17'"):
        check("ensemble(resnet18,resnet17)")
    assert is_random("ensemble(resnet18@pretrained,resnet18)")
    assert not is_random("ensemble(resnet18@pretrained,run:a)")
