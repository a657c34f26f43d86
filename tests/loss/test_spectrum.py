"""NEP and APE by hand, and the bootstrap over batches against a slow one."""

import numpy as np
import pytest

from alternet.loss.spectrum import RESAMPLES, ape, nep, summary

BATCHES = np.repeat(np.arange(12), 5)
VALUES = np.random.default_rng(3).normal(2, 4, size=60)


def test_nep_and_ape_are_the_papers() -> None:
    pool = [-3.0, -1.0, 0.0, 2.0, 4.0, 9.0]
    assert nep(pool) == pytest.approx(2 / 6)
    assert ape(pool) == pytest.approx(5.0)
    assert np.isnan(ape([-1.0, 0.0]))


def test_the_bootstrap_draws_whole_batches() -> None:
    rows = {metric: row for metric, *row in summary(BATCHES, VALUES, seed=5)}
    random = np.random.default_rng(5)
    groups = list(VALUES.reshape(12, 5))
    draws = [[groups[b] for b in random.integers(12, size=12)] for _ in range(RESAMPLES)]
    for metric, of in {
        "nep": lambda pools: nep(np.concatenate(pools)),
        "ape": lambda pools: ape(np.concatenate(pools)),
        "largest": lambda pools: np.mean([pool.max() for pool in pools]),
    }.items():
        expected = [of(groups), *np.quantile([of(pools) for pools in draws], [0.025, 0.975])]
        np.testing.assert_allclose(rows[metric], expected, err_msg=metric)


def test_the_order_and_the_scale_of_eigenvalues_do_not_matter() -> None:
    shuffled = np.random.default_rng(0).permutation(60)
    rows, again = summary(BATCHES, VALUES), summary(BATCHES, 3 * VALUES)
    mixed = summary(BATCHES[shuffled], VALUES[shuffled])
    for (name, *row), (_, *other), (_, *scaled) in zip(rows, mixed, again, strict=True):
        np.testing.assert_allclose(np.array(other, float), np.array(row, float))
        np.testing.assert_allclose(np.array(scaled, float), np.array(row, float) * (1 if name == "nep" else 3))


def test_what_is_undefined_is_missing() -> None:
    alone = {metric: row for metric, *row in summary([0, 0], [1.0, -1.0])}
    np.testing.assert_equal([alone[m] for m in ("nep", "ape", "largest")], [[v, np.nan, np.nan] for v in (0.5, 1, 1)])
    negative = {metric: row for metric, *row in summary([0, 1], [-1.0, -2.0])}
    np.testing.assert_equal(negative["ape"], [np.nan] * 3)
    assert negative["nep"] == [1.0, 1.0, 1.0]


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random, covered = np.random.default_rng(0), 0
    for trial in range(60):
        values = random.exponential(2.0, size=(40, 1)) + random.normal(0, 0.1, size=(40, 5)) ** 2
        _, (_, _, low, high), _ = summary(np.repeat(np.arange(40), 5), values.ravel(), seed=trial)
        covered += low < 2.01 < high
    assert 51 <= covered <= 60
