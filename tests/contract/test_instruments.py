"""What every instrument promises on every layout, the documented examples included."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.contract.documented import load, run
from tests.contract.networks import IMAGES, NETWORKS, data, network
from tests.contract.optional import case, cases
from tests.contract.runs import with_history
from tests.contract.state import differences, lived_in, of

from alternet.data.image_batches import Batches
from alternet.instruments import figures
from alternet.instruments.base import Instrument
from alternet.instruments.catalogue import instruments
from alternet.measurement import Measurement
from alternet.seeding import default_dtype
from alternet.subject.subject import Subject
from alternet.subject.transplant import transplant

KINDS = instruments() | {kind.spec.name: kind for kind in (load(0, 1).Sparsity, load(0, 1).Damping)}
SMALL = {"similarity": {"batch_size": 4}}
"""Settings that make an instrument with batches of its own run the model more than once on so few images."""

QUICK = {
    "fourier_heatmap": {"side": 1},
    "corruption": {"only": "contrast"},
    "landscape": {"points": 3, "draws": 3},
    "spectral_density": {"draws": 2, "steps": 5},
    "interpolation": {"steps": 2, "beyond": 1},
}
"""Settings for instruments whose default is more work than a promise needs to be seen kept; contrast can be changed on
images of any size."""

WHOLE = {name: {"frozen": True} for name in ("hessian", "spectral_density", "landscape")}
"""Settings with which a model that is frozen in parts is measured as before."""

OF_A_RUN = {"trajectory", "interpolation"}
"""Instruments of the training run behind a model; here they get one."""

every_instrument = pytest.mark.parametrize("name", cases(KINDS))
CASES = [
    (name, layout)
    for name in KINDS
    for layout in NETWORKS
    if name not in ("damping", "lesion") or layout != "plain-convolutions"
]
"""A network without residual branches has none to weaken or to remove."""

DAILY = {"handwritten"}
"""Layouts on which promises are seen kept in the daily loop as well."""

ALIKE = {"vit-with-class-token", "rectangular-grid", "convnext"}
"""Layouts that another one covers in `make test`: the ViT with registers, and convolutions before and after a norm."""


def on(cases: Iterable[tuple[str, str]]) -> Any:
    """The test with each of these instruments on each of these layouts, slow where it need not be seen daily."""
    marks = dict.fromkeys(DAILY, ()) | dict.fromkeys(ALIKE, (pytest.mark.thorough,))
    parts = [case(*one, marks=marks.get(one[1], (pytest.mark.slow,))) for one in cases]
    return pytest.mark.parametrize(("name", "layout"), parts)


on_every_layout = on(CASES)


def instrument(name: str, **settings) -> Instrument:
    return KINDS[name](**QUICK.get(name, {}) | settings)


def measure(name: str, subject: Subject, batches: Batches | None = None, **settings) -> Measurement:
    batches = data(subject) if batches is None else batches
    if name not in OF_A_RUN:
        return instrument(name, **settings).measure(subject, batches)
    with tempfile.TemporaryDirectory() as folder:
        return instrument(name, **settings).measure(with_history(subject, Path(folder) / "run"), batches)


def assert_same(one: Measurement, other: Measurement, *, rtol: float = 0, atol: float = 0) -> None:
    assert one.tables.keys() == other.tables.keys()
    for key, table in one.tables.items():
        steps = [column for column in table if str(column).startswith("step")]
        for columns, by in (
            (table.columns.difference(steps, sort=False), 1),
            (steps, 2),
        ):  # a step is a difference of two
            one_part, other_part = table[columns], other.tables[key][columns]
            pd.testing.assert_frame_equal(
                one_part, other_part, rtol=rtol, atol=by * atol, check_exact=rtol == atol == 0
            )


@on_every_layout
def test_the_model_is_left_as_it_was(name, layout):
    subject = network(layout)
    lived_in(subject.model)
    before = of(subject.model)
    measure(name, subject, **WHOLE.get(name, {}))
    assert differences(before, of(subject.model)) == []


@on(one for one in CASES if one[0] != "trajectory")
@pytest.mark.parametrize("failure", [RuntimeError("no such kernel"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_the_model_is_left_as_it_was_after_a_failure(name, layout, failure):
    """A trajectory lets no image pass, so none can fail."""
    subject = network(layout)
    batches = data(subject)
    _ = subject.taps
    lived_in(subject.model)
    module = [m for m in subject.model.modules() if not list(m.children())][-2]
    calls = []

    def fail(*_):
        calls.append(0)
        if len(calls) > 1:
            raise failure

    module.register_forward_hook(fail)
    before = of(subject.model)
    with pytest.raises(type(failure)):
        measure(name, subject, batches, **SMALL.get(name, {}))
    assert calls
    assert differences(before, of(subject.model)) == []


@on_every_layout
def test_the_same_call_gives_the_same_numbers_whatever_surrounds_it(name, layout):
    subject = network(layout)
    whole = data(subject, batch_size=IMAGES)
    settings = WHOLE.get(name, {})
    first = measure(name, subject, whole, **settings)
    assert_same(first, measure(name, network(layout), whole, **settings))
    lived_in(subject.model)
    torch.manual_seed(99)
    np.random.seed(99)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(first, measure(name, subject, whole, **settings))
    with torch.no_grad():
        assert_same(first, measure(name, subject, whole, **settings))


@every_instrument
def test_the_callers_default_dtype_does_not_matter(name):
    """Whoever looks at curvature sets float64: what is drawn shall not change with it."""
    measured = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        subject, batches = network("handwritten"), data(network("handwritten"))
        with default_dtype(dtype):
            measured[dtype] = measure(name, subject, batches)
    for dtype in (torch.float64, torch.bfloat16):
        assert_same(measured[torch.float32], measured[dtype])


@on_every_layout
def test_batches_do_not_matter(name, layout):
    subject = network(layout)
    whole = measure(name, subject, data(subject, batch_size=IMAGES))
    for batch_size in (1, 4):
        assert_same(whole, measure(name, subject, data(subject, batch_size=batch_size)), rtol=1e-4, atol=2e-5)


@on_every_layout
def test_tables_are_as_declared(name, layout):
    subject = network(layout)
    m = measure(name, subject)
    kind = KINDS[name]
    assert m.instrument == name
    assert m.models == (subject.name,)
    assert set(m.tables) == set(kind.spec.tables)
    for key, table in m.tables.items():
        declared = kind.spec.tables[key]
        assert tuple(table.columns) == kind.spec.columns(key) == ("model", *declared)
        assert set(table["model"]) == {subject.name}
        numbers = table.select_dtypes("number")
        assert not np.isinf(numbers.to_numpy()).any()
        assert set(table.columns[table.isna().any()]) <= {name for name, column in declared.items() if column.missing}
        for column_name, column in declared.items():
            values = table[column_name].dropna()
            assert pd.api.types.is_numeric_dtype(values) == (column.type != "text")
            if column.type == "integer":
                assert (values == values.astype(int)).all()
    if "unit" in m.table:
        taps = {tap.unit: tap for tap in subject.taps}
        assert m.table["unit"].is_monotonic_increasing
        assert m.table["depth"].between(0, 1).all()
        assert all(taps[unit].name == tap for unit, tap in zip(m.table["unit"], m.table["tap"], strict=True))


@every_instrument
def test_what_is_saved_is_loaded(name, tmp_path):
    m = measure(name, network("handwritten"))
    m.save(tmp_path)
    back = Measurement.load(tmp_path / "handwritten" / name)
    assert_same(m, back)
    assert back.provenance == json.loads(json.dumps(m.provenance))


@every_instrument
def test_provenance_says_where_the_numbers_come_from(name, tmp_path):
    subject = network("handwritten")
    provenance = measure(name, subject).provenance
    opened = instrument(name).open(with_history(subject, tmp_path) if name in OF_A_RUN else subject, data(subject))
    assert provenance["instrument"] == name
    given, stated = instrument(name).settings, provenance["settings"]
    left_open = {setting for setting, value in given.items() if value is None}
    assert stated.keys() == given.keys() and {k for k in given if stated[k] != given[k]} <= left_open
    assert KINDS[name].with_settings(stated).settings == stated
    assert provenance["model"]["weights_sha256"] == subject.weights_sha256
    assert provenance["data"]["fingerprint"] == opened.batches.fingerprint
    assert provenance["input"]["mean"] == [0.5, 0.4, 0.3]
    assert provenance["images"] == IMAGES
    assert provenance["dtype"] == "float32"
    assert provenance["processes"] == 1
    assert provenance["seconds"] >= 0
    assert set(provenance["versions"]) == {"alternet", "torch", "timm", "numpy"}


@every_instrument
def test_settings_survive_json(name):
    instrument = KINDS[name]()
    assert KINDS[name].with_settings(json.loads(json.dumps(instrument.settings))) == instrument


@every_instrument
def test_an_unknown_setting_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} has no setting 'colour'"):
        KINDS[name].with_settings({"colour": 1})


@every_instrument
def test_a_setting_cannot_be_changed_afterwards(name):
    with pytest.raises(AttributeError):
        setattr(KINDS[name](), "bins", 3)  # noqa: B010 - a plain assignment does not pass the type checker


@every_instrument
def test_labels_are_asked_for_only_where_they_are_needed(name):
    subject = network("handwritten")
    unlabelled = Batches.of(torch.rand(4, 3, 16, 16))
    if "labels" in KINDS[name].spec.needs:
        with pytest.raises(ValueError, match=f"{name} needs labels, but 'tensors' has none"):
            measure(name, subject, unlabelled)
    else:
        assert len(measure(name, subject, unlabelled).table)


@every_instrument
def test_data_without_a_single_image_is_refused(name):
    subject = network("handwritten")
    with pytest.raises(ValueError, match="no image|no images|at least one"):
        measure(name, subject, data(subject).shard(5, 6))


@every_instrument
def test_the_figure_needs_no_display(name, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(figures, "FIGURES", dict(figures.FIGURES))
    if name == "sparsity":
        run(load(0, 1), 3)
    m = measure(name, network("handwritten"))
    if name == "damping":
        with pytest.raises(ValueError, match="no figure for 'damping'"):
            m.draw()
    else:
        assert m.draw().axes


@pytest.mark.slow
@every_instrument
def test_a_network_that_attention_was_put_into_is_measured(name):
    """Its units, those that attend among them, and nothing is left behind in it."""
    before = network("handwritten")
    chosen = [tap.name for tap in before.taps if tap.sum][-1:]
    settings = {"heads": 2, "head_dim": 4, "window_size": 3}
    subject = Subject(transplant(before, chosen, **settings), name="transplant", input_size=before.input_size)
    state = of(subject.model)
    tables = measure(name, subject, data(subject)).tables
    assert differences(state, of(subject.model)) == []
    assert all(len(table) for table in tables.values())
    for table in tables.values():
        if "kind" in table:
            assert set(table.loc[table["tap"].isin(chosen), "kind"]) <= {"msa"}
            assert "msa" in set(table["kind"])
