"""Compare what an instrument measured with a reference, and write down by how much they differ."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

Compare = Callable[..., None]


@pytest.fixture
def compare(record_property: Callable[[str, object], None]) -> Compare:
    """A function that holds a measured quantity against its reference.

    It writes the difference into the report of the test run, from which `scripts/references.py` makes the table of
    docs/verification.md. The difference is the largest of all entries, over the largest magnitude of the reference.
    """

    def compare(
        quantity: str, found: ArrayLike, expected: ArrayLike, *, instrument: str, reference: str, on: str, most: float
    ) -> None:
        a, b = (np.asarray(values, dtype=np.float64) for values in (found, expected))
        assert a.shape == b.shape, (quantity, a.shape, b.shape)
        assert a.size, f"nothing of {quantity} was compared"
        assert (np.isnan(a) == np.isnan(b)).all(), quantity
        scale = np.nanmax(np.abs(b))
        difference = float(np.nanmax(np.abs(a - b)) / (scale if scale > 0 else 1.0))
        record = {"instrument": instrument, "reference": reference, "on": on, "quantity": quantity}
        record_property("reference", json.dumps(record | {"difference": difference}))
        assert difference <= most, f"{instrument} {quantity} on {on}: {difference:.2g} of {scale:.3g}, expected {most}"

    return compare
