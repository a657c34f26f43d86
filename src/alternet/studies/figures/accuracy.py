"""Figures of accuracy: overfitting, small data, longer training, robustness, and the build-up of AlterNet."""

from fractions import Fraction

from alternet.instruments.corruption import Corruption
from alternet.instruments.frequency_noise import FrequencyNoise
from alternet.studies.declaration import Arm, Measuring, Reading, Show, Study, Training
from alternet.studies.scale import Scale

SEVEN = ("ResNeXt", "ResNet", "Twins", "Swin", "PiT", "ViT", "Mixer")
LEARNED = Show("test_error", over="nll_train")
LOG = Reading()


def trained(*names: str, **how: str) -> tuple[Arm, ...]:
    """Arms that are networks of the paper, trained as usual."""
    return tuple(Arm(name, Training(network=name, **how)) for name in names)


def robustness(scale: Scale) -> Reading:
    """Accuracy on corrupted images, on as many as the scale allows."""
    return Reading(of=Measuring(instrument=Corruption(only=scale.corruptions), limit=scale.noise))


def fig_2b(scale: Scale) -> Study:
    noise = Measuring(instrument=FrequencyNoise(), limit=scale.noise)
    return Study(
        figure="2b",
        title="ViTs are fragile to low-frequency noise, CNNs to high-frequency noise",
        arms=trained("ResNet", "ViT"),
        readings=(Reading(of=noise),),
        shows=(Show("noise_drop", along="frequency of the noise (π)"),),
    )


def fig_5a(scale: Scale) -> Study:
    return Study(
        figure="5a",
        title="A ViT does not overfit: where the test error is larger, so is the NLL on augmented training data",
        arms=trained(*SEVEN),
        readings=(LOG,),
        shows=(LEARNED,),
    )


def fig_5b(scale: Scale) -> Study:
    shares = scale.pick(smoke=("1/32", "1/8", "1/2", "1"), cifar=("1/64", "1/32", "1/16", "1/8", "1/4", "1/2", "1"))
    return Study(
        figure="5b",
        title="With less data a ViT's training NLL and test error rise together",
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


def fig_12a(scale: Scale) -> Study:
    steps = scale.pick(
        smoke=("3.1", "2.1 3.1", "1.1 2.1 3.1"),
        cifar=(
            *("3.3", "3.1 3.3", "2.5 3.1 3.3", "2.3 2.5 3.1 3.3", "2.1 2.3 2.5 3.1 3.3"),
            *("1.3 2.5 3.1 3.3", "1.1 1.3 2.5 3.1 3.3", "0.2 1.3 2.5 3.1 3.3"),
        ),
    )
    first = Arm("ResNet", Training(network="AlterNet", model_args={"msa": []}))
    attending = (
        Arm(f"AlterNet ({', '.join(units.split())})", Training(network="AlterNet", model_args={"msa": units.split()}))
        for units in steps
    )
    return Study(
        figure="12a",
        title="Building up AlterNet: accuracy as units attend, from the end of the network on",
        arms=(first, *attending),
        readings=(LOG,),
        shows=(Show("accuracy"),),
        note="The placements are those that the paper found; `alternet buildup` searches them, on validation images.",
    )


def fig_12b(scale: Scale) -> Study:
    return Study(
        figure="12b",
        title="AlterNet is more accurate and more robust than the network that it was made of",
        arms=trained("ViT", "PiT", "Swin", "Twins", "Mixer", "ResNeXt", "ResNet", "AlterNet"),
        readings=(LOG, robustness(scale)),
        shows=(Show("corruption_accuracy", over="accuracy"),),
    )


def fig_c1(scale: Scale) -> Study:
    return Study(
        figure="C.1",
        published="C.1a",
        title="Overfitting on another data set: test error against the NLL on augmented training data",
        arms=trained(*SEVEN, data=scale.second),
        readings=(LOG,),
        shows=(LEARNED,),
    )


def fig_c2(scale: Scale) -> Study:
    usual, lengths = scale.pick(smoke=(4, (2, 4, 8)), cifar=(300, (75, 150, 300, 600, 1200)))
    return Study(
        figure="C.2",
        title="Longer training lowers the NLL on training data and the test error",
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
    return Study(
        figure="E.1",
        title="Accuracy and robustness of AlterNet among ViTs and CNNs, in the paper on ImageNet",
        arms=trained(*names),
        readings=(LOG, robustness(scale)),
        shows=(Show("corruption_accuracy", over="accuracy"),),
    )


FIGURES = {
    **{"2b": fig_2b, "5a": fig_5a, "5b": fig_5b, "12a": fig_12a, "12b": fig_12b},
    **{"C.1": fig_c1, "C.2": fig_c2, "E.1": fig_e1},
}
