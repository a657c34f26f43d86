"""Figures of features: frequencies, variance, similarity and lesions of units, and what the networks are made of."""

from alternet.instruments.fourier import Fourier
from alternet.instruments.lesion import Lesion
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.studies.declaration import Measuring, Reading, Show, Study
from alternet.studies.figures.accuracy import trained
from alternet.studies.figures.titles import figure
from alternet.studies.scale import Scale

FOUR = ("ResNet", "ViT", "PiT", "Swin")
FREQUENCIES = Reading(of=Measuring(instrument=Fourier()))
VARIANCES = Reading(of=Measuring(instrument=Variance()))
ALIKE = Reading(of=Measuring(instrument=Similarity()))
LESIONS = Reading(of=Measuring(instrument=Lesion(unit="paper")))
DEPTH = "normalised depth"


def _steps(what: str) -> tuple[Show, ...]:
    return tuple(Show(f"{kind}_{what}_step") for kind in ("attention", "mlp", "conv"))


def fig_2a(scale: Scale) -> Study:
    return figure(
        "2a",
        arms=trained("ResNet", "ViT"),
        readings=(FREQUENCIES,),
        shows=(Show("high_frequency", along=DEPTH),),
        exhibits=("fourier",),
        published="8",
        note="Only the trend over the units of one network means something, not the height of one against another.",
    )


def fig_8(scale: Scale) -> Study:
    return figure(
        "8",
        arms=trained(*FOUR),
        readings=(FREQUENCIES,),
        shows=(Show("high_frequency", along=DEPTH), *_steps("high")),
    )


def fig_9(scale: Scale) -> Study:
    return figure(
        "9",
        arms=trained(*FOUR),
        readings=(VARIANCES,),
        shows=(Show("variance", along=DEPTH), *_steps("variance")),
    )


def fig_10a(scale: Scale) -> Study:
    return figure(
        "10a",
        arms=trained(*FOUR),
        readings=(ALIKE,),
        shows=(Show("block_structure"), Show("cka_first_last")),
        exhibits=("similarity",),
    )


def fig_10b(scale: Scale) -> Study:
    return figure(
        "10b",
        arms=trained(*FOUR),
        readings=(LESIONS,),
        shows=(Show("lesion", along=DEPTH),),
        exhibits=("lesion",),
    )


def fig_d1(scale: Scale) -> Study:
    return figure(
        "D.1",
        published="9",
        arms=trained("PiT", "Swin"),
        readings=(VARIANCES,),
        shows=(Show("variance", along=DEPTH), *_steps("variance")),
    )


def fig_d2(scale: Scale) -> Study:
    return figure(
        "D.2",
        published="8",
        arms=trained("PiT", "Swin"),
        readings=(FREQUENCIES,),
        shows=(Show("high_frequency", along=DEPTH), *_steps("high")),
        exhibits=("fourier",),
    )


def fig_d3(scale: Scale) -> Study:
    return figure(
        "D.3",
        published="10a",
        arms=trained(*FOUR),
        readings=(ALIKE,),
        shows=(Show("block_structure"), Show("cka_first_last")),
        exhibits=("similarity",),
    )


def fig_d4(scale: Scale) -> Study:
    ends = [f"lesion_{kind}_{where}" for kind in ("attention", "conv") for where in ("end", "start")]
    return figure(
        "D.4",
        published="10b",
        arms=trained(*FOUR),
        readings=(LESIONS,),
        shows=(Show("lesion", along=DEPTH), *map(Show, ends)),
        exhibits=("lesion",),
        note="That attention matters most at the ends of stages is said of networks of several stages, not of a ViT.",
    )


def fig_3(scale: Scale) -> Study:
    return figure(
        "3",
        arms=trained("ResNet", "ViT", "AlterNet"),
        units=True,
    )


def fig_11(scale: Scale) -> Study:
    return figure("11", arms=trained("AlterNet"), units=True)


def fig_d5(scale: Scale) -> Study:
    return figure(
        "D.5",
        arms=trained("ResNet", "ViT", "PiT", "Swin", "AlterNet"),
        units=True,
    )


FIGURES = {
    **{"2a": fig_2a, "3": fig_3, "8": fig_8, "9": fig_9, "10a": fig_10a, "10b": fig_10b, "11": fig_11},
    **{"D.1": fig_d1, "D.2": fig_d2, "D.3": fig_d3, "D.4": fig_d4, "D.5": fig_d5},
}
