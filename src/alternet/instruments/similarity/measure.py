"""Similarity: which units make alike features, within one model or in two?

Let the rows of X and Y be the features of the n images of a mini-batch at two taps, K = XXᵀ and L = YYᵀ. A matrix is
U-centred (Székely and Rizzo 2014) by leaving out its diagonal and then subtracting row and column sums over n − 2 and
adding the whole sum over (n − 1)(n − 2). With ⟨·,·⟩ the sum of the products of the entries,

    HSIC(K, L) = ⟨K̃, L̃⟩ / (n(n − 3))      the unbiased estimate of Song et al. (2012)
    CKA        = Σ ⟨K̃, L̃⟩ / √(Σ ⟨K̃, K̃⟩ · Σ ⟨L̃, L̃⟩)

where the sums run over mini-batches. With batches of one size this is the ratio of mean HSICs of Nguyen, Raghu and
Kornblith (2021), which the paper uses (Fig. 10a and D.3); a smaller last batch weighs as much as it knows, n(n − 3).

CKA is 1 for features that are rotated, shifted or scaled alike, and near 0 for independent ones; the estimate can fall
below 0 and is reported as it is. A high value says that the same images are near one another at both taps, not that
the same thing is computed, and few directions of large variance can decide it.
"""

import warnings
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.errors import Doubt
from alternet.instruments.chunks import VALUES
from alternet.instruments.moments import double, require_finite
from alternet.instruments.work import Batch, OnePass, Tables
from alternet.probe.probe import Probe
from alternet.shapes import FeatureMap
from alternet.student import quantile
from alternet.subject.subject import Subject
from alternet.taps.find import Tap

if TYPE_CHECKING:
    from alternet.instruments.similarity import Similarity

FEWEST = 100
"""Images below which a CKA has no interval: it would cover too seldom."""

SECOND = "second model: "
"""Before the names of the second model's taps, since both models may have one of the same name."""


def u_centred(gram: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """A symmetric matrix without its diagonal, centred so that every row sums to zero; n must be at least 4.

    Examples:
        >>> features = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
        >>> u_centred(features @ features.T).sum(1).abs().max() < 1e-5
        tensor(True)
    """
    n = len(gram)
    off = gram.clone().fill_diagonal_(0)
    rows = off.sum(1) / (n - 2)
    return (off - rows[:, None] - rows + off.sum() / ((n - 1) * (n - 2))).fill_diagonal_(0)


def centred_gram(features: FeatureMap, *, remove: int = 0) -> Float64[Tensor, "n n"]:
    """The U-centred Gram matrix of a batch of features; zero where they vary by no more than rounding.

    Features are centred over the images first. That changes nothing in the end, since U-centring takes out any shift,
    but large means would cost the product its precision.

    Args:
        features: A map of every image.
        remove: How many leading principal components of these features to leave out.

    Examples:
        >>> centred_gram(torch.ones(5, 1, 2, 2)).abs().max().item()
        0.0
        >>> line = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 2, 1, 1)
        >>> centred_gram(line, remove=1).abs().max().item()
        0.0
    """
    # values of an image in the order in which they lie in memory, so that as a rule nothing is copied
    rows = features.permute(0, *sorted((1, 2, 3), key=features.stride, reverse=True)).flatten(1)
    n = len(rows)
    gram, level = (double(rows.new_zeros(shape)) for shape in ((n, n), ()))
    for part in rows.split(VALUES // n if rows.device.type == "cpu" else rows.shape[1], dim=1):
        mean = part.mean(0)
        part = part - mean if remove == 0 else double(part) - double(part).mean(0)  # what is left may be small
        gram += double(part @ part.T)
        level += n * double(mean).square().sum()
    rounding = n * torch.finfo(features.dtype).eps
    constant = gram.trace() <= rounding**2 * level
    whole = gram.norm()
    if remove:
        values, vectors = torch.linalg.eigh(gram)
        leading = vectors[:, -remove:]
        gram = gram - (leading * values[-remove:]) @ leading.T
    centred = u_centred(gram)
    return centred.masked_fill(constant | (centred.norm() <= rounding * whole), 0)


def products(grams: Float64[Tensor, "t n n"]) -> dict[str, Float64[Tensor, "t t"]]:
    """What one mini-batch adds: ⟨K̃, L̃⟩ of all pairs, and the products of its parts that the error is made of.

    ⟨K̃, L̃⟩ is a sum over pairs of images of K̃[i, j]·L̃[i, j]. Products of these are summed over `pairs`, and products of
    the sums over all j, which belong to one image, over `images`.

    Examples:
        >>> products(torch.ones(2, 4, 4, dtype=torch.float64))["hsic"].tolist()
        [[16.0, 16.0], [16.0, 16.0]]
    """
    flat = grams.flatten(1)
    squares = flat.square()
    of_image = grams.transpose(0, 1) @ grams.permute(1, 2, 0)  # [n, t, t]
    own = of_image.diagonal(dim1=1, dim2=2)
    return {
        "hsic": flat @ flat.T,
        "squares over pairs": squares @ squares.T,
        "crossed over pairs": (flat * squares) @ flat.T,
        "owns over pairs": squares @ squares.T,
        "squares over images": of_image.square().sum(0),
        "crossed over images": (of_image * own[:, :, None]).sum(0),
        "owns over images": own.T @ own,
    }


class Estimates(NamedTuple):
    """CKA of all pairs, its standard error and its 95 % interval; nan where undefined."""

    cka: Float64[Tensor, "t t"]
    error: Float64[Tensor, "t t"]
    low: Float64[Tensor, "t t"]
    high: Float64[Tensor, "t t"]


def estimates(sums: Mapping[str, Tensor], images: int) -> Estimates:
    """What the sums of `products` say of the population that the images are a sample of.

    With a, b and c what a pair of images adds to A = Σ⟨K̃, L̃⟩, B = Σ⟨K̃, K̃⟩ and C = Σ⟨L̃, L̃⟩, it moves the CKA θ, to first
    order, by d = a/√(BC) − θ(b/B + c/C)/2. Pairs are independent unless they share an image, so that the variance of
    Σd is that of a sum over pairs of a sample, 4 Σᵢ(Σⱼ dᵢⱼ)² − 2 Σᵢⱼ dᵢⱼ². It needs no more than sums of products of a,
    b and c, and no second mini-batch.

    The interval is symmetric in artanh θ, where the distribution is less skewed. What an image adds has heavy tails, so
    that the squares of N of them know the variance no better than N/8 normal ones would: these are the degrees of
    freedom of Student's quantile. `FEWEST` images at least; docs/verification.md says how often it covers.

    Examples:
        >>> sums = products(torch.ones(1, 4, 4, dtype=torch.float64))
        >>> estimates(sums, images=4)[:2]
        (tensor([[1.]], dtype=torch.float64), tensor([[0.]], dtype=torch.float64))
    """
    own = sums["hsic"].diagonal()
    scale = torch.outer(own, own).sqrt()
    cka = sums["hsic"] / scale

    def spread(over: str) -> Tensor:
        """Σ d² over pairs of images, or over images with d summed over their pairs."""
        crossed = sums[f"crossed over {over}"] / own[:, None] / scale
        owns = sums[f"owns over {over}"] / torch.outer(own, own)
        alone = owns.diagonal()
        moved = sums[f"squares over {over}"] / scale.square() - cka * (crossed + crossed.T)
        return (moved + cka.square() / 4 * (alone[:, None] + 2 * owns + alone)).clamp(min=0)

    of_images = spread("images")
    variance = 4 * of_images - 2 * torch.minimum(spread("pairs"), of_images)
    error = (variance * images / max(images - 1, 1)).sqrt()
    error.diagonal().mul_(0)  # a unit is exactly like itself; the sums say so only up to rounding
    inside = cka.clamp(-1 + 1e-12, 1 - 1e-12)
    reach = float(quantile(images / 8)) * error / (1 - inside.square())
    low, high = (torch.where(error == 0, cka, (inside.atanh() + side * reach).tanh()) for side in (-1, 1))
    if images < FEWEST:
        low = high = torch.full_like(cka, torch.nan)
    return Estimates(cka, error, low, high)


class SimilarityWork(OnePass):
    """Sums of products of Gram matrices over mini-batches, of the taps of one model or of two.

    Attributes:
        second: The other model, if there is one.
    """

    compares = True
    instrument: "Similarity"

    def __init__(self, instrument: "Similarity", subject: Subject, batches: Batches) -> None:
        shuffled = batches.shuffled(seed=instrument.seed, batch_size=instrument.batch_size)
        super().__init__(instrument, subject, shuffled)
        self.second = _beside(subject, instrument.other)
        if self.second is not None:
            self.second = self.second.in_arithmetic(subject.precision)
            self.facts = {"other": self.second.facts}
            self.origin = {**subject.origin, "other": self.second.origin}
            self.others = [self.second]

    def begin(self) -> None:
        if self.second is not None:
            self.beside = self.undo.enter_context(Probe(self.second))

    def read(self, tap: Tap, feature: FeatureMap) -> Tensor:
        n = len(feature)
        if n < self.instrument.needed:  # there is no unbiased estimate, and zeros add nothing to the sums
            return double(feature.new_zeros(n, n))
        return centred_gram(feature, remove=self.instrument.remove)

    def part(self, batch: Batch, readings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        grams = dict(readings)
        if self.second is not None:

            def visit(tap: Tap, feature: FeatureMap) -> None:
                # as the pass does for the maps of the first model
                feature = feature if feature.dtype == torch.float64 else feature.float()
                grams[f"{SECOND}{tap.name}"] = self.read(tap, feature)

            self.beside.observe(batch.images, visit)
        ordered = [grams[name] for name in sorted(grams)]
        stacked = torch.stack([gram.to(ordered[0].device) for gram in ordered])
        n = len(batch.logits)
        sums = products(stacked) | {"images": stacked.new_tensor(float(n if n >= self.instrument.needed else 0))}
        if self.instrument.null == "shuffled":
            # the order is random already, so the next image is another one by chance
            sums["null"] = stacked.flatten(1) @ stacked.roll((1, 1), (1, 2)).flatten(1).T
        return sums

    def tables(self, sums: Mapping[str, Tensor]) -> Tables:
        images = int(sums["images"])
        if not images:
            raise ValueError(
                f"similarity compares the images of a mini-batch and found none of {self.instrument.needed} or more. "
                "Give more images."
            )
        first, second = self.subject, self.second or self.subject
        lead = SECOND if self.second else ""
        names = sorted({*(tap.name for tap in first.taps), *(f"{lead}{tap.name}" for tap in second.taps)})
        for name, own in zip(names, sums["hsic"].diagonal(), strict=True):
            require_finite(own, tap=name)
        found = estimates(sums, images)
        own = sums["hsic"].diagonal()
        null = sums["null"] / torch.outer(own, own).sqrt() if "null" in sums else torch.full_like(found.cka, torch.nan)
        columns = [values.tolist() for values in (*found, null)]
        places = {name: place for place, name in enumerate(names)}
        rows = []
        for a, b in product(first.taps, second.taps):
            i, j = places[a.name], places[f"{lead}{b.name}"]
            rows.append((a.unit, a.name, second.name, b.unit, b.name, *(values[i][j] for values in columns)))
        sides = [("a", first), *([("b", second)] if self.second else [])]
        units = [(side, t.unit, t.name, t.kind, t.stage, t.depth) for side, model in sides for t in model.taps]
        return {"table": rows, "units": units}


def _same(one: Subject, other: Subject) -> bool:
    """Whether two models are one, under one name."""
    if (one.name, one.weights_sha256) != (other.name, other.weights_sha256):
        return False
    shape = one.input_size or other.input_size
    return one.model is other.model or shape is None or one.architecture(shape) == other.architecture(shape)


def _beside(subject: Subject, other: str | Subject | None) -> Subject | None:
    """The second model, unless there is none or it is the first one again."""
    if isinstance(other, str):
        from alternet.subject.loading import load

        _, height, width = subject.input_size or (3, None, None)
        if height != width:
            raise ValueError(
                f"similarity loads {other!r} for square images, but {subject.name!r} takes {height} x {width}. "
                "Build it yourself and give the Subject: Similarity(other=Subject(...))."
            )
        other = load(other, img_size=height, device=subject.device)
    if other is None or _same(subject, other):
        return None
    if other.doubt:
        warnings.warn(other.doubt, Doubt, stacklevel=6)
    if other.name == subject.name:
        raise ValueError(
            f"similarity got two models named {other.name!r} with different weights or of different architectures. "
            "Give one of them another name."
        )
    channels = [model.input_size[0] for model in (subject, other) if model.input_size]
    if len(set(channels)) > 1:
        raise ValueError(
            f"similarity shows both models the same images, but {subject.name!r} takes {channels[0]} channels and "
            f"{other.name!r} takes {channels[1]}. Choose models of one kind of images."
        )
    return other
