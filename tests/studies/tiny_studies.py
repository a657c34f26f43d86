"""Studies that are trained in seconds."""

from alternet.instruments.calibration import Calibration
from alternet.instruments.variance import Variance
from alternet.studies import Arm, Measuring, Reading, Show, Study, Training

SHORT = {"epochs": 2, "warmup_epochs": 1, "subset": "1/8", "batch_size": 32}
VIT = Training(network="test_vit", options=SHORT, data="digits")
HONESTY = Reading(of=Measuring(instrument=Calibration(), limit=64))

HONEST = Study(
    figure="honest",
    title="Is a tiny ViT honest?",
    arms=(Arm("ViT", VIT),),
    readings=(Reading(), HONESTY),
    shows=(Show("test_error", over="nll_train"), Show("confidence", along="confidence")),
    exhibits=("calibration",),
)
VARIED = Study(
    figure="varied",
    title="How do maps vary?",
    arms=(
        Arm("the same ViT", VIT),
        Arm("a shorter one", Training(network="test_vit", options=SHORT | {"epochs": 1}, data="digits")),
    ),
    readings=(HONESTY, Reading(of=Measuring(instrument=Variance(), limit=64))),
    shows=(Show("variance", along="depth"),),
)
