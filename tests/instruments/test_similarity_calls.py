"""Similarity as it is called: empty and unusable features, one model and two, refusals."""

import numpy as np
import pytest
import torch
from tests.contract.networks import data, network
from tests.contract.state import differences, lived_in, of
from tests.instruments.test_similarity import by_traces, looked_at, matrix
from torch import nn

from alternet.instruments.runner import measure_each
from alternet.instruments.similarity import Similarity
from alternet.measurement import Measurement
from alternet.subject.subject import Subject


class Silent(nn.Module):
    """Its second unit is the same for every image."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        nn.init.zeros_(self.second.weight)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).mean((2, 3)))


def test_a_silent_unit_is_left_empty_in_the_table():
    subject = Subject(Silent(), name="silent", input_size=(3, 8, 8))
    measured = Similarity(batch_size=4).measure(subject, data(subject, n=9))
    assert np.isnan(matrix(measured)).tolist() == [[False, True], [True, True]]
    assert "undefined" in "".join(text.get_text() for text in measured.draw().legends[0].get_texts())


def test_a_value_that_is_not_finite_is_named():
    subject = network("handwritten")
    with torch.no_grad():
        subject.model.get_submodule("blocks.1.branch.2").bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=f"feature map at '{subject.taps[-1].name}' holds values"):
        Similarity().measure(subject, data(subject))


def test_two_models_are_left_as_they_were_and_stand_in_the_provenance(tmp_path):
    one, two = network("handwritten"), network("plain-convolutions")
    batches = data(one)
    lived_in(one.model)
    lived_in(two.model)
    before = of(one.model), of(two.model)
    forth = Similarity(other=two).measure(one, batches, out=tmp_path)
    back = Similarity(other=one).measure(two, batches)
    assert differences(before, (of(one.model), of(two.model))) == []
    np.testing.assert_allclose(matrix(forth), matrix(back).T, rtol=1e-6)
    assert set(forth.table["model_b"]) == {"plain"}
    assert forth.tables["units"].groupby("side")["tap"].apply(list).to_dict() == {
        "a": [tap.name for tap in one.taps],
        "b": [tap.name for tap in two.taps],
    }
    assert forth.provenance["settings"] == {"batch_size": 64, "other": "plain", "seed": 0}
    assert forth.provenance["other"]["model"]["weights_sha256"] == two.weights_sha256
    assert forth.provenance["model"]["weights_sha256"] == one.weights_sha256
    asked = Similarity(other=two)
    ((given, again),) = measure_each([asked], one, batches, out=tmp_path)
    assert given is asked
    assert isinstance(again, Measurement)
    np.testing.assert_array_equal(matrix(again), matrix(forth))
    with torch.no_grad():
        two.model.get_submodule("9").bias.add_(1)
    changed = Subject(two.model, name="plain", input_size=two.input_size, mean=two.mean, std=two.std)
    with pytest.raises(ValueError, match="another other"):
        Similarity(other=changed).measure(one, batches, out=tmp_path)


def test_both_models_are_left_as_they_were_after_an_error():
    one, two = network("handwritten"), network("plain-convolutions")
    _ = one.taps, two.taps

    def fail(*_):
        raise RuntimeError("no such kernel")

    two.model.get_submodule("7").register_forward_hook(fail)
    before = of(one.model), of(two.model)
    with pytest.raises(RuntimeError, match="no such kernel"):
        Similarity(other=two).measure(one, data(one))
    assert differences(before, (of(one.model), of(two.model))) == []


def test_a_model_beside_itself_is_the_model_alone():
    alone, beside = network("handwritten"), network("handwritten")
    one, two = (Similarity(other=other).measure(alone, data(alone)) for other in (None, beside))
    np.testing.assert_array_equal(matrix(one), matrix(two))
    assert set(two.tables["units"]["side"]) == {"a"}
    with torch.no_grad():
        beside.model.get_submodule("head").bias.add_(1)
    changed = Subject(beside.model, name="handwritten", input_size=beside.input_size)
    with pytest.raises(ValueError, match="two models named 'handwritten' with different weights"):
        Similarity(other=changed).measure(alone, data(alone))


def test_models_of_the_same_layout_keep_their_own_normalisation():
    one = network("handwritten")
    two = Subject(one.model, name="unnormalised", input_size=one.input_size)
    batches = data(one, n=8)
    seen, other = (looked_at(s, batches.shuffled(seed=0, batch_size=8)) for s in (one, two))
    measured = matrix(Similarity(other=two).measure(one, batches))
    np.testing.assert_allclose(measured, by_traces(seen, other), rtol=1e-4, atol=1e-5)
    assert measured[0, 0] != pytest.approx(1, abs=1e-6)


def test_another_model_is_loaded_by_its_name_at_the_same_size():
    subject = network("vit-with-registers")
    measured = Similarity(other="test_resnet").measure(subject, data(subject))
    assert measured.provenance["other"]["model"]["name"] == "test_resnet"
    assert measured.provenance["other"]["input"]["size"] == [3, 32, 32]
    assert set(measured.table["model_b"]) == {"test_resnet"}


def test_wrong_calls_say_what_to_do():
    with pytest.raises(ValueError, match="batch_size=3, expected a number of at least 4: the unbiased HSIC"):
        Similarity(batch_size=3)
    with pytest.raises(ValueError, match="other=5, expected the name of a model"):
        Similarity(other=5)  # pyright: ignore[reportArgumentType]
    subject = network("rectangular-grid")
    with pytest.raises(ValueError, match="takes 24 x 40"):
        Similarity(other="test_resnet").measure(subject, data(subject))
    with pytest.raises(ValueError, match="no timm model 'resnet5000'"):
        Similarity(other="resnet5000").measure(network("handwritten"), data(subject))
    grey = Subject(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2)), name="grey", input_size=(1, 8, 8))
    with pytest.raises(ValueError, match="takes 3 channels and 'grey' takes 1"):
        Similarity(other=grey).measure(subject, data(subject))
