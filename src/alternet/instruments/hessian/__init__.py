"""Hessian: how sharp is the loss around the weights, and does it curve downwards anywhere?"""

from typing import TYPE_CHECKING, ClassVar, Literal

from alternet.instruments.loss_instrument import OfParameters
from alternet.instruments.spec import Spec, integer, number, text
from alternet.settings import settings

if TYPE_CHECKING:
    from alternet.data.image_batches import Batches
    from alternet.instruments.hessian.measure import HessianWork
    from alternet.loss.lanczos import Lanczos
    from alternet.subject.subject import Subject


@settings
class Hessian(OfParameters):
    """The extreme eigenvalues of the Hessian of NLL + L2, batch by batch.

    Examples:
        >>> Hessian(k=3, parameters="msa").settings["which"]
        'largest_magnitude'
    """

    k: int = 5
    """Eigenvalues of each batch."""

    which: Literal["largest_magnitude", "largest", "both_ends"] = "largest_magnitude"
    """`largest_magnitude`: by |λ|, the paper's ordering. `largest`: from the upper end. `both_ends`: half from the
    upper end, half from the lower one."""

    tolerance: float = 1e-3
    """An eigenpair is good when ‖H·v − λ·v‖ is at most this times the largest |λ|."""

    max_products: int = 200
    """Hessian-vector products after which a batch is given as it is, with the residuals it has."""

    basis: int = 32
    """Vectors of the length of θ that are kept, which bounds the memory."""

    certify: bool = True
    """Whether to look for wanted pairs that the first search missed, copies of a multiple eigenvalue among them.
    `false` saves a third of the products, and the table says that nothing was certified."""

    of: Literal["loss", "gauss-newton", "residual"] = "loss"
    """`loss`: H, the Hessian of NLL + L2. H = G + R, with `gauss-newton`: G, the generalised Gauss-Newton matrix of the
    NLL plus the Hessian of the L2 part, which has no negative eigenvalue; and `residual`: R, what the curvature of the
    network itself adds, where negative curvature comes from. A product with R costs two."""

    negative: Literal["certain", "paper"] = "certain"
    """What NEP and APE count as negative and positive. `certain`: eigenvalues further from zero than their residual and
    the rounding of `precision`; the others widen the intervals. `paper`: λ < 0 and λ > 0, whatever the error."""

    parameters: str = "all"
    """Which parameters: `all`, a kind of unit (`msa`, `mlp`, `conv`, ...), or names with wildcards; the others stay
    fixed. The eigenvalues are those of that block of the Hessian."""

    micro_batch: int = 0
    """Images that pass the network at a time, 0 for the whole batch. It changes the memory, no number."""

    precision: Literal["float32", "float64"] = "float32"
    """Type of the computation, whatever that of the model."""

    as_paper: ClassVar = {**OfParameters.as_paper, "negative": "paper"}
    older: ClassVar = {**OfParameters.older, "certify": False, "of": "loss", "negative": "paper"}
    spec: ClassVar = Spec(
        name="hessian",
        order=100,
        title="Sharpness: extreme eigenvalues of the Hessian",
        question="How sharp is the loss around the weights, and does it curve downwards anywhere?",
        caution=(
            "Only the eigenvalues of largest magnitude of each batch are seen, so NEP is coupled to sharpness: where "
            "the positive ones are large, negative ones are crowded out. Sharpness depends on how the weights are "
            "scaled: two networks that compute the same function can have different eigenvalues, so compare networks "
            "of one architecture, or trained alike, and do not read it as generalisation. BatchNorm is in evaluation "
            "mode, and eigenvalues of small batches are larger than those of all data. Intervals (95 %) cover the "
            "choice of batches, not the seed of the training."
        ),
        paper="Fig. 1c, 4, 6, 7, 12c, C.3 to C.7, F.1",
        cost="about 25 Hessian-vector products (75 gradients) a batch",
        example="alternet measure hessian -m run:runs/mine --data cifar100 --limit 3200 --out out",
        tables={
            "table": {
                "batch": integer("number of the batch"),
                "rank": integer("number of the eigenvalue, in the order of `which`"),
                "eigenvalue": number("λ of the Hessian of NLL + L2"),
                "residual": number("‖H·v − λ·v‖ of the eigenvector that was found"),
                "products": integer("Hessian-vector products that the batch took", drawn=False),
                "images": integer("images of the batch", drawn=False),
                "checking": integer("how many of the products looked for pairs that had been missed", drawn=False),
                "certified": integer(
                    "1 where that found no further one, 0 where it did not come to an end", drawn=False
                ),
                "overlap": number(
                    "(v·g)²/‖g‖², the part of the gradient g of NLL + L2 along the eigenvector",
                    missing=True,
                    drawn=False,
                ),
            },
            "summary": {
                "metric": text("nep, ape or largest"),
                "value": number("over the eigenvalues of all batches", missing=True),
                "low": number("low end of its 95 % interval over batches; none for too few of them", missing=True),
                "high": number("high end of its 95 % interval", missing=True),
            },
        },
        pools=False,
        needs=frozenset({"labels", "gradients"}),
        exact=True,
        split="train",
    )

    def __post_init__(self) -> None:
        try:
            self.lanczos()
        except ValueError as error:
            raise ValueError(f"hessian: {error}") from error

    def lanczos(self) -> "Lanczos":
        """The eigensolver with these settings, which it checks."""
        from alternet.loss.lanczos import Lanczos

        return Lanczos(
            k=self.k,
            which=self.which,
            tolerance=self.tolerance,
            max_products=self.max_products,
            basis=self.basis,
            certify=self.certify,
        )

    def open(self, subject: "Subject", batches: "Batches") -> "HessianWork":
        from alternet.instruments.hessian.measure import HessianWork

        return HessianWork(self, subject, batches)
