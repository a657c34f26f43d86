"""Figures of the loss: landscapes, extreme eigenvalues of the Hessian, and the trajectory of training."""

from collections.abc import Iterable
from itertools import chain
from math import nan

from alternet.instruments.calibration import Calibration
from alternet.instruments.hessian import Hessian
from alternet.instruments.landscape import Landscape
from alternet.instruments.trajectory import Trajectory
from alternet.studies.declaration import Arm, Measuring, Reading, Show, Study, Training
from alternet.studies.figures.accuracy import LOG, trained
from alternet.studies.scale import Scale

SHARPNESS = (Show("nep"), Show("ape"))
RISES = tuple(Show(rise, along="radius") for rise in ("rise_nll", "rise_l2", "rise_loss"))


def spectrum(scale: Scale, snapshot: str = "warmup", x: float = nan) -> Reading:
    """The largest eigenvalues, by default early in training as in most of the paper's figures."""
    return Reading(of=Measuring(instrument=Hessian(), snapshot=snapshot, limit=scale.hessian), x=x)


def surface(scale: Scale) -> Reading:
    return Reading(of=Measuring(instrument=Landscape(points=scale.points), limit=scale.landscape))


def along(quantities: Iterable[str], what: str, *, log: bool = False) -> tuple[Show, ...]:
    return tuple(Show(quantity, along=what, log=log) for quantity in quantities)


def fig_1a(scale: Scale) -> Study:
    return Study(
        figure="1a",
        title="The loss around a ViT is flatter than around a ResNet",
        arms=trained("ResNet", "ViT"),
        readings=(surface(scale),),
        shows=RISES,
        exhibits=("landscape",),
        note="Most of the height is the L2 part, which the norm of the weights decides; look at the NLL.",
    )


def fig_1b(scale: Scale) -> Study:
    return Study(
        figure="1b",
        title="The way of the weights through training (withdrawn by the authors; a diagnostic of single runs)",
        arms=trained("ResNet", "ViT"),
        readings=(Reading(of=Measuring(instrument=Trajectory())),),
        shows=along(("trajectory_r", "trajectory_angle"), "epochs"),
        exhibits=("trajectory",),
        note="The authors ask readers to ignore this experiment: it misleads, and they could not reproduce it.",
    )


def fig_1c(scale: Scale) -> Study:
    return Study(
        figure="1c",
        title="Eigenvalues of the Hessian in the course of training: a ViT has small and negative ones",
        arms=trained("ResNet", "ViT"),
        readings=tuple(spectrum(scale, snapshot, epoch) for snapshot, epoch in scale.moments.items()),
        shows=along(("nep", "ape"), "epochs since the warm-up"),
        exhibits=("hessian",),
    )


def fig_4(scale: Scale) -> Study:
    few = Training(network="ViT", options={"subset": "1/16"})
    return Study(
        figure="4",
        title="Less data: a ViT has more negative eigenvalues early in training",
        arms=(*trained("ResNet", "ViT"), Arm("ViT (6 %)", few)),
        readings=(spectrum(scale),),
        shows=SHARPNESS,
        exhibits=("hessian",),
    )


def fig_6(scale: Scale) -> Study:
    averaged = Training(network="ViT", model_args={"global_pool": "avg", "class_token": False})
    return Study(
        figure="6",
        title="Averaging all tokens in place of a class token: fewer negative eigenvalues, more accuracy",
        arms=(*trained("ViT"), Arm("ViT (GAP)", averaged)),
        readings=(LOG, spectrum(scale)),
        shows=(Show("accuracy"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_7(scale: Scale) -> Study:
    kernels = {kernel: f"Conv ViT {kernel} × {kernel}" for kernel in (3, 5, 8)}
    return Study(
        figure="7",
        title="Locality: attention to a neighbourhood of 3 × 3, 5 × 5, or to all tokens",
        arms=tuple(
            Arm(name, Training(network="Conv ViT", model_args={"kernel_size": kernel}))
            for kernel, name in kernels.items()
        ),
        readings=(LOG, spectrum(scale)),
        shows=(Show("test_error"), Show("nll_train"), *SHARPNESS),
        exhibits=("hessian",),
    )


def fig_12c(scale: Scale) -> Study:
    return Study(
        figure="12c",
        title="Attention in a ResNet makes the eigenvalues smaller early in training",
        arms=trained("ResNet", "AlterNet"),
        readings=(spectrum(scale),),
        shows=SHARPNESS,
        exhibits=("hessian",),
    )


def fig_c3(scale: Scale) -> Study:
    usual = scale.pick(smoke=4, cifar=2)
    return Study(
        figure="C.3",
        title="The size of a ViT's patches",
        arms=tuple(
            Arm("ViT", Training(network="ViT", model_args={} if patch == usual else {"patch_size": patch}), patch)
            for patch in scale.pick(smoke=(4, 8), cifar=(2, 4, 8))
        ),
        readings=(LOG, spectrum(scale)),
        shows=along(("test_error", "nll_train", "nep", "ape"), "side of a patch"),
        exhibits=("hessian",),
    )


def fig_c4(scale: Scale) -> Study:
    first, last = next(iter(scale.moments)), "last"
    return Study(
        figure="C.4",
        title="Landscapes and eigenvalues of multi-stage ViTs",
        arms=trained("ResNet", "ViT", "PiT", "Swin"),
        readings=(surface(scale), *(spectrum(scale, at, scale.moments[at]) for at in (first, last))),
        shows=(*RISES, *along(("nep", "ape"), "epochs since the warm-up")),
        exhibits=("landscape", "hessian"),
    )


def fig_c5(scale: Scale) -> Study:
    wide = scale.pick(smoke=16, cifar=64)
    return Study(
        figure="C.5",
        title="More heads make the loss of a ViT more convex and flatter",
        arms=tuple(
            Arm(
                "ViT",
                Training(network="ViT", model_args={"depth": 6, "num_heads": heads, "embed_dim": wide * heads}),
                heads,
            )
            for heads in scale.pick(smoke=(1, 3, 6), cifar=tuple(range(1, 10)))
        ),
        readings=(spectrum(scale),),
        shows=along(("nep", "ape"), "heads"),
        note="The width of a head is fixed, so that the network grows with their number; the paper does not say so.",
    )


def fig_c6(scale: Scale) -> Study:
    heads = 3
    return Study(
        figure="C.6",
        title="Wider heads make the loss of a ViT more convex and flatter",
        arms=tuple(
            Arm(
                "ViT",
                Training(network="ViT", model_args={"depth": 6, "num_heads": heads, "embed_dim": width * heads}),
                width,
            )
            for width in scale.pick(smoke=(8, 16, 32), cifar=tuple(range(22, 199, 22)))
        ),
        readings=(spectrum(scale),),
        shows=along(("nep", "ape"), "width of a head"),
    )


def fig_c7(scale: Scale) -> Study:
    first, last = next(iter(scale.moments)), "last"
    return Study(
        figure="C.7",
        title="Larger networks: landscapes and eigenvalues",
        arms=trained("ResNet", "ResNet-101", "ViT", "ViT-S"),
        readings=(surface(scale), *(spectrum(scale, at, scale.moments[at]) for at in (first, last))),
        shows=(*RISES, *along(("nep", "ape"), "epochs since the warm-up")),
        exhibits=("landscape",),
    )


def fig_f1(scale: Scale) -> Study:
    weak = {"ResNet": "weak-cnn" if "weak-cnn" in scale.recipes else "weak", "ViT": "weak"}
    pairs = ([(f"{name} (weak)", name, weak[name]), (name, name, "strong")] for name in ("ResNet", "ViT"))
    return Study(
        figure="F.1",
        title="Strong augmentation makes networks under-confident, and the loss flatter",
        arms=tuple(Arm(name, Training(network=of, recipe=recipe)) for name, of, recipe in chain(*pairs)),
        readings=(Reading(of=Measuring(instrument=Calibration())), spectrum(scale)),
        shows=(Show("confidence", along="confidence"), Show("overconfidence"), *SHARPNESS),
        exhibits=("hessian",),
    )


FIGURES = {
    **{"1a": fig_1a, "1b": fig_1b, "1c": fig_1c, "4": fig_4, "6": fig_6, "7": fig_7, "12c": fig_12c},
    **{"C.3": fig_c3, "C.4": fig_c4, "C.5": fig_c5, "C.6": fig_c6, "C.7": fig_c7, "F.1": fig_f1},
}
