"""Over batches: how NEP and APE of two networks differ where both saw the same batches, which are then pairs.

NEP differs by its difference, APE by the logarithm of its ratio; errors are by leaving out one batch after the other
of both networks at once (jackknife), so that what makes a batch sharp for both is no error of the difference.
"""

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alternet.loss.spectrum import EITHER, jackknife_error, left_out
from alternet.measurement import Measurement
from alternet.studies.statistics import Estimate


def over_batches(of: Measurement, less: Measurement) -> dict[str, Estimate]:
    """Differences of the Hessians of two networks, by quantity; none where they saw other batches, or too few.

    Args:
        of: The Hessian of one network, as its instrument gives it,
        less: and that of the network that is taken from it.
    """
    if any(of.provenance.get(fact) != less.provenance.get(fact) for fact in ("data", "settings")):
        return {}
    (negatives, positives), (others, more) = _counted(of), _counted(less)
    if set(of.table["batch"]) != set(less.table["batch"]):
        return {}
    found = {
        "nep": _estimate(*negatives, *others, np.asarray),
        "ape": _estimate(*positives, *more, np.log),
    }
    return {quantity: estimate for quantity, estimate in found.items() if estimate is not None}


Sums = tuple[NDArray, NDArray]
"""Of every batch, what stands above and below the line of a share or a mean."""


def _counted(hessian: Measurement) -> tuple[Sums, Sums]:
    """Negative eigenvalues of all, and the sum of the positive ones over their number, as its settings count them."""
    settings: Mapping[str, Any] = hessian.provenance.get("settings") or {}
    table = hessian.table.dropna(subset=["eigenvalue"])
    _, place = np.unique(table["batch"], return_inverse=True)
    values, errors = (table[name].to_numpy(dtype=float) for name in ("eigenvalue", "residual"))
    if settings.get("negative", "paper") == "paper":  # results of 0.1.0 do not say how they count
        errors = np.zeros_like(errors)
    else:
        largest = np.zeros(place.max(initial=-1) + 1)
        np.maximum.at(largest, place, abs(values))
        errors = np.maximum(errors, np.finfo(settings.get("precision", "float32")).eps * largest[place])

    def per_batch(part: NDArray) -> NDArray:
        return np.bincount(place, weights=part.astype(float))

    positive = values > errors
    return (per_batch(values < -errors), per_batch(np.ones_like(values))), (
        per_batch(np.where(positive, values, 0.0)),
        per_batch(positive),
    )


def _estimate(above: NDArray, below: NDArray, above_b: NDArray, below_b: NDArray, on: Any) -> Estimate | None:
    """The difference of two ratios of sums over the same batches, on a scale; None where too few batches tell it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        without = on(left_out(above, below)) - on(left_out(above_b, below_b))
        value = float(on(above.sum() / below.sum()) - on(above_b.sum() / below_b.sum()))
        differ = int((above / below != above_b / below_b).sum())
    if not np.isfinite([value, *without]).all() or differ < EITHER:
        return None
    unit, error = f"{len(without)} batches, paired", jackknife_error(without)
    if error <= 1e-12 * abs(value):  # batches that all differ by the same show no spread to judge by
        return Estimate(value, nan, inf, f"{unit}, all equal", True)
    return Estimate(value, error, float(len(without) - 1), unit, True)
