"""Landscape: the time of a grid point against bare forward passes over the same data.

Both sides see the same frozen batches, without augmentation, in memory. Ours sets the weights of the point, passes the
data and sums NLL, L2 and accuracy; the rival only passes the data. They take turns in one process; the numbers are
medians of the turns.
"""

from typing import Any

import timm
import torch

from alternet.data.image_batches import Batches
from alternet.instruments.landscape import Landscape
from alternet.subject.subject import Subject
from benchmarks.turns import bare_passes, in_turns, row

MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (1024, {}),
    "vit_tiny_patch16_224": (256, {"img_size": 32, "patch_size": 4}),
}
"""Images, and options of the model."""
TURNS = 9


def rows() -> list[dict[str, Any]]:
    """A CNN and a ViT on images of CIFAR's size."""
    return [_compared(name, images, options) for name, (images, options) in MODELS.items()]


def _compared(name: str, images: int, options: dict[str, Any]) -> dict[str, Any]:
    pictures = torch.rand(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = Batches.of(pictures, torch.arange(images) % 100, classes=[str(k) for k in range(100)])
    subject = Subject(timm.create_model(name, num_classes=100, **options).eval(), name=name, input_size=(3, 32, 32))
    with Landscape(points=3, augment="none").open(subject, data) as work:
        point, passes = (lambda: work.rows(("grid", 0, 0))), (lambda: bare_passes(subject, work.batches))
        ours, bare = in_turns(TURNS, point, passes)
    what = f"a grid point of {name} on {images} images of 32 x 32, against bare forward passes over them"
    return row(what, ours, bare, ours / bare, "<= 1.05")


if __name__ == "__main__":
    for line in rows():
        print(" | ".join(map(str, line.values())))
