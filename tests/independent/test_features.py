"""What is measured of feature maps, against plain hooks and NumPy in double precision."""

from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from tests.independent.networks import NETWORKS, answers, data, double, images, labels, maps, network, subject, without

from alternet.instruments.fourier import Fourier
from alternet.instruments.lesion import Lesion
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance

N = 10
everywhere = pytest.mark.parametrize("name", NETWORKS)


def of_units(table, column):
    """A column as one array a unit."""
    return [part[column].to_numpy() for _, part in table.groupby("unit", sort=True)]


def error(values):
    """Standard error of the mean over the images [n, ...]."""
    return np.std(values, axis=0, ddof=1) / sqrt(len(values))


@everywhere
def test_fourier(name, compare):
    """The whole two-dimensional transform by its matrices, then the diagonal of the shorter side's frequencies."""
    table = Fourier().measure(subject(name), data(NETWORKS[name].size, N, batch_size=4)).table
    expected, sure = [], []
    for x in maps(name, images(NETWORKS[name].size, N)):
        h, w = x.shape[2:]
        k = np.arange(min(h, w) // 2 + 1) / min(h, w)
        down, across = (np.exp(-2j * np.pi * np.outer(k, np.arange(side))) for side in (h, w))
        amplitude = np.abs(np.einsum("kh,nchw,kw->nck", down, x, across))
        log = np.log(amplitude + 1e-6).mean(1)
        expected.append(log - log[:, :1])
        rounding = 2.0**-24 * np.abs(x).sum((2, 3))[..., None]  # of a sum in single precision
        sure.append((rounding / (amplitude + 1e-6)).max((0, 1)) < 0.05)
    # The logarithm of what a channel of an image happens to have next to none of is rounding, so it is left out
    sure = np.concatenate(sure)
    assert sure.mean() > 0.95
    said = {"instrument": "fourier", "reference": "transform by matrices of waves", "on": f"{name} {NETWORKS[name]}"}
    for quantity, values in {
        "delta_log_amplitude": [x.mean(0) for x in expected],
        "standard_error": [error(x) for x in expected],
    }.items():
        found = np.concatenate(of_units(table, quantity))
        compare(quantity, found[sure], np.concatenate(values)[sure], most=2e-4, **said)


@everywhere
def test_variance(name, compare):
    table = Variance().measure(subject(name), data(NETWORKS[name].size, N, batch_size=4)).table
    x = maps(name, images(NETWORKS[name].size, N))
    spatial = np.stack([np.var(unit, axis=(2, 3), ddof=1).mean(1) for unit in x])
    whole = np.stack([np.var(unit.reshape(N, -1), axis=1, ddof=1) for unit in x])
    said = {"instrument": "variance", "reference": "numpy.var", "on": f"{name} {NETWORKS[name]}", "most": 2e-5}
    compare("variance", table["variance"], spatial.mean(1), **said)
    compare("sample_variance", table["sample_variance"], whole.mean(1), **said)
    compare("standard_error", table["standard_error"], error(spatial.T), **said)
    steps = [np.nan, *((b - a).mean() for a, b in pairwise(spatial))]
    compare("step", table["step"], steps, **said)


def hsic(a, b):
    """The unbiased estimate by its three terms (Song et al. 2012, equation 5), times n(n − 3)."""
    n = len(a)
    k, l = (x - np.diag(np.diag(x)) for x in (a, b))  # noqa: E741 - the symbols of the paper
    one = np.ones(n)
    sums = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return np.trace(k @ l) + sums - 2 / (n - 2) * (one @ k @ l @ one)


@everywhere
def test_similarity(name, compare):
    size = NETWORKS[name].size
    table = Similarity(batch_size=6).measure(subject(name), data(size, 15, batch_size=4)).table
    order = data(size, 15, batch_size=4).shuffled(seed=0, batch_size=6).order
    features = [x.reshape(len(x), -1) for x in maps(name, images(size, 15)[order])]
    parts = [slice(0, 6), slice(6, 12)]  # of the last three images there is no unbiased estimate

    def together(a, b):
        return sum(hsic(a[part] @ a[part].T, b[part] @ b[part].T) for part in parts)

    expected = [together(a, b) / sqrt(together(a, a) * together(b, b)) for a in features for b in features]
    said = {"instrument": "similarity", "reference": "HSIC by its three terms", "on": f"{name} {NETWORKS[name]}"}
    compare("cka", table["cka"], expected, most=2e-5, **said)


@everywhere
def test_lesion(name, compare):
    size, n = NETWORKS[name].size, 21
    table = Lesion().measure(subject(name), data(size, n, batch_size=8)).table
    x, targets = images(size, n), labels(n).numpy()

    def scores(model):
        logits = answers(model, x)
        nll = np.log(np.exp(logits).sum(1)) - logits[np.arange(n), targets]
        return (logits.argmax(1) == targets).astype(float), nll

    right, nll = scores(double(network(name)))
    removed = [scores(without(name, read)) for read in NETWORKS[name].units if read.branch]
    said = {"instrument": "lesion", "reference": "the branch's module at zero", "on": f"{name} {NETWORKS[name]}"}
    compare("accuracy", table["accuracy"], [a.mean() for a, _ in removed], most=1e-12, **said)
    compare("delta_accuracy", table["delta_accuracy"], [(a - right).mean() for a, _ in removed], most=1e-12, **said)
    compare("nll", table["nll"], [b.mean() for _, b in removed], most=2e-5, **said)
    compare("delta_nll", table["delta_nll"], [(b - nll).mean() for _, b in removed], most=2e-4, **said)
    compare("nll_error", table["nll_error"], [error(b - nll) for _, b in removed], most=2e-4, **said)
