"""Similarity: what the CKA of all pairs of units adds to a forward pass, and what it saves over torch-cka.

All rivals take turns within one run; the numbers are medians of the turns. torch-cka 0.21 computes the Gram matrix of a
second unit again for every first one, in float32 and without centring; it is given the same units of the same network.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import timm
import torch
import torch_cka.cka
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from alternet.data import Batches, batches
from alternet.instruments.similarity import Similarity
from alternet.subject.subject import Subject
from benchmarks.turns import bare_passes, in_turns, row

SIDE, BATCH, TURNS = 128, 64, 3
torch_cka.cka.tqdm = lambda batches, **_: batches

NETWORKS: dict[str, dict[str, Any]] = {"resnet152": {}, "vit_small_patch16_224": {"img_size": SIDE, "depth": 24}}
"""About fifty units each: a block each of the ResNet, attention and MLP of each block of a deep ViT."""


def rows() -> list[dict[str, Any]]:
    """Every comparison, with the ratio that the design asks for."""
    return [*_passes(), _rival()]


def _passes() -> Iterator[dict[str, Any]]:
    images = 2 * BATCH
    data = Batches.of(_photographs(images, SIDE), batch_size=BATCH)
    for name, settings in NETWORKS.items():
        subject = Subject(timm.create_model(name, **settings), name=name, input_size=(3, SIDE, SIDE))
        units = len(subject.taps)
        ours, bare = in_turns(
            TURNS, lambda s=subject: Similarity().measure(s, data), lambda s=subject: bare_passes(s, data)
        )
        what = f"CKA of {units} x {units} units of {name}, {images} images of {SIDE}, against a bare forward pass"
        yield row(what, ours, bare, ours / bare, "<= 1.5")


def _rival() -> dict[str, Any]:
    side = 64
    images = _photographs(BATCH, side)
    facts: dict[str, Any] = {"input_size": (3, side, side), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    subject = Subject(timm.create_model("resnet152").eval(), name="resnet152", **facts)
    modules = ["maxpool", *(tap.name for tap in subject.taps[1:])]  # whose outputs are the units' feature maps
    data, loader = Batches.of(images, batch_size=BATCH), DataLoader(TensorDataset(images), batch_size=BATCH)
    ours, theirs = in_turns(
        TURNS, lambda: Similarity().measure(subject, data), lambda: _torch_cka(subject.model, modules, loader)
    )
    units = len(modules)
    what = f"CKA of {units} x {units} units of resnet152, {BATCH} images of {side}, against torch-cka"
    return row(what, ours, theirs, theirs / ours, ">= 5")


def _torch_cka(net: nn.Module, modules: list[str], loader: DataLoader) -> torch.Tensor:
    """What its users run, without its progress bar; the hooks that it leaves behind are taken away."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        rival = torch_cka.cka.CKA(net, net, model1_layers=modules, model2_layers=modules)
        rival.compare(loader)
    for module in net.modules():
        module._forward_hooks.clear()
    return rival.hsic_matrix


def _photographs(count: int, side: int) -> torch.Tensor:
    """On noise, which is alike in every image, torch-cka's differences of large numbers give NaN."""
    return torch.cat([images for images, _ in batches("photos", limit=count, img_size=side)])


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
