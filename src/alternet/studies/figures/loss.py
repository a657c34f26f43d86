"""Figures of the loss: landscapes, extreme eigenvalues of the Hessian, and the trajectory of training."""

from collections.abc import Iterable
from itertools import chain
from math import nan

from alternet.instruments.calibration import Calibration
from alternet.instruments.hessian import Hessian
from alternet.instruments.landscape import Landscape
from alternet.instruments.trajectory import Trajectory
from alternet.studies.declaration import Arm, Measuring, Reading, Show, Study, Training
from alternet.studies.figures.accuracy import BASE, LOG, of_network, robustness, trained
from alternet.studies.figures.titles import figure
from alternet.studies.networks import SERIES, patches
from alternet.studies.scale import Scale

SHARPNESS = (Show("nep"), Show("ape"))
RISES = tuple(Show(rise, along="radius") for rise in ("rise_nll", "rise_l2", "rise_loss"))


def spectrum(scale: Scale, snapshot: str = "warmup", x: float = nan) -> Reading:
    """The largest eigenvalues, by default early in training as in most of the paper's figures."""
    return Reading(of=Measuring(instrument=Hessian(), snapshot=snapshot, limit=scale.hessian), x=x)


def surface(scale: Scale) -> Reading:
    return Reading(of=Measuring(instrument=Landscape(points=scale.points), limit=scale.landscape))


def along(quantities: Iterable[str], what: str) -> tuple[Show, ...]:
    return tuple(Show(quantity, along=what) for quantity in quantities)


def fig_1a(scale: Scale) -> Study:
    return figure(
        "1a",
        arms=trained("ResNet", "ViT"),
        readings=(surface(scale),),
        shows=RISES,
        exhibits=("landscape",),
        note="In the paper most of the height is the L2 part, which the norm of the weights decides; look at the NLL.",
    )


def fig_1b(scale: Scale) -> Study:
    return figure(
        "1b",
        arms=trained("ResNet", "ViT"),
        readings=(Reading(of=Measuring(instrument=Trajectory())),),
        shows=along(("trajectory_r", "trajectory_angle"), "epochs"),
        exhibits=("trajectory",),
        note="The authors ask readers to ignore this experiment: it misleads, and they could not reproduce it.",
    )


def fig_1c(scale: Scale) -> Study:
    return figure(
        "1c",
        arms=trained("ResNet", "ViT"),
        readings=tuple(spectrum(scale, snapshot, epoch) for snapshot, epoch in scale.moments.items()),
        shows=along(("nep", "ape"), "epochs since the warm-up"),
        exhibits=("hessian",),
    )


def fig_4(scale: Scale) -> Study:
    few = Training(network="ViT", options={"subset": "1/16"})
    return figure(
        "4",
        arms=(*trained("ResNet", "ViT"), Arm("ViT (6 %)", few)),
        readings=(spectrum(scale),),
        shows=SHARPNESS,
        exhibits=("hessian",),
    )


def fig_6(scale: Scale) -> Study:
    return figure(
        "6",
        arms=trained("ViT", "ViT (GAP)"),
        readings=(LOG, spectrum(scale)),
        shows=(Show("accuracy"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_7(scale: Scale) -> Study:
    return figure(
        "7",
        arms=trained(*(f"Conv ViT {side} × {side}" for side in (3, 5, 8))),
        readings=(LOG, robustness(scale), spectrum(scale)),
        shows=(Show("test_error"), Show("nll_train"), Show("corruption_accuracy"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_12c(scale: Scale) -> Study:
    return figure(
        "12c",
        arms=(Arm("ResNet", Training(network=BASE)), *trained("AlterNet")),
        readings=(spectrum(scale),),
        shows=SHARPNESS,
        exhibits=("hessian",),
    )


def series(name: str, scale: Scale) -> tuple[Arm, ...]:
    """One arm whose networks stand at their x."""
    given = scale.pick(smoke=SERIES[name]["smoke"], cifar=SERIES[name]["cifar"])
    if scale.name == "imagenet":  # the same with the patches that images of that side take
        coarse = {x: of._replace(settings={**of.settings, "patch_size": 16}) for x, of in given.items()}
        given = patches(8, 16, 32) if name == "C.3" else coarse
    return tuple(Arm("ViT", of_network(network), x) for x, network in given.items())


def fig_c3(scale: Scale) -> Study:
    return figure(
        "C.3",
        arms=series("C.3", scale),
        readings=(LOG, spectrum(scale)),
        shows=along(("test_error", "nll_train", "nep", "ape"), "side of a patch"),
        exhibits=("hessian",),
    )


def fig_c4(scale: Scale) -> Study:
    first, last = next(iter(scale.moments)), "last"
    return figure(
        "C.4",
        arms=trained("ResNet", "ViT", "PiT", "Swin"),
        readings=(surface(scale), *(spectrum(scale, at, scale.moments[at]) for at in (first, last))),
        shows=(*RISES, *along(("nep", "ape"), "epochs since the warm-up")),
        exhibits=("landscape", "hessian"),
    )


def fig_c5(scale: Scale) -> Study:
    return figure(
        "C.5",
        arms=series("C.5", scale),
        readings=(spectrum(scale),),
        shows=along(("nep", "ape"), "heads"),
        note="The width of a head is fixed, so that the network grows with their number; the paper does not say so.",
    )


def fig_c6(scale: Scale) -> Study:
    return figure(
        "C.6",
        arms=series("C.6", scale),
        readings=(spectrum(scale),),
        shows=along(("nep", "ape"), "width of a head"),
    )


def fig_c7(scale: Scale) -> Study:
    first, last = next(iter(scale.moments)), "last"
    return figure(
        "C.7",
        arms=trained("ResNet", "ResNet-101", "ViT", "ViT-S"),
        readings=(surface(scale), *(spectrum(scale, at, scale.moments[at]) for at in (first, last))),
        shows=(*RISES, *along(("nep", "ape"), "epochs since the warm-up")),
        exhibits=("landscape",),
    )


def fig_f1(scale: Scale) -> Study:
    weak = {"ResNet": "weak-cnn" if "weak-cnn" in scale.recipes else "weak", "ViT": "weak"}
    pairs = ([(f"{name} (weak)", name, weak[name]), (name, name, "strong")] for name in ("ResNet", "ViT"))
    return figure(
        "F.1",
        arms=tuple(Arm(name, Training(network=of, recipe=recipe)) for name, of, recipe in chain(*pairs)),
        readings=(Reading(of=Measuring(instrument=Calibration())), spectrum(scale)),
        shows=(Show("confidence", along="confidence"), Show("overconfidence"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_sam(scale: Scale) -> Study:
    return figure(
        "SAM",
        arms=(*trained("ViT"), Arm("ViT (SAM)", Training(network="ViT", options={"sam": "sam"}))),
        readings=(LOG, spectrum(scale)),
        shows=(Show("accuracy"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_smoothing(scale: Scale) -> Study:
    return figure(
        "smoothing",
        arms=trained("ResNet-18", "ResNet-18 (smoothing)"),
        readings=(LOG, spectrum(scale)),
        shows=(Show("accuracy"), *SHARPNESS),
        exhibits=("hessian",),
    )


FIGURES = {
    **{"1a": fig_1a, "1b": fig_1b, "1c": fig_1c, "4": fig_4, "6": fig_6, "7": fig_7, "12c": fig_12c},
    **{
        "C.3": fig_c3,
        "C.4": fig_c4,
        "C.5": fig_c5,
        "C.6": fig_c6,
        "C.7": fig_c7,
        "F.1": fig_f1,
        "SAM": fig_sam,
        "smoothing": fig_smoothing,
    },
}
