"""On a GPU every instrument gives the tables that it gives on the CPU, and leaves the model as it was."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.contract.networks import data, network
from tests.contract.optional import cases
from tests.contract.runs import with_history
from tests.gpu.agreement import QUICK, compared

from alternet.instruments.catalogue import instruments
from alternet.subject.subject import Subject

LAYOUTS = ("post-activation-resnet", "vit-with-registers", "channels-last-swin", "torch-encoder", "handwritten")

GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))


def on(layout: str, device: str, **facts: Any) -> Subject:
    """The network of that layout on a device."""
    subject = network(layout)
    return replace(subject, model=subject.model.to(device), **facts)


@pytest.mark.parametrize("layout", [pytest.param(layout, marks=GPU) for layout in LAYOUTS])
@pytest.mark.parametrize("name", cases(instruments()))
def test_a_gpu_gives_what_the_cpu_gives(name, layout, tmp_path):
    plain = network(layout)
    history = with_history(plain, tmp_path / "run").history
    settings = {"batch_size": 4} if name == "similarity" else {}
    finding = compared(name, lambda device: on(layout, device, history=history), data(plain), settings)
    assert finding.wrong == []


def test_the_quick_settings_are_of_instruments_that_there_are():
    assert set(QUICK) <= set(instruments())
