"""Similarity: what the CKA of all pairs of units adds to a forward pass, and what it saves over torch-cka.

All rivals take turns within one run; the numbers are medians of the turns. torch-cka 0.21 computes the Gram matrix of a
second unit again for every first one, in float32 and without centring; it is given the same units of the same network.
"""

import warnings
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter
from typing import Any

import timm
import torch
import torch_cka.cka
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from alternet.data import Batches, batches
from alternet.instruments.similarity import Similarity
from alternet.views.subject import Subject

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
        ours, bare = _in_turns(lambda s=subject: Similarity().measure(s, data), lambda s=subject: _forward(s, data))
        what = f"CKA of {units} x {units} units of {name}, {images} images of {SIDE}, against a bare forward pass"
        yield _row(what, ours, bare, ours / bare, "<= 1.5")


def _rival() -> dict[str, Any]:
    side = 64
    images = _photographs(BATCH, side)
    facts: dict[str, Any] = {"input_size": (3, side, side), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    subject = Subject(timm.create_model("resnet152").eval(), name="resnet152", **facts)
    modules = ["maxpool", *(tap.name for tap in subject.taps[1:])]  # whose outputs are the units' feature maps
    data, loader = Batches.of(images, batch_size=BATCH), DataLoader(TensorDataset(images), batch_size=BATCH)
    ours, theirs = _in_turns(
        lambda: Similarity().measure(subject, data), lambda: _torch_cka(subject.model, modules, loader)
    )
    units = len(modules)
    what = f"CKA of {units} x {units} units of resnet152, {BATCH} images of {side}, against torch-cka"
    return _row(what, ours, theirs, theirs / ours, ">= 5")


def _torch_cka(net: nn.Module, modules: list[str], loader: DataLoader) -> torch.Tensor:
    """What its users run, without its progress bar; the hooks that it leaves behind are taken away."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        rival = torch_cka.cka.CKA(net, net, model1_layers=modules, model2_layers=modules)
        rival.compare(loader)
    for module in net.modules():
        module._forward_hooks.clear()
    return rival.hsic_matrix


def _forward(subject: Subject, data: Batches) -> None:
    subject.model.eval()
    with torch.no_grad():
        for images, _ in data:
            subject.logits(images)


def _photographs(count: int, side: int) -> torch.Tensor:
    """On noise, which is alike in every image, torch-cka's differences of large numbers give NaN."""
    return torch.cat([images for images, _ in batches("photos", limit=count, img_size=side)])


def _row(what: str, ours: float, rival: float, ratio: float, target: str) -> dict[str, Any]:
    return {"what": what, "ours": ours, "rival": rival, "ratio": ratio, "target": target, "unit": "s"}


def _in_turns(*rivals: Callable[[], Any]) -> list[float]:
    """Median seconds of each rival; the first turn only warms up."""
    seconds: list[list[float]] = [[] for _ in rivals]
    for turn in range(TURNS + 1):
        for rival, kept in zip(rivals, seconds, strict=True):
            begun = perf_counter()
            rival()
            if turn:
                kept.append(perf_counter() - begun)
    return [median(kept) for kept in seconds]


if __name__ == "__main__":
    for row in rows():
        print(" | ".join(map(str, row.values())))
