"""What goes forward in another precision: how far each number moved is measured and said, and derivatives stay."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.contract.networks import IMAGES, Handwritten, data, network
from tests.contract.optional import cases
from tests.contract.runs import with_history
from tests.gpu.agreement import QUICK

from alternet.data.image_batches import Batches
from alternet.errors import Doubt
from alternet.instruments import rounding
from alternet.instruments.calibration import Calibration
from alternet.instruments.catalogue import instruments
from alternet.instruments.figures import sentences
from alternet.instruments.fourier import Fourier
from alternet.instruments.hessian import Hessian
from alternet.instruments.landscape import Landscape
from alternet.instruments.rounding import moved
from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.instruments.variance import Variance
from alternet.measurement import Measurement
from alternet.probe.probe import Probe
from alternet.subject import subject as subject_module
from alternet.subject.subject import Subject

EXACT = {"hessian", "spectral_density", "trajectory"}
FORWARD = [name for name in instruments() if name not in EXACT]
COUNTS = {"fourier_heatmap", "shape_bias"}
"""Instruments that say how many answers are right alone, which need not move."""


@pytest.fixture
def subject() -> Subject:
    return network("handwritten")


def one_batch(subject: Subject) -> Batches:
    return data(subject, batch_size=IMAGES)


def measured(name: str, subject: Subject, batches: Batches, **more: Any) -> Measurement:
    settings = QUICK.get(name, {}) | ({"batch_size": 7} if name == "similarity" else {})
    return instruments()[name](**settings).measure(subject, batches, **more)


def largest(one: pd.Series, other: pd.Series) -> float:
    """Written otherwise than what it checks."""
    return float(np.nan_to_num(np.array([abs(a - b) for a, b in zip(one, other, strict=True)])).max(initial=0))


@pytest.mark.parametrize("name", cases(FORWARD))
def test_the_provenance_says_how_far_each_column_moved(name, subject, tmp_path):
    """On data of one batch that is the difference of two measurements."""
    subject, batches = with_history(subject, tmp_path / "run"), one_batch(subject)
    plain = measured(name, subject, batches)
    rounded = measured(name, subject.in_arithmetic("bfloat16"), batches)
    said = rounded.provenance["rounding"]
    assert said["images"] == batches.images
    assert said["apart"].keys() == plain.tables.keys()
    for key, table in plain.tables.items():
        for column, apart in said["apart"][key].items():
            assert apart == pytest.approx(largest(rounded.tables[key][column], table[column]), abs=1e-12)
    assert max(apart for table in said["apart"].values() for apart in table.values()) > 0 or name in COUNTS
    assert rounded.provenance["dtype"] == "float32, forward in bfloat16"
    assert "rounding" not in plain.provenance and plain.provenance["dtype"] == "float32"
    assert sentences(rounded)[-1].startswith(f"{subject.name} went forward in bfloat16: on its first 7 images ")
    assert not any("bfloat16" in line for line in sentences(plain))


def test_only_the_first_batch_is_measured_both_ways(subject):
    batches = data(subject, batch_size=3)
    found = Calibration().measure(subject.in_arithmetic("bfloat16"), batches).provenance
    assert found["images"] == 7
    first = Batches.of(*next(iter(batches)), classes=batches.classes)
    one, other = (Calibration().measure(way, first) for way in (subject.in_arithmetic("bfloat16"), subject))
    assert found["rounding"] == {"images": 3, "apart": moved(one.tables, other.tables)}


@pytest.mark.parametrize("name", ["hessian", "spectral_density", "trajectory"])
def test_derivatives_are_not_rounded(name, subject, tmp_path):
    subject, batches = with_history(subject, tmp_path / "run"), one_batch(subject)
    plain = measured(name, subject, batches)
    with pytest.warns(Doubt, match=f"{name}: precision and compile act on what only goes forward"):
        same = measured(name, subject.in_arithmetic("bfloat16"), batches)
    for key, table in plain.tables.items():
        pd.testing.assert_frame_equal(same.tables[key], table, check_exact=True)
    assert "rounding" not in same.provenance and same.provenance["dtype"] == "float32"


def test_eigenvectors_of_a_landscape_are_those_of_single_precision(subject):
    """The plane is spanned by derivatives, its points are passes: they move by little, and not to another plane."""
    asked = Landscape(points=3, draws=1, directions="eigenvectors", normalisation="none", augment="none")
    plain, rounded = (asked.measure(way, one_batch(subject)) for way in (subject, subject.in_arithmetic("bfloat16")))
    assert (rounded.table["nll"] != plain.table["nll"]).any()
    np.testing.assert_allclose(rounded.table["l2"], plain.table["l2"], rtol=1e-6)  # of the weights, so of the plane


def test_what_is_measured_of_a_rounded_model_is_not_rounded(subject):
    seen, inside = [], []
    hook = subject.model.head.register_forward_pre_hook(lambda *_: inside.append(torch.is_autocast_enabled("cpu")))
    with Probe(subject.in_arithmetic("bfloat16")) as probe:
        images = next(iter(one_batch(subject)))[0]
        probe.observe(images, lambda tap, feature: seen.append(torch.is_autocast_enabled("cpu")))
    hook.remove()
    assert set(seen) == {False} and inside[-1] is True  # the one before was traced
    cka = Similarity(batch_size=7).measure(subject.in_arithmetic("bfloat16"), one_batch(subject)).table
    own = cka[cka["tap_a"] == cka["tap_b"]]["cka"].dropna()
    np.testing.assert_allclose(own, 1.0, atol=1e-9)


def test_a_second_model_goes_the_way_of_the_first(subject):
    other = replace(network("handwritten"), name="other", model=Handwritten().eval())
    asked = Similarity(batch_size=7, other=other)
    facts = asked.measure(subject.in_arithmetic("bfloat16"), one_batch(subject)).provenance
    assert facts["other"]["dtype"] == "float32, forward in bfloat16"


def test_a_stored_result_of_another_precision_is_not_taken_up(subject, tmp_path):
    batches, rounded = one_batch(subject), subject.in_arithmetic("bfloat16")
    Variance().measure(rounded, batches, out=tmp_path / "rounded")
    again = Variance().measure(rounded, batches, out=tmp_path / "rounded")
    assert again.provenance["rounding"]["images"] == 7
    with pytest.raises(ValueError, match="another dtype .*'float32, forward in bfloat16', now 'float32'"):
        Variance().measure(subject, batches, out=tmp_path / "rounded")
    Variance().measure(subject, batches, out=tmp_path / "plain")
    with pytest.raises(ValueError, match="another dtype .*'float32', now 'float32, forward in bfloat16'"):
        Variance().measure(rounded, batches, out=tmp_path / "plain")


def test_weights_of_another_precision_are_refused(subject):
    double = replace(subject, model=subject.model.double(), precision="bfloat16")
    with pytest.raises(ValueError, match="precision=bfloat16 rounds single precision, but the weights .* float64"):
        Variance().measure(double, one_batch(subject))


def test_what_is_undefined_one_way_is_said():
    nan, inf = float("nan"), float("inf")
    one, other = (pd.DataFrame({"a": [1.0, nan], "b": b, "c": [nan, nan]}) for b in ([1.0, inf], [nan, inf]))
    found = moved({"table": one}, {"table": other})
    assert found == {"table": {"a": 0.0, "b": None, "c": 0.0}}
    facts = {"model": {"name": "net"}, "dtype": "float32, compiled", "rounding": {"images": 2, "apart": found}}
    m = Measurement(instrument="x", tables={"table": one.assign(model="net")}, provenances=(facts,))
    assert rounding.sentences(m) == [
        "net went compiled: on its first 2 images its columns differ from those of single precision by at most "
        "b undefined in one of them."
    ]


@pytest.mark.slow
def test_what_is_not_looked_into_runs_compiled(subject, monkeypatch):
    from torch._dynamo.utils import counters

    monkeypatch.setattr(subject_module, "BACKEND", "eager")  # what follows needs a compiler of C++, and minutes
    batches, compiled = one_batch(subject), subject.in_arithmetic(compiled=True)
    plain = {one.spec.name: one.measure(subject, batches) for one in (Calibration(), Fourier())}
    counters.clear()
    with pytest.warns(Doubt, match="fourier: a compiled network lets nobody look inside, so this is measured uncomp"):
        found: dict[Any, Any] = dict(measure_each([Fourier(), Calibration()], compiled, batches))
    results = {one.spec.name: result for one, result in found.items()}
    assert counters["stats"]["unique_graphs"] >= 1
    for name, one in plain.items():
        pd.testing.assert_frame_equal(results[name].table, one.table, rtol=1e-5)
    assert results["fourier"].provenance["dtype"] == "float32" and not results["fourier"].provenance["same_pass"]
    assert results["calibration"].provenance["dtype"] == "float32, compiled"
    assert results["calibration"].provenance["rounding"]["apart"]["table"]["value"] <= 1e-5

    asked = Landscape(points=3, draws=1, augment="none")
    counters.clear()
    same = asked.measure(compiled, batches)
    assert counters["stats"]["unique_graphs"] >= 1  # with the weights of each point in place
    pd.testing.assert_frame_equal(same.table, asked.measure(subject, batches).table, rtol=1e-5)
    assert Hessian(k=1, max_products=3).open(compiled.in_arithmetic(), batches).subject.compiled is False

    monkeypatch.setattr(subject_module, "BACKEND", "no such compiler")
    with pytest.raises(ValueError, match=r"handwritten cannot be compiled here \(.*\). Leave compile out"):
        Calibration().measure(network("handwritten").in_arithmetic(compiled=True), batches)
