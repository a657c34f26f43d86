"""Landscape: the time of a grid point against bare forward passes over the same data.

Both sides see the same frozen batches, without augmentation, in memory. Ours sets the weights of the point, passes the
data and sums NLL, L2 and accuracy; the rival only passes the data. They take turns in one process; the numbers are
medians of the turns.
"""

from statistics import median
from time import perf_counter
from typing import Any

import timm
import torch

from alternet.data.batches import Batches
from alternet.instruments.landscape import Landscape
from alternet.views.subject import Subject

MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (1024, {}),
    "vit_tiny_patch16_224": (256, {"img_size": 32, "patch_size": 4}),
}
"""Images, and options of the model."""
TURNS = 9


def rows() -> list[dict[str, Any]]:
    """A CNN and a ViT on images of CIFAR's size."""
    return [_row(name, images, options) for name, (images, options) in MODELS.items()]


def _row(name: str, images: int, options: dict[str, Any]) -> dict[str, Any]:
    pictures = torch.rand(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = Batches.of(pictures, torch.arange(images) % 100, classes=[str(k) for k in range(100)])
    settings = Landscape(points=3, augment="none")
    subject = Subject(timm.create_model(name, num_classes=100, **options).eval(), name=name, input_size=(3, 32, 32))
    ours, bare = _turns(settings, subject, settings.prepare(data))
    what = f"a grid point of {name} on {images} images of 32 x 32, against bare forward passes over them"
    return {"what": what, "ours": ours, "rival": bare, "ratio": ours / bare, "target": "<= 1.05", "unit": "s"}


def _turns(settings: Landscape, subject: Subject, data: Batches) -> tuple[float, float]:
    ours, bare = [], []
    with settings.view(subject, data) as ground:
        for turn in range(TURNS + 1):
            begun = perf_counter()
            settings.rows(ground, ("grid", 0, 0))
            between = perf_counter()
            _forward(subject, data)
            if turn:  # the first one only warms up
                ours.append(between - begun)
                bare.append(perf_counter() - between)
    return median(ours), median(bare)


def _forward(subject: Subject, data: Batches) -> None:
    with torch.no_grad():
        for images, _ in data:
            subject.logits(images)


if __name__ == "__main__":
    for row in rows():
        print(" | ".join(map(str, row.values())))
