"""Write the packaged table of published numbers, `src/alternet/studies/published.csv`.

Run `python scripts/published.py` after a change here or in `tests/reference`; a test sees whether it was done.

Origins:

- `tests/reference/paper_figures.json`: read off the vector figures of arXiv 2202.06709v1.
- `tests/reference/cifar100_*_losslandscape.csv`: grids that the authors released (Figure 1a).
- `STATED` below: numbers in the paper's text, and shares and means of its plotted densities (Figures 4, 6, 7, 12c, C.3,
  C.4, C.7, F.1b), which are good to about a tenth of themselves and end where the plot ends. Of ranges the middle.
- The figure `smoothing` is the poster of Park and Kim (2021), "Blurs behave like ensembles".

The CKA matrices of Figure D.3 are left out, but for their summaries, which assume that the colours span 0 to 1.
"""

import json
from collections.abc import Iterator
from io import StringIO
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from alternet.studies.evidence import COLUMNS, as_csv, checked, read_evidence
from alternet.studies.published import published_landscape
from alternet.studies.similarity import block_structure

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests" / "reference"
TABLE = ROOT / "src" / "alternet" / "studies" / "published.csv"

Row = tuple[str, str, str, float | None, float]
"""Figure, arm, quantity, x, value."""

ARMS = {"R": "ResNet", "RX": "ResNeXt", "Alter-ResNet": "AlterNet"}
"""Names in the file that are short for those here."""

KINDS = {
    "ResNet": [["conv"] * depth for depth in (3, 4, 6, 3)],
    "ViT": [["msa", "mlp"] * 12],
    "PiT": [["msa", "mlp"] * depth for depth in (2, 6, 4)],
    "Swin": [["msa", "mlp"] * depth for depth in (2, 2, 6, 2)],
}
"""Units of each stage. Behind the embedding; where PiT and Swin go to another stage they pool in a unit of its own."""
POOLS = {"PiT", "Swin"}

BUILDUP = {
    "none": "ResNet",
    "c4:last": "AlterNet (3.3)",
    "c4:last2": "AlterNet (3.1, 3.3)",
    "+c3:last": "AlterNet (2.5, 3.1, 3.3)",
    "+c3:2": "AlterNet (2.3, 2.5, 3.1, 3.3)",
    "+c3:3": "AlterNet (2.1, 2.3, 2.5, 3.1, 3.3)",
    "+c3:last,c2:last (Alter-ResNet-50 CIFAR)": "AlterNet",
    "...+c2:2": "AlterNet (1.1, 1.3, 2.5, 3.1, 3.3)",
    "...+c1:last": "AlterNet (0.2, 1.3, 2.5, 3.1, 3.3)",
}
"""Blocks that attend, as the setting `msa` names them; the chosen network is (1.3, 2.5, 3.1, 3.3)."""

STATED: list[Row] = [
    ("1b", "ResNet", "trajectory_r", 0, 1.40),
    ("1b", "ResNet", "trajectory_r", 100, 0.78),
    ("1b", "ResNet", "trajectory_r", 200, 0.14),
    ("1b", "ResNet", "trajectory_angle", 0, 67.6),
    ("1b", "ResNet", "trajectory_angle", 100, 92),
    ("1b", "ResNet", "trajectory_angle", 200, 96),
    ("1b", "ViT", "trajectory_r", 0, 0.98),
    ("1b", "ViT", "trajectory_r", 100, 0.42),
    ("1b", "ViT", "trajectory_r", 200, 0.08),
    ("1b", "ViT", "trajectory_angle", 0, 7),
    ("1b", "ViT", "trajectory_angle", 100, 63),
    ("1b", "ViT", "trajectory_angle", 200, 87),
    ("4", "ResNet", "nep", None, 0),
    ("4", "ViT", "nep", None, 0.093),
    ("4", "ViT (6 %)", "nep", None, 0.34),
    ("4", "ResNet", "mode_positive", None, 293),
    ("4", "ViT", "mode_positive", None, 36),
    ("4", "ViT (6 %)", "mode_positive", None, 37),
    ("6", "ViT", "nep", None, 0.083),
    ("6", "ViT (GAP)", "nep", None, 0.05),
    ("6", "ViT", "ape", None, 46.8),
    ("6", "ViT (GAP)", "ape", None, 44.6),
    ("6", "ViT (GAP) − ViT", "accuracy", None, 0.027),
    ("7", "Conv ViT 3 × 3", "nep", None, 0.072),
    ("7", "Conv ViT 5 × 5", "nep", None, 0.038),
    ("7", "Conv ViT 8 × 8", "nep", None, 0.076),
    ("12c", "ResNet", "ape", None, 572),
    ("12c", "AlterNet", "ape", None, 435),
    ("12c", "ResNet", "mode_positive", None, 290),
    ("12c", "AlterNet", "mode_positive", None, 286),
    ("12c", "ResNet", "nep", None, 0.0009),
    ("12c", "AlterNet", "nep", None, 0.0064),
    ("A.1", "ResNet", "images_per_second", None, 320),
    ("A.1", "ViT", "images_per_second", None, 434),
    ("A.1", "PiT", "images_per_second", None, 364),
    ("A.1", "Swin", "images_per_second", None, 469),
    ("A.1", "AlterNet", "images_per_second", None, 473),
    ("C.1", "ResNet-18", "nll_train", None, 2.31),
    ("C.1", "ResNet-18", "test_error", None, 0.22),
    ("C.1", "PiT", "nll_train", None, 2.29),
    ("C.1", "PiT", "test_error", None, 0.241),
    ("C.1", "ViT-S", "nll_train", None, 2.17),
    ("C.1", "ViT-S", "test_error", None, 0.304),
    *(("C.3", "ViT", "nep", x, value) for x, value in ((2, 0.088), (4, 0.098), (8, 0.044))),
    *(("C.3", "ViT", "ape", x, value) for x, value in ((2, 47), (4, 57), (8, 61))),
    *(("C.4", "ResNet", "ape", x, value) for x, value in ((0, 559), (300, 899))),
    *(("C.4", "ViT", "ape", x, value) for x, value in ((0, 47), (300, 565))),
    *(("C.4", "PiT", "ape", x, value) for x, value in ((0, 86), (300, 465))),
    *(("C.4", "Swin", "ape", x, value) for x, value in ((0, 40), (300, 150))),
    *(("C.4", "ResNet", "nep", x, 0) for x in (0, 300)),
    *(("C.4", "ViT", "nep", x, value) for x, value in ((0, 0.096), (300, 0.049))),
    *(("C.4", "PiT", "nep", x, value) for x, value in ((0, 0.05), (300, 0.043))),
    *(("C.4", "Swin", "nep", x, value) for x, value in ((0, 0.12), (300, 0.026))),
    *(("C.7", "ResNet", "ape", x, value) for x, value in ((0, 559), (300, 899))),
    *(("C.7", "ResNet-101", "ape", x, value) for x, value in ((0, 290), (300, 859))),
    *(("C.7", "ViT", "ape", x, value) for x, value in ((0, 47), (300, 565))),
    *(("C.7", "ViT-S", "ape", x, value) for x, value in ((0, 37), (300, 302))),
    ("F.1", "ResNet (weak)", "ape", None, 1299),  # at least: over half of the density lies beyond the plot
    ("F.1", "ResNet", "ape", None, 406),
    ("F.1", "ViT (weak)", "ape", None, 209),
    ("F.1", "ViT", "ape", None, 47),
    ("F.1", "ViT (weak)", "nep", None, 0.01),
    ("F.1", "ViT", "nep", None, 0.096),
    ("smoothing", "ResNet-18 (MLP head)", "ape", None, 239),
    ("smoothing", "ResNet-18", "ape", None, 169),
    ("smoothing", "ResNet-18 (smoothing)", "ape", None, 118),
]


def called(name: str) -> str:
    """What an arm of the file is called here."""
    return ARMS.get(name, name)


def trained(figure: str, arm: str, pairs: list[tuple[float | None, float, float]]) -> Iterator[Row]:
    """Test error in per cent and training NLL at each x."""
    for x, error, nll in pairs:
        yield figure, arm, "test_error", x, error / 100
        yield figure, arm, "nll_train", x, nll


def training_series(paper: dict[str, Any]) -> Iterator[Row]:
    """Figures 5a, 5b, 7, C.1 to C.3: error and NLL."""
    for figure, key in (("5a", "fig5a_cifar100_err_nll"), ("C.1a", "C1a_cifar10"), ("C.1b", "C1b_imagenet")):
        for name, (error, nll) in paper[key].items():
            yield from trained(figure, called(name), [(None, error, nll)])
    few = paper["fig5b_datasetsize_ViT"]
    shares = [2.0**-power for power in range(6, -1, -1)]  # 1/64 to all of the 500 images of a class
    yield from trained("5b", "ViT", list(zip(shares, few["err"], few["nll"], strict=True)))
    long = paper["C2_epochs"]
    for arm, short in (("ViT", "ViT"), ("ResNet", "R")):
        points = zip(long["epochs"], long[f"{short}_err"], long[f"{short}_nll"], strict=True)
        yield from trained("C.2", arm, list(points))
    patches = paper["C3a_patch"]
    yield from trained("C.3", "ViT", list(zip(patches["patch"], patches["err"], patches["nll"], strict=True)))
    reach = paper["fig7a_convViT"]
    for side, error, nll in zip(reach["kernel"], reach["err"], reach["nll"], strict=True):
        yield from trained("7", f"Conv ViT {side} × {side}", [(None, error, nll)])


def accuracies(paper: dict[str, Any]) -> Iterator[Row]:
    """Figures 12a, 12b, E.1 and 2b."""
    for name, value in paper["fig12a_buildup"].items():
        yield "12a", BUILDUP[name], "accuracy", None, value / 100
    for figure, key in (("12b", "fig12b_cifar100_acc_rob"), ("E.1", "E1_imagenet_acc_rob")):
        for name, (accuracy, robustness) in paper[key].items():
            yield figure, called(name), "accuracy", None, accuracy / 100
            yield figure, called(name), "corruption_accuracy", None, robustness / 100
    noise = paper["fig2b_noise"]
    for arm in ("ResNet", "ViT"):
        for x, value in zip(noise["freq_pi"], noise[arm], strict=True):
            yield "2b", arm, "noise_drop", x, value / 100


def reliability(paper: dict[str, Any]) -> Iterator[Row]:
    """Figure F.1a."""
    bins = paper["F1a_reliability"]
    for name in ("ResNet", "ViT"):
        for arm, key in ((f"{name} (weak)", f"{name}_weak"), (name, f"{name}_strong")):
            for confidence, accuracy in zip(bins["conf"], bins[key], strict=True):
                yield "F.1", arm, "confidence", confidence / 100, accuracy / 100
            # How many images each bin holds is not published, so all bins weigh the same.
            value = (sum(bins["conf"]) - sum(bins[key])) / len(bins["conf"]) / 100
            yield "F.1", arm, "overconfidence", None, value


def curvature(paper: dict[str, Any]) -> Iterator[Row]:
    """Figures 1a, 1c, C.5 and C.6. `x` of 1c counts epochs from the end of the warm-up."""
    for arm, file in (("ResNet", "resnet_dnn_50"), ("ViT", "vit_ti")):
        flat = published_landscape(REFERENCE / f"cifar100_{file}_losslandscape.csv", arm).tables["flatness"]
        for part, column in (("rise_nll", "nll_rise"), ("rise_l2", "l2_rise"), ("rise_loss", "rise")):
            for radius, value in zip(flat["radius"], flat[column], strict=True):
                yield "1a", arm, part, radius, round(value, 6)
        for epoch, one in paper["fig1c_spectra"][arm].items():
            x = 0 if epoch == "warmup" else int(epoch)
            for quantity, name in (("nep", "neg"), ("ape", "meanpos"), ("mode_positive", "mode")):
                yield "1c", arm, quantity, x, one[name]
    for figure, key, axis in (("C.5", "C5_heads", "heads"), ("C.6", "C6_embed_per_head", "embed")):
        one = paper[key]
        for x, negative, positive in zip(one[axis], one["NEP%"], one["APE"], strict=True):
            yield figure, "ViT", "nep", x, negative / 100
            yield figure, "ViT", "ape", x, positive


def units(arm: str) -> list[str]:
    """Kinds of all units, the embedding first."""
    between = ["pool"] if arm in POOLS else []
    stages = [[*between, *stage] if number else stage for number, stage in enumerate(KINDS[arm])]
    return ["stem", *chain.from_iterable(stages)]


def stages(arm: str) -> list[int]:
    """Stage of every unit; the embedding is of the first one, and a unit that pools begins the next."""
    between = arm in POOLS
    sizes = [len(stage) + (between if number else 1) for number, stage in enumerate(KINDS[arm])]
    return [number for number, size in enumerate(sizes) for _ in range(size)]


def maps(paper: dict[str, Any]) -> Iterator[Row]:
    """Figures 8 and 9 (D.1, D.2), and what the kinds of units do in them."""
    for figure, series, key, short in (
        ("8", "high_frequency", "D2_highfreq_dlogamp", "high"),
        ("9", "variance", "D1_variance", "variance"),
    ):
        for arm, values in paper[key].items():
            kinds = units(arm)
            for unit, value in enumerate(values):
                yield figure, arm, series, unit / (len(values) - 1), value
            if len(kinds) != len(values):
                raise ValueError(f"{arm} has {len(kinds)} units, and figure {figure} {len(values)} values.")
            for kind, name, verb, sign in (
                ("msa", "attention", "lowered", -1),
                ("mlp", "mlp", "raised", 1),
                ("conv", "conv", "raised", 1),
            ):
                steps = [b - a for (a, b), of in zip(pairwise(values), kinds[1:], strict=True) if of == kind]
                if steps:
                    yield figure, arm, f"{name}_{short}_step", None, round(sum(steps) / len(steps), 6)
                    share = sum(step * sign > 0 for step in steps) / len(steps)
                    yield figure, arm, f"{name}_{short}_{verb}", None, share


def similarity(paper: dict[str, Any]) -> Iterator[Row]:
    """Figure 10a (D.3)."""
    for arm, matrix in paper["D3_CKA_assuming_plasma_0_1"].items():
        yield "10a", arm, "cka_first_last", None, matrix[0][-1]
        if len(KINDS[arm]) > 1:
            yield "10a", arm, "block_structure", None, round(block_structure(matrix, stages(arm)), 6)


def lesions(paper: dict[str, Any]) -> Iterator[Row]:
    """Figure 10b (D.4). Units beyond the axis are missing; starts and ends are of the stages that show both."""
    for arm, points in paper["D4_lesion"].items():
        numbers = stages(arm)[1:]  # without the embedding
        by_stage: dict[str, dict[int, list[float]]] = {"MSA": {}, "Conv": {}}
        firsts: dict[int, int] = {}
        for unit, (stage, kind) in enumerate(zip(numbers, units(arm)[1:], strict=True)):
            if kind in ("msa", "conv"):
                firsts.setdefault(stage, unit)
        drops: dict[int, tuple[float, str]] = {}
        for x, value, kind in points:
            yield "10b", arm, "lesion", x, value / 100
            unit = lesion_unit(arm, x, kind)
            drops[unit] = (value / 100, kind)
            if kind in by_stage:
                by_stage[kind].setdefault(numbers[unit], []).append(value / 100)
        for kind, name in (("MSA", "attention"), ("Conv", "conv")):
            pairs = [
                (shown[0], shown[-1])
                for stage, shown in by_stage[kind].items()
                if len(shown) > 1 and (kind == "Conv" or firsts[stage] in drops)
            ]
            if pairs and len(KINDS[arm]) > 1:
                yield "10b", arm, f"lesion_{name}_start", None, round(sum(a for a, _ in pairs) / len(pairs), 6)
                yield "10b", arm, f"lesion_{name}_end", None, round(sum(b for _, b in pairs) / len(pairs), 6)


def lesion_unit(arm: str, x: float, kind: str) -> int:
    """Number of the unit at a place on the axis of Figure D.4, counted behind the embedding.

    Raises:
        ValueError: No unit of that kind stands there.
    """
    names = {"MSA": "msa", "MLP": "mlp", "Conv": "conv"}
    places = units(arm)[1:]
    unit = round(x * (len(places) - 1))
    if places[unit] != names[kind]:
        raise ValueError(f"{arm}: at {x} stands {places[unit]}, the figure says {kind}.")
    return unit


def table() -> pd.DataFrame:
    """All of it."""
    paper = json.loads((REFERENCE / "paper_figures.json").read_text(encoding="utf-8"))
    parts = (training_series, accuracies, reliability, curvature, maps, similarity, lesions)
    rows = [*chain.from_iterable(part(paper) for part in parts), *STATED]
    described = pd.DataFrame(rows, columns=["figure", "arm", "quantity", "x", "value"])
    described["value"] = described["value"].round(6)
    return checked(described.assign(seed=None, standard_error=None).loc[:, list(COLUMNS)])


if __name__ == "__main__":
    text = as_csv(table())
    read_evidence(StringIO(text))
    TABLE.write_text(text, encoding="utf-8")
