"""Networks of every layout that a feature map comes in, all small, as factories of subjects."""

import timm
import torch
from torch import Tensor, nn

from alternet.data.image_batches import Batches
from alternet.subject.subject import Subject

CLASSES, IMAGES = 10, 7


class Residual(nn.Module):
    """x + f(x), written by hand, with what changes between training and evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.Dropout(0.3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Handwritten(nn.Module):
    """A residual network that declares nothing about itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([Residual(8), Residual(8)])
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Encoder(nn.Module):
    """Patches through torch's own encoder, whose fast path skips every hook."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=False)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.encoder(tokens).mean(1))


def plain() -> nn.Module:
    """Convolutions and poolings without a single residual addition."""
    parts = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
    ]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(12, CLASSES))


def _timm(name: str, **settings) -> Subject:
    model = timm.create_model(name, num_classes=CLASSES, **settings)
    return Subject(model, name=name, input_size=None if "img_size" in settings else (3, 32, 32))


def _own(model: nn.Module, name: str) -> Subject:
    return Subject(model, name=name, input_size=(3, 16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))


_TINY_VIT = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
_TINY_SWIN = {"patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2)}

NETWORKS = {
    "plain-convolutions": lambda: _own(plain(), "plain"),
    "post-activation-resnet": lambda: _timm("test_resnet"),
    "vit-with-class-token": lambda: _timm("vit_tiny_patch16_224", img_size=32, **_TINY_VIT),
    "vit-with-registers": lambda: _timm("vit_tiny_patch16_224", img_size=32, reg_tokens=3, **_TINY_VIT),
    "rectangular-grid": lambda: _timm("vit_tiny_patch16_224", img_size=(24, 40), **_TINY_VIT),
    "channels-last-swin": lambda: _timm("swin_tiny_patch4_window7_224", img_size=32, **_TINY_SWIN),
    "convnext": lambda: _timm("convnext_atto", depths=(1, 1, 2, 1), dims=(8, 8, 16, 16)),
    "torch-encoder": lambda: _own(Encoder(), "encoder"),
    "handwritten": lambda: _own(Handwritten(), "handwritten"),
}


def network(layout: str) -> Subject:
    """The subject of that layout, with random weights, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = NETWORKS[layout]()
        for name, buffer in subject.model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
        return subject


def data(subject: Subject, *, batch_size: int = 3, n: int = IMAGES) -> Batches:
    """Seven random images of the size that the subject takes, with labels; the same at every call."""
    generator = torch.Generator().manual_seed(1)
    assert subject.input_size is not None
    images = torch.rand(n, *subject.input_size, generator=generator)
    targets = torch.randint(CLASSES, (n,), generator=generator)
    classes = [f"{k}-{(k + 1) % CLASSES}" for k in range(CLASSES)]  # shape and texture, which one instrument reads
    return Batches.of(images, targets, classes=classes, batch_size=batch_size)
