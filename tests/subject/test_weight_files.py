"""Weight files as they lie around: prefixes, teachers, old names, the released networks, and what fits what."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor

import alternet as an
from alternet.errors import Doubt
from alternet.models import load_released

State = dict[str, Tensor]
EXAMPLE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def seeded(name: str, **arguments: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    return timm.create_model(name, **arguments).eval()


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


MORE = {"decoder.weight": torch.ones(2), "queue": torch.ones(3)}
WAYS: dict[str, tuple[Callable[[State], Any], bool]] = {
    "plain": (lambda state: state, False),
    "Lightning": (lambda state: {"state_dict": under("model.", state), "epoch": 3}, False),
    "DDP of a compiled one": (lambda state: {"model": under("module._orig_mod.", state)}, False),
    "a backbone with a decoder": (lambda state: under("backbone.", state) | MORE, True),
    "MAE": (lambda state: {"model": under("encoder.", state) | MORE}, True),
    "MoCo": (lambda state: {"state_dict": under("module.encoder_q.", state) | under("module.encoder_k.", state)}, True),
    "net": (lambda state: under("net.", state), False),
    "DINO": (
        lambda state: {
            "student": {key: value + 1 for key, value in state.items()},
            "teacher": under("backbone.", state),
        },
        False,
    ),
    "deep": (lambda state: {"state_dict": under("module.student.backbone.", state)}, False),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_network_is_found_in_the_file(way: str, tmp_path: Path, recwarn: pytest.WarningsRecorder):
    wrap, says = WAYS[way]
    made = seeded("test_resnet", num_classes=5)
    torch.save(wrap(made.state_dict()), file := tmp_path / "w.pth")
    loaded = an.load(f"test_resnet@{file}", device="cpu").model
    assert torch.equal(loaded(EXAMPLE), made(EXAMPLE))
    said = [str(warning.message) for warning in recwarn if issubclass(warning.category, Doubt)]
    assert any("left out" in line for line in said) == says, said


def test_a_network_whose_own_names_begin_like_a_prefix_is_left_alone(tmp_path: Path):
    tiny = torchvision.models.get_model("vit_b_16", num_classes=3, image_size=32)
    torch.save(under("model.", tiny.state_dict()), file := tmp_path / "w.pth")
    loaded = an.load(f"tv:vit_b_16@{file}", img_size=32, device="cpu").model
    assert torch.equal(loaded.encoder.pos_embedding, tiny.encoder.pos_embedding)


def old_swin(state: State) -> State:
    """As timm 0.4 to 0.5 named it: merging at the end of a stage, a plain head, and buffers that were kept."""
    moved = {
        re.sub(r"layers\.(\d)\.downsample", lambda at: f"layers.{int(at[1]) - 1}.downsample", key): value
        for key, value in state.items()
    }
    named = {key.replace("head.fc.", "head."): value for key, value in moved.items()}
    return named | {"layers.0.blocks.1.attn_mask": torch.zeros(64, 16, 16)}


def old_pit(state: State) -> State:
    return {
        re.sub(r"transformers\.(\d)\.pool\.", lambda at: f"pools.{int(at[1]) - 1}.", key): value
        for key, value in state.items()
    }


@pytest.mark.parametrize(
    ("name", "old", "parameters"),
    [
        # patches, positions and class token; twelve blocks of attention, MLP and norms; norm and head
        (
            "paper_vit_ti",
            dict,
            (3 * 4 + 1) * 192
            + 258 * 192
            + 12 * (192 * 576 + 193 * 192 + 193 * 768 + 769 * 192 + 4 * 192)
            + 2 * 192
            + 193 * 100,
        ),
        ("paper_pit_ti", old_pit, 4_576_676),
        ("paper_swin_ti", old_swin, 27_562_126),
    ],
)
def test_checkpoints_of_the_papers_small_vits_load_as_released(
    name: str, old: Callable[[State], State], parameters: int, tmp_path: Path
):
    made = seeded(name)
    assert sum(p.numel() for p in made.parameters()) == parameters
    assert not any(key.endswith("qkv.bias") for key in made.state_dict())
    torch.save({"epoch": 300, "state_dict": under("module.", old(made.state_dict()))}, file := tmp_path / "w.pth.tar")
    subject = an.load(f"{name}@{file}", device="cpu")
    assert torch.equal(subject.model(EXAMPLE), made(EXAMPLE))
    assert subject.input_size == (3, 32, 32) and subject.mean == (0.5071, 0.4867, 0.4408)
    again = timm.create_model(name).eval()
    load_released(again, under("module.", old(made.state_dict())))
    assert torch.equal(again(EXAMPLE), made(EXAMPLE))
    torn = dict(list(made.state_dict().items())[:-1])
    with pytest.raises(ValueError, match="1 missing"):
        load_released(again, torn)


def test_weights_of_another_model_name_the_one_that_they_fit(tmp_path: Path):
    torch.save(seeded("resnet26", num_classes=7).state_dict(), file := tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"do not fit resnet18: .* They fit resnet26\."):
        an.load(f"resnet18@{file}")


def test_what_the_shapes_of_an_alternet_say_is_taken_over(tmp_path: Path):
    made = seeded("alternet_mini", window_size=2, num_msa=(0, 1, 1, 0), num_classes=4)
    torch.save(made.state_dict(), file := tmp_path / "w.pth")
    with pytest.warns(Doubt, match=r"alternet_mini is built with window_size=2, num_msa=\(0, 1, 1, 0\), as the shapes"):
        subject = an.load(f"alternet_mini@{file}", device="cpu")
    assert torch.equal(subject.model(EXAMPLE), made(EXAMPLE))
    assert subject.origin["model_args"] == {"window_size": 2, "num_msa": (0, 1, 1, 0)}
    with pytest.raises(ValueError, match="do not fit"):  # what somebody states is not changed
        an.load(f"alternet_mini@{file}", model_args={"window_size": 4, "num_msa": (0, 1, 1, 1)})
    odd = seeded("alternet_mini", msa=("1.0", "3.1"), num_classes=4)
    torch.save(odd.state_dict(), file)
    with pytest.warns(Doubt, match=r"msa=\('1.0', '3.1'\)"):
        assert torch.equal(an.load(f"alternet_mini@{file}", device="cpu").model(EXAMPLE), odd(EXAMPLE))
