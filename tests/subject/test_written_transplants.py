"""Attention put into a model by its name: loading, training, and what is refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file

import alternet
from alternet.models.attention import StaticWindowAttention, WindowAttention
from alternet.runs import TrainingRun
from alternet.subject.loading import is_random, load
from alternet.training import Recipe, train

UNIT = "stages.3.1.branch"


def attentions(model: torch.nn.Module) -> list[str]:
    return [path for path, m in model.named_modules() if isinstance(m, WindowAttention | StaticWindowAttention)]


def test_a_name_says_what_attends_and_how():
    subject = load(
        f"preresnet_mini+msa({UNIT}:heads=2,stages.2.1.branch,window_size=4,attention=static)", num_classes=7
    )
    assert attentions(subject.model) == ["stages.2.1.branch.conv2.attn", "stages.3.1.branch.conv2.attn"]
    first, last = (m for m in subject.model.modules() if isinstance(m, StaticWindowAttention))
    assert (first.heads, last.heads, first.window_size) == (1, 2, 4)
    assert subject.logits(torch.rand(1, 3, 32, 32)).shape == (1, 7)
    assert subject.origin["plan"][0]["module"] == "stages.3.1.branch.conv2"
    assert subject.input_size == (3, 32, 32) and subject.mean == (0.5, 0.5, 0.5)
    assert is_random(subject.name) and not is_random(f"run:x+msa({UNIT})")


def test_what_stays_has_the_weights_of_the_base_and_a_file_may_hold_those_of_the_whole(tmp_path):
    base = timm.create_model("preresnet_mini")
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    name = f"preresnet_mini@{tmp_path}/base.safetensors+msa({UNIT})"
    subject = load(name)
    state = subject.model.state_dict()
    kept = [key for key in base.state_dict() if key in state]
    assert len(kept) == len(base.state_dict()) - 1
    assert all(torch.equal(base.state_dict()[key], state[key]) for key in kept)
    assert subject.origin["weights"]["drawn"] == ["stages.3.1.branch.conv2"]
    moved = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    save_file(moved, tmp_path / "whole.safetensors")
    whole = load(f"preresnet_mini+msa({UNIT})@{tmp_path}/whole.safetensors")
    assert all(torch.equal(value, moved[key]) for key, value in whole.model.state_dict().items())
    assert not is_random(whole.name) and "drawn" not in whole.origin["weights"]


def test_a_transplant_is_trained_stored_and_loaded_as_any_model(tmp_path):
    recipe = Recipe(epochs=1, lr=1e-3, warmup_epochs=0, batch_size=64)
    train(f"preresnet_mini+msa({UNIT},form=unit)", "digits", recipe, tmp_path / "run", device="cpu")
    run = TrainingRun(tmp_path / "run")
    assert run.model.model == "transplanted" and run.model.model_args["base"] == "preresnet_mini"
    subject = load(f"run:{tmp_path}/run")
    assert attentions(subject.model) == ["stages.3.1.branch.attn"]
    again = load(f"transplanted@{tmp_path}/run/weights.safetensors")  # the file itself says base and plan
    images = torch.rand(2, *subject.input_size)
    assert torch.equal(subject.logits(images), again.logits(images))
    twice = load(f"run:{tmp_path}/run+msa(stages.2.1.branch)")
    assert attentions(twice.model) == ["stages.2.1.branch.conv2.attn", "stages.3.1.branch.attn"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"preresnet_mini+msa({UNIT}:head=2)", "no setting 'head'. Did you mean heads"),
        (f"preresnet_mini+msa({UNIT}:heads=two)", "heads='two', expected an integer"),
        (f"preresnet_mini+msa({UNIT},form=block)", "form='block', expected one of 'conv', 'unit'"),
        ("preresnet_mini+msa()", "no units, expected at least one name"),
        ("preresnet_mini+msa(stages.9)", "has no unit 'stages.9'"),
        (f"preresnet_mii+msa({UNIT})", "There is no timm model 'preresnet_mii'. Did you mean preresnet_mini"),
        (f"preresnet_mini+msa({UNIT})@nowhere.pth", "nowhere.pth"),
        ("transplanted", r"base=None and plan=None, expected .* Write MODEL\+msa\(UNIT,...\)"),
    ],
)
def test_what_is_wrong_is_named(name, said):
    with pytest.raises(ValueError, match=said):
        load(name)


def test_a_run_cannot_make_a_transplant_fetch_anything():
    for base in ("hf-hub:someone/net", "transplanted", "local-dir:/tmp"):
        with pytest.raises(ValueError, match=f"base='{base}', expected the name of a timm model"):
            timm.create_model("transplanted", base=base, plan=[])


def test_transplant_is_found_where_models_are():
    assert alternet.models.transplant is alternet.transplant  # pyright: ignore[reportAttributeAccessIssue]
