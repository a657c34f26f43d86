"""NEP and APE by hand, and their intervals against slow ones and by simulation."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import t

from alternet.loss.spectrum import Row, summary

BATCHES = np.repeat(np.arange(12), 5)
VALUES = np.random.default_rng(3).normal(2, 4, size=60)


def of(rows: list[Row]) -> dict[str, list[float]]:
    return {metric: row for metric, *row in rows}


def nep(pool: NDArray) -> float:
    return float((pool < 0).mean())


def ape(pool: NDArray) -> float:
    return float(pool[pool > 0].mean())


def test_nep_and_ape_are_the_papers() -> None:
    found = of(summary([0] * 6, [-3.0, -1.0, 0.0, 2.0, 4.0, 9.0]))
    assert found["nep"][0] == pytest.approx(2 / 6)
    assert found["ape"][0] == pytest.approx(5.0)
    assert np.isnan(of(summary([0, 0], [-1.0, 0.0]))["ape"][0])


def jackknife(statistic: Callable[[NDArray], float]) -> float:
    """The standard error of a statistic of the pool, from leaving out every batch in turn."""
    values = [statistic(VALUES[batch != BATCHES]) for batch in range(12)]
    return float(np.sqrt(11 / 12 * ((np.array(values) - np.mean(values)) ** 2).sum()))


def test_the_intervals_are_those_of_leaving_out_one_batch_after_the_other() -> None:
    rows, reach = of(summary(BATCHES, VALUES)), float(t.ppf(0.975, 11))
    factor = np.exp(reach * jackknife(lambda pool: np.log(ape(pool))))
    np.testing.assert_allclose(rows["ape"], [ape(VALUES), ape(VALUES) / factor, ape(VALUES) * factor])
    largest = VALUES.reshape(12, 5).max(1)
    left_out = [np.log(np.delete(largest, batch).mean()) for batch in range(12)]
    factor = np.exp(reach * np.sqrt(11 / 12 * ((left_out - np.mean(left_out)) ** 2).sum()))
    np.testing.assert_allclose(rows["largest"], [largest.mean(), largest.mean() / factor, largest.mean() * factor])

    # what defines Wilson's interval: at its ends the share is as far away as t standard errors of the share there
    share, size = nep(VALUES), nep(VALUES) * (1 - nep(VALUES)) / jackknife(nep) ** 2
    size = min(size, 60.0)
    ends = [
        brentq(lambda end: (share - end) ** 2 - reach**2 * end * (1 - end) / size, *bracket)
        for bracket in ((1e-9, share), (share, 1 - 1e-9))
    ]
    np.testing.assert_allclose(rows["nep"], [share, *ends])


def test_the_order_and_the_scale_of_eigenvalues_do_not_matter() -> None:
    shuffled = np.random.default_rng(0).permutation(60)
    rows, again = summary(BATCHES, VALUES), summary(BATCHES, 3 * VALUES)
    mixed = summary(BATCHES[shuffled], VALUES[shuffled])
    for (name, *row), (_, *other), (_, *scaled) in zip(rows, mixed, again, strict=True):
        np.testing.assert_allclose(np.array(other, float), np.array(row, float))
        np.testing.assert_allclose(np.array(scaled, float), np.array(row, float) * (1 if name == "nep" else 3))


def test_what_is_undefined_or_too_little_for_an_interval_is_missing() -> None:
    nothing = [np.nan, np.nan]
    alone = of(summary([0, 0], [1.0, -1.0]))
    assert {metric: row[0] for metric, row in alone.items()} == {"nep": 0.5, "ape": 1.0, "largest": 1.0}
    np.testing.assert_equal([row[1:] for row in alone.values()], [nothing] * 3)
    negative = of(summary(range(6), [-1.0] * 6))
    np.testing.assert_equal(negative["ape"], [np.nan, *nothing])
    np.testing.assert_equal(negative["nep"], [1.0, *nothing])
    few = of(summary(np.repeat(range(4), 2), [1.0, -1.0] * 4))
    np.testing.assert_equal([row[1:] for row in few.values()], [nothing] * 3)
    rare = of(summary(BATCHES, np.where(np.arange(60) < 2, -1.0, np.arange(60.0))))
    np.testing.assert_equal(rare["nep"], [2 / 60, *nothing])  # of one batch


def test_an_eigenvalue_within_its_error_of_zero_is_neither_and_widens_the_intervals() -> None:
    batches = np.repeat(np.arange(8), 4)
    values = np.tile([5.0, -2.0, 1.0, -1e-9], 8) + np.repeat(np.arange(8), 4) * np.tile([0.1, 0.0, 0.0, 0.0], 8)
    values[batches > 3] = np.abs(values[batches > 3])
    naive, careful = of(summary(batches, values)), of(summary(batches, values, 1e-6))
    assert naive["nep"][0] == 8 / 32 and careful["nep"][0] == 4 / 32
    assert careful["ape"][0] == pytest.approx(values[values > 0.1].mean())
    either = of(summary(batches, np.where(np.abs(values) < 1e-6, -1.0, values)))
    without = of(summary(batches, np.where(np.abs(values) < 1e-6, 0.0, values)))
    assert careful["nep"][1:] == pytest.approx([without["nep"][1], either["nep"][2]])
    assert careful["ape"][1] < without["ape"][1] and careful["ape"][2] == pytest.approx(without["ape"][2])


def test_where_no_eigenvalue_is_certainly_negative_the_share_reaches_from_none() -> None:
    values = np.tile([3.0, 2.0, -1e-9, 1.0], 8)
    values[::8] = -1e-9
    row = of(summary(np.repeat(np.arange(8), 4), values, 1e-6))["nep"]
    assert row[:2] == [0.0, 0.0] and 0.3 < row[2] < 1


SETS = 2000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batches", "share", "alike"), [(5, 0.3, 0.2), (10, 0.3, 0.5), (20, 0.1, 0.2), (100, 0.05, 0.2)]
)
def test_the_intervals_cover_the_truth_as_often_as_they_say(batches: int, share: float, alike: float) -> None:
    """Batches that differ in how many eigenvalues are negative and how large the others are; in 2,000 sets of them."""
    random = np.random.default_rng(batches)
    chance = random.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), (SETS, batches, 1))
    size = np.exp(random.normal(0, 0.3, (SETS, batches, 1)) + random.normal(0, 0.7, (SETS, batches, 5)))
    sets = np.where(random.random((SETS, batches, 5)) < chance, -size, size)
    place, truth = np.repeat(np.arange(batches), 5), {"nep": share, "ape": float(np.exp((0.3**2 + 0.7**2) / 2))}
    rows = [of(summary(place, one.ravel())) for one in sets]
    for metric, value in truth.items():
        numbers = np.array([row[metric] for row in rows])
        given = ~np.isnan(numbers[:, 1])
        assert given.mean() > 0.8
        covered = ((numbers[:, 1] <= value) & (value <= numbers[:, 2]))[given].mean()
        spread = np.subtract(*np.quantile(numbers[:, 0], [0.975, 0.025]))
        assert 0.92 <= covered <= 0.99, (metric, covered)
        assert np.median(numbers[given, 2] - numbers[given, 1]) <= 1.3 * spread, metric
