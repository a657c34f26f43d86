"""Intervals that cover what they say, verdicts by one rule, and Holm's correction."""

from itertools import permutations
from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel

from alternet.studies.statistics import Estimate, compare, holm, judge


def runs(values, error: float = nan):
    return {seed: (float(value), error) for seed, value in enumerate(values)}


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_intervals_and_p_values_over_seeds_are_scipys(n: int):
    generator = np.random.default_rng(n)
    a, b = generator.normal(1, 2, n), generator.normal(0, 1, n)
    paired = compare(runs(a), runs(b))
    known = ttest_rel(a, b)
    assert paired.interval() == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert paired.p_value(0) == pytest.approx(known.pvalue)
    assert paired.unit == f"{n} seeds, paired"
    alone = ttest_1samp(a, 0.3)
    assert compare(runs(a)).interval() == pytest.approx(tuple(alone.confidence_interval(0.95)))
    assert compare(runs(a)).p_value(0.3) == pytest.approx(alone.pvalue)


def test_seeds_that_differ_are_not_paired_and_none_is_left_out():
    a, b = np.array([0.1, 0.5, 0.4]), np.array([0.7, 1.2, 0.8, 1.4])
    estimate, known = compare(runs(a), runs(b)), ttest_ind(a, b, equal_var=False)
    assert estimate.interval() == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert estimate.p_value(0) == pytest.approx(known.pvalue)
    assert estimate.unit == "3 and 4 seeds"
    other = compare(runs(a), {seed + 7: run for seed, run in runs(a).items()})
    assert other.unit == "3 and 3 seeds" and not other.single


def test_of_one_run_each_the_interval_is_over_images():
    estimate = compare({0: (0.8, 0.03)}, {5: (0.7, 0.04)})
    assert estimate[:3] == (pytest.approx(0.1), pytest.approx(0.05), inf) and estimate.single
    assert estimate.interval() == pytest.approx((0.1 - 0.05 * 1.959964, 0.1 + 0.05 * 1.959964))
    assert compare({0: (0.8, 0.03)}, {0: (0.7, 0.04)})[:2] == estimate[:2]


def test_standard_errors_over_images_do_not_narrow_intervals_over_seeds():
    assert compare(runs([1, 2, 4], error=1e-9)) == compare(runs([1, 2, 4]))


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (runs([0.8]), runs([0.7]), "supported (one run)"),
        (runs([0.7]), runs([0.8], error=0.1), "contradicted (one run)"),
        (runs([0.7]), runs([0.7]), "undecided (one run)"),
        (runs([0.7, 0.8, 0.9]), runs([0.1]), "supported (no interval)"),
        (runs([0.9, 0.9, 0.9]), runs([0.1, 0.1, 0.1]), "supported (no interval)"),
        (runs([0.9, 0.9]), {7: (0.1, nan), 8: (0.1, nan)}, "supported (no interval)"),
    ],
)
def test_without_an_interval_the_sign_alone_speaks(ours, theirs, said: str):
    verdict = judge(compare(ours, theirs), 0, inf)
    assert verdict.word == said
    assert isnan(verdict.p)


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "supported"), (-0.5, "contradicted"), (0.1, "undecided"), (-0.1, "undecided")]
)
def test_the_verdict_is_where_the_interval_lies_and_flips_with_the_sign(value: float, said: str):
    estimate = Estimate(value, 0.1, inf, "", False)
    assert judge(estimate, 0, inf).word == said
    flipped = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
    assert judge(estimate, -inf, 0).word == flipped[said]
    assert judge(estimate._replace(value=-value), 0, inf).word == flipped[said]
    assert judge(estimate, 0, inf).p == judge(estimate, -inf, 0).p


@pytest.mark.parametrize("n", [3, 30])
def test_a_verdict_and_its_p_value_agree(n: int):
    generator = np.random.default_rng(0)
    for _ in range(200):
        estimate = compare(runs(generator.normal(0.5, 1, n)))
        for low, high in ((0, inf), (-inf, 0), (-0.7, 0.7)):
            verdict = judge(estimate, low, high)
            left, right = estimate.interval()
            crossed = [end for end in (low, high) if abs(end) != inf and left <= end <= right]
            assert (verdict.word == "undecided") == bool(crossed)
            assert (verdict.p > 0.05) == (verdict.word == "undecided")


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "supported"), (0.006, "undecided"), (0.03, "contradicted"), (-0.03, "contradicted")]
)
def test_on_par_means_wholly_within_the_margin(value: float, said: str):
    assert judge(Estimate(value, 0.004, inf, "", False), -0.01, 0.01).word == said


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; none falls below the one before."""
    known = {0.01: 0.03, 0.04: 0.06, 0.03: 0.06, 0.005: 0.02}
    for order in permutations(known):
        assert holm(order) == pytest.approx([known[p] for p in order])


def test_holm_as_statsmodels_has_it():
    """statsmodels 0.15.0, multipletests(p, method="holm")."""
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251, 0.269, 0.275, 0.34]
    known = [0.015, 0.112, 0.507, 0.507, 0.507, 0.6, 0.666, *[1] * 8]
    assert holm(p) == pytest.approx(known)
    with_gaps = holm([nan, *p, nan])
    assert isnan(with_gaps[0]) and isnan(with_gaps[-1]) and with_gaps[1:-1] == pytest.approx(known)


def covered(draw, truth: float, n: int, times: int) -> float:
    generator = np.random.default_rng(n)
    return float(np.mean([low <= truth <= high for low, high in (draw(generator, n) for _ in range(times))]))


def student(values) -> tuple[float, float]:
    return compare(runs(values)).interval()


def skewed(generator, n: int):
    return generator.lognormal(0, 0.5, n) - 1.3 * generator.lognormal(0, 0.5, n)


def percentile(generator, values) -> tuple[float, float]:
    means = generator.choice(values, (400, len(values))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@pytest.mark.thorough
@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_over_seeds_cover_what_they_say(n: int):
    """Three standard errors of a share of 4000 are 0.01."""
    times = 4000
    assert covered(lambda g, n: student(g.normal(2, 3, n)), 2, n, times) == pytest.approx(0.95, abs=0.012)
    assert covered(lambda g, n: student(skewed(g, n)), -0.3 * np.exp(1 / 8), n, times) >= 0.938

    # Seeds make the images hard or easy for both arms; the interval is of what differs.
    def paired(generator, n):
        shared = generator.normal(0, 5, n)
        return compare(runs(shared + generator.normal(1, 1, n)), runs(shared + generator.normal(0, 2, n))).interval()

    assert covered(paired, 1, n, times) == pytest.approx(0.95, abs=0.012)

    def unpaired(generator, n):
        other = {seed + 100: run for seed, run in runs(generator.normal(0, 3, n + 2)).items()}
        return compare(runs(generator.normal(1, 1, n)), other).interval()

    assert covered(unpaired, 1, n, times) == pytest.approx(0.95, abs=0.02)


@pytest.mark.thorough
def test_a_bootstrap_over_few_seeds_is_too_narrow():
    shares = [covered(lambda g, n: percentile(g, g.normal(2, 3, n)), 2, n, 2000) for n in (3, 5, 10)]
    assert shares == pytest.approx([0.75, 0.83, 0.89], abs=0.03)


@pytest.mark.thorough
def test_intervals_over_images_cover_what_they_say():
    """Accuracies of one run on n images, with the standard error that instruments store."""

    def draw(generator, n):
        right = [generator.random(n) < share for share in (0.8, 0.6)]
        ours, theirs = ({0: (float(r.mean()), float(r.std(ddof=1) / sqrt(n)))} for r in right)
        return compare(ours, theirs).interval()

    assert covered(draw, 0.2, 400, 4000) == pytest.approx(0.95, abs=0.012)
