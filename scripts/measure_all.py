"""Measure everything once, small: every instrument on five layouts of networks, and what is decided before measuring.

`scripts/same.py` runs it with the code of two commits and compares what they wrote, so it uses nothing but what both
offer: `import alternet`, the command line, and the files of a run. Everything lies in the working folder, under names
that say nothing about the machine.

    python scripts/measure_all.py FOLDER --code src [--quick]
"""

import argparse
import hashlib
import json
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import alternet as an
from alternet.seeding import derived_seed

CLASSES, SIDE, LIMIT, BATCH = 18, 32, 16, 6
OTHER, RUN, FOLDER = "other.safetensors", "run", "images"
ONE = {"k": 1, "max_products": 5, "batch_size": 4}
"""Settings of a cheap Hessian."""

QUICK = ("tokens", "handwritten")
"""The networks that `--quick` measures."""

OF_THE_LOSS = ("hessian", "spectral-density", "landscape", "interpolation")
"""What is measured on images of the training split."""

FEW = ("hessian", "landscape-eigenvectors", "corruption-all")
"""What is dear is measured on half of the images."""

Make = Callable[["Layout"], Any]


class Residual(nn.Module):
    """x + f(x), by hand, with a BatchNorm whose statistics are not those of its first day."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Handwritten(nn.Module):
    """A convolutional network that declares nothing about itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(Residual(8), Residual(8), nn.MaxPool2d(2), nn.Dropout(0.3))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Layout:
    """One network, with other weights of the same architecture and a training history made of both.

    Attributes:
        name: Name of the layout, and of the folder that its results lie in.
        subject: The network.
    """

    def __init__(self, name: str, model: nn.Module, facts: Mapping[str, Any]) -> None:
        self.name = name
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_(0, 0.1)
        model.eval()
        Path(name).mkdir()
        own = {key: value.detach().clone() for key, value in model.state_dict().items()}
        path = [_moved(model, own, seed, far) for seed, far in enumerate((1.0, 0.6, 0.3, 0.0))]
        save_file(path[1], f"{name}/{OTHER}")
        write_history(Path(name) / RUN, path)
        self.subject = an.Subject(model, name=name, history=Path(name) / RUN, **facts)


def _moved(model: nn.Module, own: Mapping[str, Tensor], seed: int, far: float) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(seed)
    steps = {key: 0.05 * far * torch.randn(p.shape, generator=noise) for key, p in model.named_parameters()}
    return {key: value + steps[key] if key in steps else value.clone() for key, value in own.items()}


def write_history(folder: Path, path: list[dict[str, Tensor]]) -> None:
    """A folder as training leaves it: snapshots, final weights, and the recipe."""
    (folder / "snapshots").mkdir(parents=True)
    index = [
        {"file": f"epoch-{number:04d}.safetensors", "epoch": number, "step": 10 * number}
        for number in range(len(path) - 1)
    ]
    for entry, state in zip(index, path, strict=False):
        save_file(state, folder / "snapshots" / entry["file"])
    (folder / "snapshots" / "snapshots.json").write_text(json.dumps(index))
    save_file(path[-1], folder / "weights.safetensors")
    (folder / "log.csv").write_text(f"epoch,step\n{len(index)},{10 * len(index)}\n")
    recipe = an.Recipe(hflip=0.5, crop="pad", mixup=0.8, smoothing=0.1, aa="rand-m9-n2-mstd1.0", reprob=0.25)
    (folder / "run.json").write_text(json.dumps({"recipe": recipe.as_dict(), "finished": True}))


def layouts() -> dict[str, Callable[[], Layout]]:
    """The networks by name: maps of convolutions, of tokens, of both, channels last, and declared by nobody."""
    vit = {"img_size": SIDE, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    swin = {"img_size": SIDE, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    by_hand = {"input_size": (3, SIDE, SIDE), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)}
    return {
        "preresnet": lambda: Layout("preresnet", *_loaded("preresnet_mini")),
        "tokens": lambda: Layout("tokens", _created("vit_tiny_patch16_224", **vit), {}),
        "alternet": lambda: Layout("alternet", *_loaded("alternet_mini")),
        "swin": lambda: Layout("swin", _created("swin_tiny_patch4_window7_224", **swin), {}),
        "handwritten": lambda: Layout("handwritten", Handwritten(), by_hand),
    }


def _loaded(name: str) -> tuple[nn.Module, dict[str, Any]]:
    subject = an.load(name, img_size=SIDE, num_classes=CLASSES, seed=3)
    return subject.model, {"input_size": subject.input_size, "mean": subject.mean, "std": subject.std}


def _created(name: str, **settings: Any) -> nn.Module:
    return timm.create_model(name, num_classes=CLASSES, **settings)


SETTINGS: dict[str, Make] = {
    "fourier": lambda _: an.Fourier(),
    "fourier-paper": lambda _: an.Fourier(axis="paper"),
    "fourier-radial": lambda _: an.Fourier(direction="radial"),
    "variance": lambda _: an.Variance(),
    "similarity": lambda _: an.Similarity(batch_size=8),
    "similarity-other": lambda _: an.Similarity(batch_size=5, other=second(), seed=1),
    "lesion": lambda _: an.Lesion(),
    "lesion-paper": lambda _: an.Lesion(unit="paper"),
    "frequency-noise": lambda _: an.FrequencyNoise(bands=2, repeats=2),
    "frequency-noise-round": lambda _: an.FrequencyNoise(bands=2, ring="round", half_width=0.2, seed=1),
    "frequency-noise-paper": lambda _: an.FrequencyNoise(bands=2, energy="paper", strength=0.2),
    "fourier-heatmap": lambda _: an.FourierHeatmap(side=2),
    "fourier-heatmap-seed": lambda _: an.FourierHeatmap(side=4, strength=0.1, seed=1),
    "shape-bias": lambda _: an.ShapeBias(),
    "calibration": lambda _: an.Calibration(),
    "calibration-paper": lambda _: an.Calibration(bins=5, convention="paper"),
    "corruption": lambda _: an.Corruption(only="gaussian_noise"),
    "corruption-bins": lambda _: an.Corruption(only="speckle_noise,contrast", bins=5, seed=1),
    "hessian": lambda _: an.Hessian(**ONE),
    "hessian-ends": lambda _: an.Hessian(**ONE, which="both_ends", augment="weak", batch_norm="batch", seed=1),
    "hessian-paper": lambda _: an.Hessian(**ONE, l2="paper", augment="none", micro_batch=3),
    "hessian-recipe": lambda _: an.Hessian(**ONE, augment="recipe", which="largest", precision="float64"),
    "spectral-density": lambda _: an.SpectralDensity(draws=1, steps=4),
    "spectral-density-paper": lambda _: an.SpectralDensity(draws=2, steps=2, l2="paper", augment="weak"),
    "landscape": lambda _: an.Landscape(points=3, draws=2),
    "landscape-paper": lambda _: an.Landscape(points=3, draws=1, normalisation="paper", redraw="paper", l2="paper"),
    "landscape-layer": lambda _: an.Landscape(points=3, draws=1, normalisation="layer", ignore="nothing", seed=1),
    "landscape-trajectory": lambda _: an.Landscape(points=3, directions="trajectory", normalisation="none"),
    "landscape-recipe": lambda _: an.Landscape(points=3, draws=1, augment="recipe", batch_norm="batch"),
    "interpolation": lambda _: an.Interpolation(steps=2, beyond=1),
    "interpolation-towards": lambda layout: an.Interpolation(
        towards=f"{layout.name}/{OTHER}", steps=2, beyond=0, augment="none", l2="paper"
    ),
    "trajectory": lambda _: an.Trajectory(),
}
"""What is measured on every network, under the name of its folder."""

DEAR: dict[str, Make] = {
    "landscape-eigenvectors": lambda _: an.Landscape(points=3, directions="eigenvectors", normalisation="none"),
    "corruption-all": lambda _: an.Corruption(extra=True),
}
"""What is measured on one network alone."""


KINDS = (
    an.Fourier,
    an.Variance,
    an.Similarity,
    an.Lesion,
    an.FrequencyNoise,
    an.FourierHeatmap,
    an.ShapeBias,
    an.Calibration,
    an.Corruption,
    an.Hessian,
    an.SpectralDensity,
    an.Landscape,
    an.Interpolation,
    an.Trajectory,
)


def second() -> an.Subject:
    """A second model to compare with."""
    return an.load("test_vit", img_size=SIDE, num_classes=CLASSES, seed=4, name="second")


def data_for(label: str, split: str) -> an.Batches:
    """The images that suit an instrument."""
    name = "cue-conflict" if label.startswith("shape-bias") else "photos"
    limit = LIMIT // 2 if label.startswith(FEW) else LIMIT
    return an.batches(name, split=split, img_size=SIDE, limit=limit, batch_size=BATCH)


def measure(layout: Layout, settings: Mapping[str, Make], failures: dict[str, str]) -> Iterator[str]:
    """Measure a network with every setting; yields the labels as they are finished. What fails is written down too."""
    for label, make in settings.items():
        try:
            instrument = make(layout)
            split = "train" if label.startswith(OF_THE_LOSS) else "test"
            instrument.measure(layout.subject, data_for(label, split), out=Path(layout.name) / label)
        except (ValueError, RuntimeError, TypeError, FloatingPointError) as error:
            failures[f"{layout.name} {label}"] = " ".join(str(error).split())
        yield f"{layout.name} {label}"


def facts() -> dict[str, Any]:
    """What is decided before anything is measured: fingerprints of data, settings by default, derived seeds."""
    plain = an.batches("photos", split="train", img_size=SIDE, limit=LIMIT)
    mixed = an.Augmentation(hflip=0.5, crop="pad", cutmix=1.0, mixup=0.8, smoothing=0.1, reprob=0.25)
    frozen = {f"frozen {seed}": plain.frozen(mixed, seed=seed, batch_size=8) for seed in (0, 1)}
    sets = {
        "photos train": plain,
        "photos test": an.batches("photos", split="test", img_size=SIDE, limit=LIMIT),
        "photos seed": an.batches("photos", img_size=SIDE, limit=LIMIT, seed=5),
        "photos 24 x 40": an.batches("photos", img_size=(24, 40), limit=LIMIT, colour=False),
        "digits": an.batches("digits", img_size=SIDE, limit=LIMIT),
        "cue-conflict": an.batches("cue-conflict", img_size=SIDE, limit=LIMIT),
        "folder": an.batches(FOLDER, split="train", img_size=SIDE),
        "shuffled": plain.shuffled(seed=3, batch_size=8),
    } | frozen
    by_default = {kind.__name__: kind().settings for kind in KINDS}
    return {
        "fingerprints": {name: data.fingerprint for name, data in sets.items()},
        "contents": {name: digest_of_batches(data) for name, data in sets.items()},
        "settings": by_default,
        "seeds": {str(parts): derived_seed(*parts) for parts in ((0, "image", 17), (1, "a", 2, "b"), (2**32 - 1, 0))},
        "recipes": {name: an.Recipe.load(name).as_dict() for name in ("paper", "paper-imagenet", "quick", "weak")},
    }


def digest_of_batches(data: an.Batches) -> str:
    """Checksum of all images and targets, bit for bit."""
    digest = hashlib.sha256()
    for images, targets in data:
        digest.update(images.contiguous().numpy().tobytes() + targets.contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_images(folder: Path) -> None:
    """A folder of a few images of three classes, in two splits."""
    noise = torch.Generator().manual_seed(7)
    for split, count in (("train", 8), ("val", 4)):
        for number, name in enumerate("abc"):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = torch.randint(80, (40, 36, 3), generator=noise)
                pixels[..., number] += 120
                Image.fromarray(pixels.byte().numpy()).save(folder / split / name / f"{image}.png")


def train(failures: dict[str, str]) -> None:
    """Two tiny trainings, one from Python and one from the command line; then the command line measures that run."""
    recipe = an.Recipe(lr=1e-3, epochs=2, batch_size=8, model_ema=True, mixup=0.5, drop_path=0.1, snapshot_every=1)
    an.train("test_vit", FOLDER, recipe, "trained", img_size=SIDE, device="cpu", model_args={"patch_size": 8})
    quick = ["--recipe", "quick", *changes(epochs=2, batch_size=8, snapshot_every=1, aa="rand-m5-n1")]
    small = ["--img-size", str(SIDE), "--device", "cpu", "--seed", "1"]
    of_run = ["-m", "run:by-command", "--data", FOLDER, *small]
    few = changes(steps=2, beyond=0, augment="recipe", k=1, points=3, draws=1, batch_size=8, max_products=6)
    alike = ["fourier", "variance", "calibration", "lesion", "similarity"]
    other = ["--out", "together", *changes(**{"fourier.axis": "paper"})]
    calls = {
        "train": ["train", "-m", "preresnet_mini", "--data", FOLDER, "--out", "by-command", *quick, *small],
        "taps": ["taps", "-m", "run:by-command"],
        "taps-tokens": ["taps", "-m", "test_vit"],
        "of-run": ["measure", "trajectory", "interpolation", "hessian", "landscape", *of_run, "--out", "of-run", *few],
        "together": ["measure", *alike, *of_run, "-m", "test_vit", "--limit", "10", "--batch-size", "4", *other],
    }
    for label, call in calls.items():
        told, code = command(call)
        lines = "" if label == "train" else told  # the log of a training holds seconds
        Path(f"{label}.txt").write_text(f"{lines}exit {code}\n")
        if code:
            failures[label] = f"exit {code}"


def changes(**settings: Any) -> list[str]:
    """Settings as the command line takes them."""
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def command(call: list[str]) -> tuple[str, int]:
    """What `alternet ...` says, and its exit code; run in this process, which has imported everything."""
    told, arguments, code = StringIO(), sys.argv, 0
    sys.argv = ["alternet", *call]
    try:
        with redirect_stdout(told):
            runpy.run_module("alternet.cli", run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = arguments
    return told.getvalue(), code


def main() -> None:
    """Measure into a new folder."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--code", type=Path, required=True, help="the folder that alternet must be imported from")
    arguments.add_argument("--quick", action="store_true", help="two networks and no training")
    given = arguments.parse_args()
    found = Path(an.__file__ or "").resolve().parents[1]
    if found != given.code.resolve():
        raise SystemExit(f"alternet comes from {found}, expected {given.code.resolve()}. Set PYTHONPATH.")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["COLUMNS"] = "120"
    given.folder.mkdir(parents=True)
    os.chdir(given.folder)
    write_images(Path(FOLDER))
    failures: dict[str, str] = {}
    chosen = [(name, make) for name, make in layouts().items() if name in QUICK or not given.quick]
    for number, (name, make) in enumerate(chosen):
        torch.manual_seed(number)
        layout = make()
        settings = SETTINGS | DEAR if name == "handwritten" and not given.quick else SETTINGS
        for label in measure(layout, settings, failures):
            print(label, file=sys.stderr)
    if not given.quick:
        train(failures)
    Path("facts.json").write_text(json.dumps(facts(), indent=1, sort_keys=True))
    Path("failures.json").write_text(json.dumps(failures, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
