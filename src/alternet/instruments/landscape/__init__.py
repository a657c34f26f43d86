"""Landscape: NLL + L2 on a plane through the weights, and how far it rises along random directions."""

from typing import TYPE_CHECKING, ClassVar, Literal

from alternet.instruments.loss_instrument import LossInstrument, OfParameters
from alternet.instruments.spec import Spec, integer, number
from alternet.settings import Count, Positive, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.landscape.measure import LandscapeWork
    from alternet.subject.subject import Subject


@settings
class Landscape(OfParameters):
    """NLL + L2 on a grid around the weights, an item a grid point, then along random directions for its flatness.

    Where the loss is not finite, nll, loss and accuracy are undefined. Running statistics of BatchNorm and all other
    buffers stay as they are at every point.
    """

    points: int = 21
    """Grid points a side; odd, so that the model itself is in the centre."""

    radius: Positive = 1.0
    """The grid reaches from −radius to radius."""

    directions: Literal["random", "trajectory", "eigenvectors"] = "random"
    """Axes of the plane. `random`: two independent Gaussian directions, which in so many dimensions are all but
    orthogonal and are not made so. `trajectory`: the first two principal components of the run's snapshots, in units of
    ‖w_init − w_final‖, as `Trajectory` gives them. `eigenvectors`: the two of the Hessian of all this data with the
    largest eigenvalues λ, of length 1. Where the loss is smooth (tanh, GELU) it rises by λr²/2 near the centre; a
    network of ReLUs has kinks, which no Hessian sees. Both need normalisation="none" and are those of the parameters
    that are not ignored."""

    normalisation: Literal["filter", "layer", "none", "paper"] = "filter"
    """`filter` (Li et al. 2018), `layer`, `none`, or `paper`, over the first axis as released; see
    `alternet.loss.directions.normalised`."""

    ignore: Literal["norm-bias-position", "nothing"] = "norm-bias-position"
    """Parameters that stay where they are: those of norms, biases and positions, or none."""

    draws: int = 10
    """Random directions that `flatness` is averaged over; the first two are the axes. With other `directions` it looks
    along the two axes instead. Three or more give standard errors."""

    redraw: Literal["frozen", "paper"] = "frozen"
    """`frozen`: one draw of the augmentation for all points. `paper`: a new one at each point, as released."""

    batch_size: Count = 64
    """Images in a batch. Larger than for the Hessian, since nothing here is measured batch by batch; the mixing of
    images depends on it."""

    as_paper: ClassVar = {**LossInstrument.as_paper, "normalisation": "paper", "redraw": "paper"}
    spec: ClassVar = Spec(
        name="landscape",
        order=120,
        title="Loss landscape",
        question="How flat is the loss around the weights, and how much of that is L2?",
        caution=(
            "A surface shows two directions out of as many as there are weights, and what it looks like depends on "
            "their normalisation: weights that are rescaled without changing a prediction can make it flat or sharp. "
            "With filter or layer normalisation the textbook's L2 part is weight decay · L2 · r² by identity, L2 being "
            "that of the weights that move, in an untrained network as in a trained one; where it makes most of the "
            "height, as it often does, a flat picture means small weights. So the NLL's rise is what a landscape "
            "says. Training on other data or with another augmentation moves the centre. That a flatter minimum "
            "generalises better does not follow."
        ),
        paper="Fig. 1a, C.4a, C.7",
        cost="521 forward passes by default",
        example="alternet measure landscape -m run:runs/mine --data cifar100 --limit 1024 --out out",
        tables={
            "table": {
                "x": number("step along the first direction"),
                "y": number("step along the second direction"),
                "nll": number("negative log-likelihood there, in nats", missing=True),
                "l2": number("the penalty there, without the factor of weight decay", missing=True),
                "loss": number("nll + weight decay · l2", missing=True),
                "accuracy": number("share of right answers there", missing=True),
            },
            "flatness": {
                "radius": number("distance from the weights, in lengths of the direction"),
                "nll_rise": number("mean over directions of the NLL there less that of the model", missing=True),
                "nll_standard_error": number("of it, over the directions", missing=True),
                "l2_rise": number("the same of weight decay · L2", missing=True),
                "l2_standard_error": number("of it", missing=True, drawn=False),
                "rise": number("the same of the loss, the sum of both", missing=True),
                "standard_error": number("of it", missing=True),
                "directions": integer("how many directions"),
                "finite": integer("along how many of them the loss is finite"),
            },
        },
        pools=False,
        needs=frozenset({"labels", "gradients"}),
        split="train",
    )

    def __post_init__(self) -> None:
        if self.points < 3 or self.points % 2 == 0:
            raise ValueError(f"landscape got points={self.points}, expected an odd number from 3 on: 0 lies between.")
        if self.draws < 1:
            raise ValueError(
                f"landscape got draws={self.draws}, expected a number of at least 1; 3 or more give standard errors."
            )
        if self.directions != "random" and self.normalisation != "none":
            raise ValueError(
                f"landscape got normalisation={self.normalisation!r} with directions={self.directions!r}, but scaling "
                "filters one by one would leave that plane. Set normalisation=none too."
            )

    @property
    def axis(self) -> list[float]:
        """The grid's coordinates along a side, symmetric around an exact 0."""
        half = self.points // 2
        return [self.radius * (step / half) for step in range(-half, half + 1)]

    def open(self, subject: "Subject", batches: "Batches") -> "LandscapeWork":
        from alternet.instruments.landscape.measure import LandscapeWork

        return LandscapeWork(self, subject, batches)
