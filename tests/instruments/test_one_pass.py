"""Nothing is done twice in a call: every picture is decoded once, and what streams shares a pass. Counts, no times."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import alternet as an
from alternet.data import batches, dataset, decoding, folder
from alternet.data.kept import BUDGET
from alternet.instruments.base import Instrument
from alternet.instruments.runner import measure_each
from alternet.measurement import Measurement
from alternet.subject.subject import Subject

IMAGES, BATCH = 14, 4
STREAMING = (an.Fourier(), an.Variance(), an.Calibration(), an.Similarity(batch_size=5))


class Net(nn.Module):
    """Two convolutional units and a classifier, which count the images that they are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)
        self.shown = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown += len(x)
        x = self.stem(x)
        x = x + self.conv(x.relu())
        return self.head(x.mean((2, 3)))


@pytest.fixture
def subject() -> Subject:
    torch.manual_seed(0)
    return Subject(Net(), name="net", input_size=(3, 16, 16))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.RandomState(0)
    for number in range(IMAGES):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (20, 24, 3)).astype(np.uint8)).save(path)
    (tmp_path / "pictures" / "a" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was decoded in this process."""
    counts: Counter[str] = Counter()

    def counted(source: Path) -> Image.Image:
        counts[Path(source).name] += 1
        return decoding.decode(source)

    monkeypatch.setattr(folder, "decode", counted)
    return counts


def measured(instruments: Sequence[Instrument], subject: Subject, data: an.Batches) -> dict[str, Measurement]:
    found = {}
    for instrument, result in measure_each(instruments, subject, data):
        assert isinstance(result, Measurement), result
        found[instrument.spec.name] = result
    return found


def small(pictures: Path, **options) -> an.Batches:
    return batches(str(pictures), img_size=16, batch_size=BATCH, **options)


def test_what_streams_shares_one_pass_and_one_decode(subject, pictures, decodes):
    measured(STREAMING, subject, small(pictures))  # traces, and tells the architecture
    subject.model.shown = 0
    decodes.clear()
    found = measured(STREAMING, subject, small(pictures))
    assert subject.model.shown == IMAGES
    assert set(decodes.values()) == {1} and len(decodes) == IMAGES + 1
    assert all(len(m.provenance["same_pass"]) == 3 for m in found.values())
    assert all(m.provenance["images"] == IMAGES and len(m.provenance["skipped"]) == 1 for m in found.values())


def test_company_changes_no_number(subject, pictures):
    found = measured(STREAMING, subject, small(pictures))
    for instrument in STREAMING:
        alone = instrument.measure(subject, small(pictures))
        for name, table in alone.tables.items():
            pd.testing.assert_frame_equal(found[alone.instrument].tables[name], table, rtol=1e-5, atol=1e-7)


def test_who_compares_images_in_other_ways_takes_a_pass_of_its_own(subject, pictures):
    asked = [an.Calibration(convention="paper"), an.Similarity(batch_size=5), an.Fourier()]
    found = measured(asked, subject, small(pictures))
    assert found["similarity"].provenance["same_pass"] == []
    assert found["calibration"].provenance["same_pass"] == ["fourier"]


def test_one_that_fails_costs_the_others_no_pass(subject, pictures, monkeypatch):
    measured(STREAMING, subject, small(pictures))
    subject.model.shown = 0
    from alternet.instruments.variance.measure import VarianceWork

    monkeypatch.setattr(VarianceWork, "read", lambda *_: 1 / 0)
    found = dict(measure_each(STREAMING, subject, small(pictures)))
    assert {i.spec.name for i, result in found.items() if isinstance(result, Exception)} == {"variance"}
    assert subject.model.shown == IMAGES


def test_frequency_noise_reads_once_and_asks_once_a_band(subject, pictures, decodes):
    an.FrequencyNoise(bands=3, half_width=0.2).measure(subject, small(pictures))
    subject.model.shown = 0
    decodes.clear()
    an.FrequencyNoise(bands=3, half_width=0.2).measure(subject, small(pictures))
    assert subject.model.shown == (1 + 3) * IMAGES
    assert set(decodes.values()) == {1}


def test_whatever_is_measured_and_of_however_many_models_a_picture_is_decoded_once(subject, pictures, decodes):
    opened = dataset(str(pictures))
    noise = an.FrequencyNoise(bands=2, half_width=0.3)
    corruption = an.Corruption(only="brightness")
    for model in (subject, Subject(Net(), name="other", input_size=(3, 16, 16))):
        data = batches(opened, img_size=16, batch_size=BATCH)
        found = measured([*STREAMING, noise, corruption, an.Lesion(), an.FourierHeatmap(side=1)], model, data)
        assert all(m.provenance["skipped"] == ["a/broken.jpg"] for m in found.values())
    assert set(decodes.values()) == {1}


def test_beyond_the_budget_pictures_are_decoded_again_and_no_number_changes(subject, pictures, decodes, monkeypatch):
    kept = measured([an.FourierHeatmap(side=1)], subject, small(pictures))
    monkeypatch.setattr(BUDGET, "most", 0)
    decodes.clear()
    anew = measured([an.FourierHeatmap(side=1)], subject, small(pictures))
    assert min(decodes.values()) > 1
    pd.testing.assert_frame_equal(kept["fourier_heatmap"].table, anew["fourier_heatmap"].table)


def test_a_budget_is_shared_and_given_back(pictures):
    size = 3 * 16 * 16
    before = BUDGET.room
    data = small(pictures)
    list(data)
    assert before - BUDGET.room == IMAGES * size
    frozen = small(pictures).frozen(an.Augmentation(hflip=0.5))
    list(frozen)
    assert BUDGET.room < before - IMAGES * size
    del data, frozen
    assert BUDGET.room == before


@pytest.mark.parametrize("workers", [0, 2, None])
def test_workers_change_neither_images_nor_what_is_skipped(pictures, workers):
    expected, data = small(pictures), small(pictures, workers=workers)
    for _ in range(2):
        for (images, targets), (theirs, labels) in zip(expected, data, strict=True):
            assert torch.equal(images, theirs) and torch.equal(targets, labels)
        assert data.skipped == expected.skipped != ()
