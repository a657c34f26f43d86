"""Intervals: how often they cover, by simulation and by counting every outcome, and where there are none."""

import numpy as np
import pytest
import scipy.stats
import torch

from alternet.instruments.intervals import FEWEST, change_interval, mean_interval
from alternet.instruments.moments import moments

SETS = [pytest.param(400, id="quick"), pytest.param(2000, marks=pytest.mark.thorough, id="thorough")]
SLACK = 3 * (0.95 * 0.05 / 400) ** 0.5
"""Three standard errors of a share of 400 sets."""


def quality(low, high, estimates, truth) -> tuple[float, float]:
    """The share of sets that cover the truth, and the median width over that of the true sampling interval."""
    true_width = np.subtract(*np.quantile(estimates, [0.975, 0.025]))
    return float(np.mean((low <= truth) & (truth <= high))), float(np.median(high - low) / true_width)


def of_shares(n: int, lost: float, won: float, sets: int) -> tuple[float, float]:
    """Of sets of n images, of which these shares are lost and won."""
    counts = np.random.default_rng(n).multinomial(n, [lost, won, 1 - lost - won], size=sets)
    total, flipped = counts[:, 1] - counts[:, 0], counts[:, :2].sum(1)
    sums = torch.from_numpy(np.stack([np.full(sets, n), total, flipped]).astype(float))
    low, high = (end.numpy() for end in change_interval(sums))
    return quality(low, high, total / n, won - lost)


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize(("lost", "won"), [(0.5, 0.02), (0.3, 0.3), (0.15, 0.0), (0.1, 0.05), (0.05, 0.05)])
def test_a_change_of_answers_is_covered_where_some_flip(n, lost, won, sets):
    coverage, width = of_shares(n, lost, won, sets)
    assert 0.92 - SLACK / 2 < coverage < 0.99 + SLACK / 4 and width < 1.3


def exact_coverage(n: int, lost: float, won: float) -> float:
    """By counting every outcome of n images."""
    a, b = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    possible = a + b <= n
    a, b = a[possible], b[possible]
    weight = scipy.stats.multinomial.pmf(np.stack([a, b, n - a - b], 1), n, [lost, won, 1 - lost - won])
    low, high = (end.numpy() for end in change_interval(torch.from_numpy(np.stack([0 * a + n, b - a, a + b]) * 1.0)))
    return float(weight[(low <= won - lost) & (won - lost <= high)].sum())


@pytest.mark.parametrize("n", [10, 40, 120])
@pytest.mark.parametrize("expected", [0.01, 0.3, 1, 2, 3, 4, 6])
@pytest.mark.parametrize("share_won", [0.0, 0.2, 0.5])
def test_rare_flips_are_never_covered_too_seldom(n, expected, share_won):
    """However few are expected; an interval that is right there is wider than the spread of what is seen."""
    lost, won = (1 - share_won) * expected / n, share_won * expected / n
    assert exact_coverage(n, lost, won) > 0.93


@pytest.mark.parametrize("n", [1, 5, 60, 10000])
def test_where_no_answer_flips_the_interval_is_clopper_and_pearsons(n):
    low, high = change_interval(moments(torch.zeros(n)))
    most = scipy.stats.binomtest(0, n).proportion_ci(method="exact").high
    assert (low.item(), high.item()) == pytest.approx((-most, most), rel=1e-9)


def test_the_interval_stays_a_change_of_a_share():
    low, high = change_interval(moments(-torch.ones(3)))
    assert low == -1 and -1 < high < 1
    assert all(end.isnan() for end in change_interval(torch.zeros(3, dtype=torch.float64)))


POPULATIONS = {
    "normal": scipy.stats.norm(2, 3),
    "uniform": scipy.stats.uniform(-1, 3),
    "heavy tails": scipy.stats.t(5, 1),
    "exponential": scipy.stats.expon(),
}


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("n", [FEWEST, 200])
@pytest.mark.parametrize("population", POPULATIONS)
def test_a_mean_over_images_is_covered(population, n, sets):
    of = POPULATIONS[population]
    values = of.rvs((n, sets), random_state=1)
    low, high = (end.numpy() for end in mean_interval(moments(torch.from_numpy(values))))
    coverage, width = quality(low, high, values.mean(0), of.mean())
    assert 0.92 - SLACK / 2 < coverage < 0.99 + SLACK / 4 and width < 1.3


def test_the_mean_of_many_images_has_scipys_interval():
    values = np.random.default_rng(0).gamma(2, size=50)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    ours = mean_interval(moments(torch.from_numpy(values)))
    assert [end.item() for end in ours] == pytest.approx(list(theirs), rel=1e-9)


def test_too_few_images_have_none():
    assert all(end.isnan() for end in mean_interval(moments(torch.randn(FEWEST - 1))))
