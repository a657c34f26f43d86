"""Trajectory: how weights travelled from initialisation to the end of training, as radius, angle and PCA."""

from typing import TYPE_CHECKING, ClassVar

from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, integer, number
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.trajectory.measure import TrajectoryWork
    from alternet.subject.subject import Subject


@settings
class Trajectory(Instrument):
    """The path of a training run through the space of its trainable weights, a row a snapshot; the last is the end.

    It needs a model that comes from a run (`run:DIR`) and looks at no image. Angles are in degrees; pc1 and pc2 are
    coordinates along the first principal components in units of ‖w_init − w_final‖, with the final weights at the
    origin. Parameters count, buffers such as the statistics of BatchNorm do not.

    Examples:
        >>> Trajectory().settings
        {}
    """

    spec: ClassVar = Spec(
        name="trajectory",
        order=140,
        title="Weight trajectory",
        question="Which way did the weights take through training?",
        caution=(
            "The authors of the paper withdrew this experiment (their Fig. 1b) as misleading and not reproducible, so"
            " it is a diagnostic of one run and says nothing about an architecture. Another seed, learning rate or "
            "number of snapshots gives another path. A random walk in many dimensions, too, looks smooth and flat in "
            "its first components; and each model has components of its own, so paths share the axes but not the "
            "plane."
        ),
        paper="Fig. 1b, withdrawn by its authors",
        cost="reads the run's snapshots once",
        example="alternet measure trajectory -m run:runs/mine --data cifar100 --out out",
        tables={
            "table": {
                "step": integer("optimisation steps done"),
                "radius": number("‖w − w_final‖ in units of ‖w_init − w_final‖"),
                "angle": number("between w − w_final and w_init − w_final, in degrees", missing=True),
                "pc1": number("place along the first principal component, in units of ‖w_init − w_final‖"),
                "pc2": number("place along the second"),
            },
            "explained": {
                "component": integer("number of the principal component, from 1"),
                "share": number("part of the path's variance along it"),
                "cumulative": number("part along it and those before"),
            },
        },
        needs=frozenset({"run"}),
        exact=True,
    )

    def open(self, subject: "Subject", batches: "Batches") -> "TrajectoryWork":
        from alternet.instruments.trajectory.measure import TrajectoryWork

        return TrajectoryWork(self, subject, batches)
