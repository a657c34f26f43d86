"""The shapes that annotations state are checked whenever a test calls the function."""

import pytest
import torch
from jaxtyping import TypeCheckError
from tests.contract.networks import network

from alternet.models.attention import split_heads
from alternet.probe.probe import Probe
from alternet.shapes import FeatureMap, Images


def test_an_argument_of_another_shape_is_refused():
    assert split_heads(torch.zeros(2, 16, 12), heads=3).shape == (2, 3, 16, 4)
    with pytest.raises(TypeCheckError, match="'m l e'"):
        split_heads(torch.zeros(2, 16, 3, 4), heads=3)


def test_so_is_one_of_a_method():
    with Probe(network("post-activation-resnet")) as probe, pytest.raises(TypeCheckError, match="'n c h w'"):
        probe.logits(torch.zeros(3, 16, 16))


def test_feature_maps_have_sizes_of_their_own():
    assert isinstance(torch.zeros(2, 3, 8, 8), Images)
    assert isinstance(torch.zeros(2, 5, 4, 4), FeatureMap)
