"""Figures of accuracy: overfitting, small data, longer training, robustness, and the build-up of AlterNet."""

from fractions import Fraction
from typing import Any

from alternet.instruments.corruption import Corruption
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.instruments.shape_bias import ShapeBias
from alternet.studies.declaration import Arm, Measuring, Reading, Show, Study, Training
from alternet.studies.figures.titles import figure
from alternet.studies.networks import BUILDUP, Network
from alternet.studies.scale import Scale

SEVEN = ("ResNeXt", "ResNet", "Twins", "Swin", "PiT", "ViT", "Mixer")
LEARNED = Show("test_error", over="nll_train")
LOG = Reading()
BASE = "ResNet (pre-activation)"
"""What the figures of AlterNet call ResNet, since it is what AlterNet was made of."""


def trained(*names: str, **how: Any) -> tuple[Arm, ...]:
    """Arms that are networks of the paper, trained as usual."""
    return tuple(Arm(name, Training(network=name, **how)) for name in names)


def robustness(scale: Scale) -> Reading:
    """Accuracy on corrupted images, on as many as the scale allows."""
    return Reading(of=Measuring(instrument=Corruption(only=scale.corruptions), limit=scale.noise))


def fig_2b(scale: Scale) -> Study:
    noise = Measuring(instrument=FrequencyNoise(), limit=scale.noise)
    return figure(
        "2b",
        arms=trained("ResNet", "ViT"),
        readings=(Reading(of=noise),),
        shows=(Show("noise_drop", along="frequency of the noise (π)"),),
    )


def fig_5a(scale: Scale) -> Study:
    return figure(
        "5a",
        arms=trained(*SEVEN),
        readings=(LOG,),
        shows=(LEARNED,),
    )


def fig_5b(scale: Scale) -> Study:
    shares = scale.pick(smoke=("1/32", "1/8", "1/2", "1"), cifar=("1/64", "1/32", "1/16", "1/8", "1/4", "1/2", "1"))
    return figure(
        "5b",
        arms=tuple(
            Arm(
                "ViT",
                Training(network="ViT", options={} if share == "1" else {"subset": share}),
                float(Fraction(share)),
            )
            for share in shares
        ),
        readings=(LOG,),
        shows=tuple(
            Show(quantity, along="share of the training images", log=True) for quantity in ("test_error", "nll_train")
        ),
    )


def of_network(network: Network, **more: Any) -> Training:
    """The usual training of a network that has no name of its own."""
    return Training(network=network.model, model_args=network.settings, **more)


def fig_12a(scale: Scale) -> Study:
    stem = {"stem": "imagenet"} if scale.name == "imagenet" else {}
    steps = scale.pick(smoke=BUILDUP["smoke"], cifar=BUILDUP["cifar"])
    return figure(
        "12a",
        arms=(
            Arm("ResNet", Training(network=BASE)),
            *(Arm(name, Training(network=of.model, model_args={**of.settings, **stem})) for name, of in steps.items()),
            Arm("AlterNet", Training(network="AlterNet")),
        ),
        readings=(LOG,),
        shows=(Show("accuracy"),),
        note="The placements are those that the paper found; `alternet buildup` searches them, on validation images.",
    )


def fig_12b(scale: Scale) -> Study:
    return figure(
        "12b",
        arms=(
            *trained("ViT", "PiT", "Swin", "Twins", "Mixer", "ResNeXt"),
            Arm("ResNet", Training(network=BASE)),
            *trained("AlterNet"),
        ),
        readings=(LOG, robustness(scale)),
        shows=(Show("corruption_accuracy", over="accuracy"),),
    )


def fig_c1a(scale: Scale) -> Study:
    return figure("C.1a", arms=trained(*SEVEN, data=scale.second), readings=(LOG,), shows=(LEARNED,))


def fig_c1b(scale: Scale) -> Study:
    return figure(
        "C.1b",
        arms=trained("ResNet", "Twins", "Swin", "PiT", "ViT"),
        readings=(LOG,),
        shows=(LEARNED,),
        note="Of ImageNet only with --scale imagenet; at another scale these are the networks of 5a again.",
    )


def fig_c2(scale: Scale) -> Study:
    usual, lengths = scale.pick(smoke=(4, (2, 4, 8)), cifar=(300, (75, 150, 300, 600, 1200)))
    return figure(
        "C.2",
        arms=tuple(
            Arm(name, Training(network=name, options={} if epochs == usual else {"epochs": epochs}), epochs)
            for name in ("ViT", "ResNet")
            for epochs in lengths
        ),
        readings=(LOG,),
        shows=tuple(Show(quantity, along="epochs", log=True) for quantity in ("test_error", "nll_train")),
    )


def fig_e1(scale: Scale) -> Study:
    names = ("ViT", "PiT", "ConViT", "LeViT", "ResNet", "ResNeXt", "AlterNet", "Swin", "Twins")
    return figure(
        "E.1",
        arms=trained(*names),
        readings=(LOG, robustness(scale)),
        shows=(Show("corruption_accuracy", over="accuracy"),),
    )


def fig_shape(scale: Scale) -> Study:
    cues = Reading(of=Measuring(instrument=ShapeBias(), data="cue-conflict"))
    return figure(
        "shape",
        arms=trained("ResNet", "ViT", "AlterNet"),
        readings=(LOG,) if scale.name == "cifar" else (LOG, cues),
        shows=(Show("shape_bias"), Show("accuracy")),
        note="CIFAR has no images of conflicting cues; for ImageNet say where they lie: --data cue-conflict:PATH.",
    )


def fig_static(scale: Scale) -> Study:
    return figure(
        "static",
        arms=trained(BASE, "ResNet + MSA", "ResNet + static MSA"),
        readings=(LOG,),
        shows=(Show("accuracy"), Show("nll_test")),
    )


FIGURES = {
    **{"2b": fig_2b, "5a": fig_5a, "5b": fig_5b, "12a": fig_12a, "12b": fig_12b},
    **{"C.1a": fig_c1a, "C.1b": fig_c1b, "C.2": fig_c2, "E.1": fig_e1, "shape": fig_shape, "static": fig_static},
}
