"""Measurements made of published values: Figures D.1, D.2, D.4 and F.1a of the paper, read off its vector graphics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alternet.loss.quadrature import Node, moments
from alternet.loss.spectrum import summary
from alternet.measurement import Measurement

PUBLISHED = pd.read_csv(Path(__file__).with_name("published.csv"))
LESIONS = pd.read_csv(Path(__file__).with_name("published_lesion.csv"))
"""Percentage points of accuracy that each unit carries; those beyond the axes of the figure are not known."""

WHOLE = {"ResNet": 0.827, "ViT": 0.665, "PiT": 0.760, "Swin": 0.767}
RESNET_STAGES = (0, 4, 8, 14, 17)
SIDES = {"ResNet": 56, "ViT": 14, "PiT": 27, "Swin": 56}
ACCURACY = (0.059, 0.271, 0.403, 0.494, 0.645, 0.788, 0.904, 0.973, 0.981, 0.98)
COUNT = (3, 20, 60, 110, 130, 140, 150, 160, 180, 300)


def provenance(instrument: str, name: str, **changed: Any) -> dict[str, Any]:
    facts = {
        "instrument": instrument,
        "settings": {"axis": "textbook"},
        "model": {"name": name, "class": "Net", "parameters": 25_557_032, "weights_sha256": "ab" * 32},
        "data": {"name": "photos", "fingerprint": "cd" * 16},
        "dtype": "float32",
        "images": 1080,
    }
    return facts | changed


def units(published: str, name: str) -> pd.DataFrame:
    rows = PUBLISHED[PUBLISHED["model"] == published]
    where = {"model": name, "unit": rows["unit"], "tap": [f"blocks.{u}" for u in rows["unit"]], "kind": rows["kind"]}
    depth = rows["unit"] / rows["unit"].max()
    return pd.DataFrame({**where, "depth": depth}).reset_index(drop=True)


STEP_ERROR = 0.02


def with_steps(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """What each unit changes at each frequency, if there are several, and an interval of two errors around it."""
    groups = table.groupby("frequency", sort=False) if "frequency" in table else table
    step = groups[value].diff()
    low, high = step - 2 * STEP_ERROR, step + 2 * STEP_ERROR
    return table.assign(step=step, step_error=STEP_ERROR, step_low=low, step_high=high)


def fourier(published: str, name: str | None = None) -> Measurement:
    name = name or published
    where, top = units(published, name), PUBLISHED.loc[PUBLISHED["model"] == published, "delta_log_amplitude"]
    frequency = np.linspace(0, 1, SIDES[published] // 2 + 1)
    shape = (1 - np.exp(-3 * frequency)) / (1 - np.exp(-3))
    parts = [
        pd.DataFrame([row] * len(frequency)).assign(frequency=frequency, delta_log_amplitude=value * shape)
        for (_, row), value in zip(where.iterrows(), top, strict=True)
    ]
    table = with_steps(pd.concat(parts, ignore_index=True).assign(standard_error=0.05), "delta_log_amplitude")
    return Measurement(instrument="fourier", tables={"table": table}, provenances=(provenance("fourier", name),))


def variance(published: str, name: str | None = None) -> Measurement:
    name = name or published
    values = PUBLISHED.loc[PUBLISHED["model"] == published, "variance"].to_numpy()
    table = units(published, name).assign(variance=values, sample_variance=1.2 * values, standard_error=0.005)
    table = with_steps(table, "variance")
    facts = provenance("variance", name, settings={})
    return Measurement(instrument="variance", tables={"table": table}, provenances=(facts,))


def lesion(published: str, name: str | None = None) -> Measurement:
    """A ResNet's strided blocks were left alone; units that the paper's axis cuts off are left out."""
    name = name or published
    where, known = units(published, name), LESIONS[LESIONS["model"] == published].set_index("unit")["points"]
    pools = where["kind"].eq("pool").cumsum()
    stage = pd.cut(where["unit"], RESNET_STAGES, right=False, labels=False) if published == "ResNet" else pools
    where, points = where.assign(stage=stage), where["unit"].map(known) / 100
    kept = ~where["kind"].isin(["stem", "pool"]) & (points.notna() | (published == "ResNet"))
    where, delta = where[kept], points[kept]
    accuracy, error, nll = WHOLE[published] + delta, (-delta / 1e4).pow(0.5), 1 - 2 * delta
    values = {"accuracy": accuracy, "delta_accuracy": delta, "nll": nll, "delta_nll": -2 * delta}
    table = where.drop(columns="stage").assign(
        **values, standard_error=error, nll_error=2 * error, stage=where["stage"]
    )
    table = table.assign(low=delta - 2 * error, high=delta + 2 * error)
    facts = provenance("lesion", name, settings={"unit": "paper"})
    return Measurement(instrument="lesion", tables={"table": table.reset_index(drop=True)}, provenances=(facts,))


def calibration(published: str, name: str | None = None) -> Measurement:
    name = name or published
    accuracy, count = np.array(ACCURACY), np.array(COUNT)
    middle = (np.arange(10) + 0.5) / 10
    right = (accuracy * count).sum() / count.sum()
    ece = (abs(accuracy - middle) * count).sum() / count.sum()
    low, high = np.arange(10) / 10, np.arange(1, 11) / 10
    bins = {"bin": range(10), "low": low, "high": high, "count": count, "accuracy": accuracy, "confidence": middle}
    metrics = {"accuracy": right, "nll": 1.234, "ece": ece}
    table = pd.DataFrame({"model": name, "metric": list(metrics), "value": list(metrics.values())})
    tables = {"table": table, "reliability": pd.DataFrame({"model": name, **bins})}
    facts = provenance("calibration", name, settings={"bins": 10})
    return Measurement(instrument="calibration", tables=tables, provenances=(facts,))


def similarity(published: str, name: str | None = None, beside: str | None = None) -> Measurement:
    """Like the nearer the units are, more so in a stage, and below 0 where they are far apart."""
    name = name or published
    sides = {"a": (name, units(published, name)), "b": (beside, units(beside or published, name))}
    sides = {side: (model, rows) for side, (model, rows) in sides.items() if model}
    *_, (second, other) = sides.values()
    _, first = sides["a"]
    for _, rows in sides.values():
        rows["stage"] = (rows["kind"] == "pool").cumsum()
    pairs = first.merge(other, on="model", suffixes=("_a", "_b"))
    near = np.exp(-6 * abs(pairs["depth_a"] - pairs["depth_b"]))
    cka = np.where(pairs["stage_a"] == pairs["stage_b"], near, 0.9 * near - 0.02)
    where = pairs[["model", "unit_a", "tap_a", "unit_b", "tap_b"]].copy()
    where.insert(3, "model_b", second)
    parts = [rows.assign(side=side) for side, (_, rows) in sides.items()]
    tables = {"table": where.assign(cka=cka, standard_error=0.01), "units": pd.concat(parts, ignore_index=True)}
    facts = provenance("similarity", name, settings={"batch_size": 64, "other": beside, "seed": 0})
    return Measurement(instrument="similarity", tables=tables, provenances=(facts,))


EXTREMES = {"ResNet": (560, 1.0, 0.0), "ViT": (47, 0.6, 0.096), "PiT": (90, 0.7, 0.05), "Swin": (140, 0.8, 0.02)}
"""Mean and spread (of the logarithm) of the positive ones and share of the negative ones, about as in Fig 1c."""


def hessian(published: str, name: str | None = None) -> Measurement:
    name = name or published
    mean, spread, share = EXTREMES[published]
    random, count = np.random.default_rng(len(published)), 300
    positive = random.lognormal(np.log(mean) - spread**2 / 2, spread, count)
    values = np.where(np.arange(count) < share * count, -0.4 * positive, positive)
    where = {"batch": np.arange(count) // 5, "rank": np.arange(count) % 5}
    table = pd.DataFrame({"model": name, **where, "eigenvalue": values, "residual": 1e-4 * abs(values)})
    rows = summary(table["batch"], table["eigenvalue"])
    tables = {"table": table, "summary": pd.DataFrame(rows, columns=["metric", "value", "low", "high"])}
    tables["summary"].insert(0, "model", name)
    facts = provenance("hessian", name, settings={"k": 5})
    return Measurement(instrument="hessian", tables=tables, provenances=(facts,))


LOST = {
    "ResNet": (5.0, 8.8, 12.7, 10.7, 10.3, 10.1, 9.7, 13.6, 15.4),
    "ViT": (5.5, 12.1, 14.9, 13.4, 11.6, 9.8, 6.3, 4.3, 4.8),
    "PiT": (4.0,) * 9,
    "Swin": (6.0,) * 9,
}
"""Percentage points that noise of 0.1π … 0.9π costs; those of ResNet and ViT were read off Figure 2b."""


def frequency_noise(published: str, name: str | None = None) -> Measurement:
    name = name or published
    delta, frequency = -np.array(LOST[published]) / 100, np.arange(1, 10) / 10
    values = {"frequency": frequency, "accuracy": 0.75 + delta, "delta_accuracy": delta}
    table = pd.DataFrame({"model": name, **values, "nll": 1 - delta, "standard_error": 0.004})
    table = table.assign(low=delta - 0.008, high=delta + 0.008)
    settings = {"energy": "equal", "strength": 0.05}
    facts = provenance("frequency_noise", name, settings=settings)
    return Measurement(instrument="frequency_noise", tables={"table": table}, provenances=(facts,))


def fourier_heatmap(published: str, name: str | None = None) -> Measurement:
    """Of 8 × 8 pixels: what noise of the same frequency costs, and a tenth more for waves that run down."""
    name = name or published
    fx, fy = (part.ravel() for part in np.meshgrid(np.arange(-4, 5) / 4, np.arange(-4, 5) / 4))
    loss = np.interp(np.maximum(abs(fx), abs(fy)), np.arange(1, 10) / 10, np.array(LOST[published]) / 100)
    delta = -loss * np.where(fx == 0, 1.1, 1.0)
    values = {"fx": fx, "fy": fy, "accuracy": 0.75 + delta, "delta_accuracy": delta}
    table = pd.DataFrame({"model": name, **values, "standard_error": 0.004})[(fx != 0) | (fy != 0)]
    table = table.assign(low=table["delta_accuracy"] - 0.008, high=table["delta_accuracy"] + 0.008)
    facts = provenance("fourier_heatmap", name, settings={"strength": 0.05, "side": 0, "seed": 0})
    return Measurement(
        instrument="fourier_heatmap", tables={"table": table.reset_index(drop=True)}, provenances=(facts,)
    )


COUNTS = {"cat": (60, 12, 36), "dog": (60, 30, 10), "page": (60, 0, 0)}
"""Images of each shape, decisions for it and for the texture."""


def shape_bias(published: str, name: str | None = None) -> Measurement:
    name = name or published
    pairs = [{"shape": shape, "texture": "clock"} for shape in COUNTS]
    table = pd.DataFrame(pairs).assign(model=name)
    table[["images", "chose_shape", "chose_texture"]] = list(COUNTS.values())
    bias = pd.DataFrame({"model": name, "shape": ["all", *COUNTS], "images": [180, 60, 60, 60]})
    bias["decisions"] = [88, 48, 40, 0]
    bias["shape_bias"], bias["low"], bias["high"] = (
        [42 / 88, 0.25, 0.75, np.nan],
        [0.38, 0.15, 0.6, 0],
        [0.58, 0.39, 0.86, 1],
    )
    facts = provenance("shape_bias", name, settings={"classes": "auto"})
    return Measurement(instrument="shape_bias", tables={"table": table, "bias": bias}, provenances=(facts,))


CORRUPTIONS = {"gaussian_noise": "noise", "defocus_blur": "blur", "glass_blur": "blur", "fog": "weather"}


def corruption(published: str, name: str | None = None) -> Measurement:
    name = name or published
    start = {"ResNet": 0.8, "ViT": 0.66, "PiT": 0.76, "Swin": 0.77}.get(published, 0.7)
    rows = [("clean", 0, start, "clean")]
    for turn, (kind, family) in enumerate(CORRUPTIONS.items(), start=1):
        rows += [(kind, severity, start - 0.02 * turn * severity, family) for severity in range(1, 6)]
    table = pd.DataFrame(rows, columns=["corruption", "severity", "accuracy", "family"])
    table = table.assign(nll=1.0, ece=0.1, standard_error=0.01, nll_standard_error=0.1, images=100)
    table.insert(0, "model", name)
    means = table[table["severity"] > 0].groupby("severity")["accuracy"].mean()
    values = {"clean_accuracy": start, "mean_accuracy": means.mean(), "sets": 20, "mce": np.nan, "mce_paper": 0.9}
    values |= {f"severity_{severity}": value for severity, value in means.items()}
    summary = pd.DataFrame({"model": name, "metric": list(values), "value": list(values.values())})
    summary["standard_error"] = [np.nan if metric in ("sets", "mce") else 0.01 for metric in values]
    facts = provenance("corruption", name, settings={"only": ",".join(CORRUPTIONS)})
    return Measurement(instrument="corruption", tables={"table": table, "summary": summary}, provenances=(facts,))


def landscape(name: str, *, points: int = 5, sharp: float | None = None) -> Measurement:
    """A bowl whose NLL part is as sharp as the name is long, and whose L2 part is the same for all."""
    sharp = len(name) if sharp is None else sharp
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(-1, 1, points), np.linspace(-1, 1, points)))
    r = x**2 + y**2
    parts = {"x": x, "y": y, "nll": 1 + sharp * r, "l2": 100 * (1 + r), "loss": 6 + (sharp + 5) * r, "accuracy": 0.5}
    radius = np.array([0.25, 0.5, 0.75, 1.0])
    errors = {"standard_error": 0.1, "nll_standard_error": 0.1, "l2_standard_error": 0.0}
    rises = {"rise": (sharp + 5) * radius**2, "nll_rise": sharp * radius**2, "l2_rise": 5 * radius**2}
    flat = pd.DataFrame({"model": name, "radius": radius, **rises, **errors, "directions": 10, "finite": 10})
    tables = {"table": pd.DataFrame({"model": name, **parts}), "flatness": flat}
    facts = provenance("landscape", name, settings={"radius": 1.0})
    return Measurement(instrument="landscape", tables=tables, provenances=(facts,))


def spectral_density(name: str) -> Measurement:
    """A bulk around zero and outliers that reach as far as the name is long, from two random vectors."""
    far = float(len(name))
    node, eigenvalue = np.arange(4), np.array([-1.0, 0.0, far / 2, far])
    weight = {0: [0.01, 0.97, 0.01, 0.01], 1: [0.02, 0.96, 0.01, 0.01]}
    parts = [
        {"draw": k, "node": node, "eigenvalue": eigenvalue, "weight": w, "residual": 0.1} for k, w in weight.items()
    ]
    rows = moments([list(map(Node, eigenvalue, w)) for w in weight.values()], [25.0, 25.0], 1000)
    tables = {
        "table": pd.concat([pd.DataFrame({"model": name, **part}) for part in parts], ignore_index=True),
        "moments": pd.DataFrame(rows, columns=["metric", "value", "standard_error", "low", "high"]),
    }
    tables["moments"].insert(0, "model", name)
    facts = provenance("spectral_density", name, settings={"draws": 2})
    return Measurement(instrument="spectral_density", tables=tables, provenances=(facts,))


def interpolation(name: str) -> Measurement:
    """A barrier of 0.5 in the middle, between ends with an NLL of 1 and 2."""
    x = np.linspace(-0.25, 1.25, 7)
    nll = 1 + x + 2 * x * (1 - x)
    parts = {"x": x, "nll": nll, "l2": 100.0, "loss": nll + 5, "accuracy": 0.5}
    facts = provenance("interpolation", name, settings={"towards": ""})
    tables = {"table": pd.DataFrame({"model": name, **parts})}
    return Measurement(instrument="interpolation", tables=tables, provenances=(facts,))


def trajectory(name: str) -> Measurement:
    angle = [0.0, 36.2, 63.3, np.nan]
    where = {"step": [0, 84, 168, 336], "radius": [1.0, 0.64, 0.25, 0.0], "angle": angle}
    plane = {"pc1": [0.995, 0.525, 0.094, 0.0], "pc2": [-0.03, 0.363, 0.085, 0.0]}
    shares = {"component": [1, 2, 3], "share": [0.84, 0.13, 0.03], "cumulative": [0.84, 0.97, 1.0]}
    tables = {
        "table": pd.DataFrame({"model": name, **where, **plane}),
        "explained": pd.DataFrame({"model": name, **shares}),
    }
    facts = provenance("trajectory", name, settings={})
    return Measurement(instrument="trajectory", tables=tables, provenances=(facts,))


def training(name: str, *, classes: int = 18) -> Measurement:
    log = {"epoch": [1, 2, 3], "train_loss": [2.9, 2.0, 1.5], "test_accuracy": [0.2, 0.5, 0.61]}
    table = pd.DataFrame({"model": name, **log})
    facts = {"instrument": "training", "model": {"name": name}, "num_classes": classes}
    return Measurement(instrument="training", tables={"table": table}, provenances=(facts,))


def epochs(name: str) -> Measurement:
    numbers = {"calibration: accuracy": [0.1, 0.4, 0.6], "fourier: high-frequency step of msa": [0.2, -0.1, -0.3]}
    rows = [
        (name, epoch, number, value)
        for number, values in numbers.items()
        for epoch, value in zip((0, 5, 10), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["model", "epoch", "number", "value"])
    facts = {"instrument": "epochs", "model": {"name": name}}
    return Measurement(instrument="epochs", tables={"table": table}, provenances=(facts,))


def buildup(name: str) -> Measurement:
    tried = {"unit": ["no attention", "stages.3.1", "stages.2.5", "stages.1.3"], "kept": [1, 1, 0, 1]}
    units = ["no attention", "stages.3.1", "stages.2.5, stages.3.1", "stages.1.3, stages.3.1"]
    values = {"accuracy": [0.8248, 0.8345, 0.8301, 0.8402], "standard_error": [0.003, 0.002, 0.004, 0.001]}
    gains = {"gain": [np.nan, 0.0097, -0.0044, 0.0057], "gain_error": [np.nan, 0.002, 0.004, 0.002]}
    path = {"step": range(4), **tried, "stage": [np.nan, 3, 2, 1], "units": units, "attention": [0, 1, 2, 2]}
    network = {"network": ["no attention", "chosen", "difference"], "attention": [0, 2, 2], "seeds": 3}
    test = {"accuracy": [0.82, 0.835, 0.015], "standard_error": [0.004, 0.003, 0.002], "low": [0.80, 0.82, 0.006]}
    tables = {
        "table": pd.DataFrame({"model": name, **path, **values, **gains}),
        "test": pd.DataFrame({"model": name, **network, **test, "high": [0.84, 0.848, 0.024]}),
    }
    facts = provenance("buildup", name, settings={"seeds": 3, "form": "unit"})
    return Measurement(instrument="buildup", tables=tables, provenances=(facts,))


def claims(name: str) -> Measurement:
    """One case of every verdict, over seeds, images and one run."""
    nan, topics = np.nan, ["feature maps"] * 3 + ["loss landscape"] * 4
    facts = {
        "claim": ["low-pass"] * 3 + ["flat"] * 2 + ["swin", "shape"],
        "topic": topics,
        "text": ["Attention averages"] * 3 + ["Attention flattens"] * 2 + ["On par with Swin", "Shape-biased"],
        "source": "section 3",
        "case": ["ViT", "PiT", "Swin", "APE", "rise", "AlterNet − Swin", "ViT − ResNet"],
        "figure": ["8", "8", "8", "1c", "1a", "E.1", "shape"],
        "quantity": "accuracy",
        "scale": ["plain"] * 3 + ["ratio", "plain", "points", "points"],
        "unit": ["3 seeds, paired", "images (one run)", "one run", "3 seeds", "3 seeds", "3 and 4 seeds", "–"],
    }
    numbers = {
        "effect": [-0.05, 0.02, 0.01, 0.5, -2.0, -0.004, nan],
        "low": [-0.08, -0.01, nan, 0.3, -3.0, -0.008, nan],
        "high": [-0.02, 0.05, nan, 0.9, -1.0, 0.001, nan],
        "null_low": [nan, nan, nan, 0, nan, -0.01, 0],
        "null_high": [0, 0, 0, 1, 0, 0.01, nan],
        "p": [0.01, 0.3, nan, 0.03, 0.02, 0.02, nan],
    }
    verdicts = [
        "supported",
        "undecided",
        "contradicted (one run)",
        "supported",
        "supported",
        "supported",
        "not measured",
    ]
    rows = {"model": name, **facts, **numbers, "left_out": [0, 1, 0, 0, 0, 0, 0], "verdict": verdicts, "p_holm": 0.06}
    facts = {"instrument": "claims", "settings": {"level": 0.95}, "model": {"name": name}}
    return Measurement(instrument="claims", tables={"table": pd.DataFrame(rows)}, provenances=(facts,))


def comparison(name: str) -> Measurement:
    """A row of every sort: clear and not, with and without an interval, on each axis, and one that is undefined."""
    nan = np.nan
    rows = [
        (
            "calibration",
            "accuracy",
            "Accuracy",
            0.6,
            0.7,
            0.1,
            0.04,
            0.16,
            "points",
            "–",
            "5 seeds, paired",
            0.004,
            "B",
        ),
        (
            "calibration",
            "ece",
            "Expected calibration error",
            0.1,
            0.08,
            -0.02,
            nan,
            nan,
            "points",
            "–",
            "one run",
            nan,
            "–",
        ),
        ("landscape", "rise_nll", "Rise of the NLL at r = 1", 3.0, 2.5, -0.5, -1.2, 0.2, "plain", "nat", "x", 0.2, "–"),
        ("hessian", "ape", "Average positive eigenvalue", 500.0, 50.0, 0.1, 0.05, 0.2, "ratio", "–", "x", 1e-5, "B"),
        ("fourier", "attention_high_step", "A mean step $x$", nan, -0.1, nan, nan, nan, "plain", "–", "–", nan, "–"),
        ("similarity", "block_structure", "CKA " * 12, 0.2, 0.1, -0.1, -0.12, -0.08, "plain", "–", "x", 1e-3, "–"),
    ]
    columns = ["instrument", "quantity", "what", "value_a", "value_b", "effect", "low", "high", "scale"]
    table = pd.DataFrame(rows, columns=[*columns, "measured_in", "unit", "p", "better"])
    table = table.assign(model=name, a="A", b="B", left_out=0, p_holm=3 * table["p"], remark="–")
    facts = {"instrument": "comparison", "settings": {"level": 0.95}, "model": {"name": name}}
    return Measurement(instrument="comparison", tables={"table": table}, provenances=(facts,))


MAKERS: dict[str, Callable[[str], Measurement]] = {
    "fourier": fourier,
    "variance": variance,
    "similarity": similarity,
    "lesion": lesion,
    "calibration": calibration,
    "corruption": corruption,
    "hessian": hessian,
    "frequency_noise": frequency_noise,
    "fourier_heatmap": fourier_heatmap,
    "shape_bias": shape_bias,
    "spectral_density": spectral_density,
    "landscape": landscape,
    "interpolation": interpolation,
    "trajectory": trajectory,
    "training": training,
    "epochs": epochs,
    "buildup": buildup,
    "claims": claims,
    "comparison": comparison,
}


def several(instrument: str, *published: str) -> Measurement:
    return Measurement.concat(MAKERS[instrument](name) for name in published)
