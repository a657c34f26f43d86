"""Checkpoints come back bit for bit, hold no pickle, and a failed write leaves the old one whole."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import nn

from alternet.training.checkpoint import read_checkpoint, write_checkpoint, write_weights

WEIGHT = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
STATE = {
    "epoch": 3,
    "half": WEIGHT.bfloat16(),
    "turned": WEIGHT.t(),
    "scalar": torch.tensor(2**40 + 1),
    "empty": torch.zeros(0, 3),
    "tied": [WEIGHT, WEIGHT],
    "nested": {0: {"step": 1.5, "betas": (0.9, 0.999)}, "flags": [True, None, "text ü"]},
    "small": 5e-324,
}


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.safetensors", STATE)
    back = read_checkpoint(tmp_path / "c.safetensors")
    assert same(back, STATE)
    back["tied"][0].zero_()
    assert same(back["tied"][1], WEIGHT)


@pytest.mark.parametrize("opt", ["adamw", "momentum", "sgd", "lamb", "lion", "adafactor", "lookahead_adamw", "adopt"])
def test_optimisers_go_on_as_if_nothing_had_happened(tmp_path: Path, opt: str) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(3, 8, 5)

    def learn(net: nn.Module, optimizer: torch.optim.Optimizer, batches: torch.Tensor) -> None:
        for batch in batches:
            optimizer.zero_grad()
            net(batch).square().mean().backward()
            optimizer.step()

    nets = [nn.Linear(5, 3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [create_optimizer_v2(net, opt=opt, lr=1e-2, weight_decay=0.1) for net in nets]
    learn(nets[0], optimizers[0], inputs[:2])
    state = {"net": nets[0].state_dict(), "optimizer": optimizers[0].state_dict()}
    write_checkpoint(tmp_path / "c.safetensors", state)
    back = read_checkpoint(tmp_path / "c.safetensors")
    nets[1].load_state_dict(back["net"])
    optimizers[1].load_state_dict(back["optimizer"])
    for net, optimizer in zip(nets, optimizers, strict=True):
        learn(net, optimizer, inputs[2:])
    assert same(nets[0].state_dict(), nets[1].state_dict())


def test_what_cannot_be_stored_safely_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a object at /state/0"):
        write_checkpoint(tmp_path / "c.safetensors", {"state": {0: object()}})
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, STATE)
    whole = path.read_bytes()
    for content in (whole[:-3], whole[:20], b"", b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            read_checkpoint(path)
    save_file({"a": WEIGHT}, path)
    with pytest.raises(ValueError, match="its header does not say"):
        read_checkpoint(path)
    save_file({"a": WEIGHT}, path, metadata={"format": "alternet-checkpoint-1", "plan": json.dumps({"tensor": "b"})})
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        read_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, STATE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(path, {"epoch": 4})
    assert same(read_checkpoint(path), STATE)
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_weights_are_a_plain_file_even_if_tied(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": WEIGHT, "b": WEIGHT.t()}, {})
    assert same(load_file(tmp_path / "w.safetensors"), {"a": WEIGHT, "b": WEIGHT.t()})
