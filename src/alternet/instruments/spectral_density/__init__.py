"""Spectral density: how are all eigenvalues of the loss's Hessian distributed, and what do they add up to?"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from alternet.instruments.loss_instrument import OfParameters
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import Count, Natural, settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.spectral_density.measure import SpectralDensityWork
    from alternet.subject.subject import Subject


@settings
class SpectralDensity(OfParameters):
    """The density of the Hessian's eigenvalues by stochastic Lanczos quadrature, an item a random vector.

    Examples:
        >>> SpectralDensity(draws=4).settings["steps"]
        64
    """

    draws: Count = 8
    """Random vectors; two or more give standard errors."""

    steps: Annotated[int, Field(ge=2)] = 64
    """Steps of Lanczos from each, two or more: that many products over all the data, and as many vectors of the length
    of θ in memory. More steps tell nearer eigenvalues apart. Of one step alone λ² would not be exact."""

    exact: Natural = 10
    """Eigenvalues of largest magnitude that are looked for beforehand, copies included. Those that a gap parts from the
    rest are counted exactly in what the eigenvalues add up to, and the random vectors stand for the rest alone."""

    parameters: str = "all"
    """Which parameters: `all`, a kind of unit (`msa`, `mlp`, `conv`, ...), or names with wildcards."""

    micro_batch: int = 0
    """Images that pass the network at a time, 0 for whole batches."""

    precision: Literal["float32", "float64"] = "float32"
    """Type of the computation, whatever that of the model."""

    batch_size: Count = 64
    """Images in a batch; only the mixing of images depends on it."""

    older: ClassVar = {**OfParameters.older, "exact": 0}
    spec: ClassVar = Spec(
        name="spectral_density",
        order=110,
        title="Spectral density of the Hessian",
        question="How are all eigenvalues of the Hessian distributed, and what do they add up to?",
        caution=(
            "The density is smooth by construction: Lanczos sees the outer eigenvalues one by one and the bulk only "
            "as a few nodes, and the kernel hides what is nearer to each other than an eightieth of the axis, which "
            "stretches what is small. What lies below 1 is less than one eigenvalue. The trace grows with the number "
            "of parameters and, like every measure of sharpness, depends on how the weights are scaled, so it "
            "compares networks of one architecture. Intervals (95 %) are those of the random vectors, not of the "
            "choice of images."
        ),
        paper="Ghorbani et al. 2019",
        cost="about 550 Hessian-vector products over all the data by default",
        example="alternet measure spectral-density -m run:runs/mine --data cifar100 --limit 512 --out out",
        tables={
            "table": {
                "draw": integer("number of the random vector"),
                "node": integer("number of the node, by rising eigenvalue"),
                "eigenvalue": number("where the node lies"),
                "weight": number("share of the vector's squared length that it stands for"),
                "residual": number("‖H·v − λ·v‖ of its Ritz vector", drawn=False),
            },
            "moments": {
                "metric": text("trace, its parts, squared_norm, smallest, largest, parameters, exact"),
                "value": number("its value"),
                "standard_error": number("of it, over the random vectors", missing=True),
                "low": number(
                    "low end of its 95 % interval; none from fewer than five vectors", missing=True, drawn=False
                ),
                "high": number("high end of its 95 % interval", missing=True, drawn=False),
            },
        },
        pools=False,
        needs=frozenset({"labels", "gradients"}),
        exact=True,
        split="train",
    )

    def open(self, subject: "Subject", batches: "Batches") -> "SpectralDensityWork":
        from alternet.instruments.spectral_density.measure import SpectralDensityWork

        return SpectralDensityWork(self, subject, batches)
