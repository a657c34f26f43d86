"""My data: data sets, loaders, lists, tensors and arrays of one's own, with normalisation undone."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset
from torch.utils.data import WeightedRandomSampler as Weighted

import alternet as an
from alternet.data.image_dataset import TensorImages
from alternet.errors import Doubt

MEAN, STD = (0.5, 0.25, 0.125), (0.25, 0.5, 0.5)
BYTES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
TENSORS = torch.from_numpy(BYTES).permute(0, 3, 1, 2).float() / 255
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
PICTURES = [Image.fromarray(image) for image in BYTES]


def normalised() -> torch.Tensor:
    return (TENSORS - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


class Listed(Dataset):
    """A map-style data set of whatever is listed."""

    def __init__(self, items: list[Any], **facts: Any) -> None:
        self.items = items
        vars(self).update(facts)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class HuggingFace(Listed):
    """As `datasets.Dataset` is seen from outside."""

    class _Names:
        names = ("a", "b", "c")

    class _Info:
        dataset_name = "beans"

    features = {"image": None, "label": _Names}  # noqa: RUF012 - as it is there
    info = _Info


PAIRS = list(zip(PICTURES, LABELS.tolist(), strict=True))
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a data set of pictures": (Listed(PAIRS), {}),
    "a data set of tensors": (TensorDataset(TENSORS, LABELS), {}),
    "a data set of normalised tensors": (TensorDataset(normalised(), LABELS), {"mean": MEAN, "std": STD}),
    "a loader": (DataLoader(TensorDataset(TENSORS, LABELS), batch_size=4), {}),
    "a shuffled loader": (DataLoader(TensorDataset(TENSORS, LABELS), batch_size=4, shuffle=True), {}),
    "a data set of Hugging Face": (
        HuggingFace([{"image": image, "label": label} for image, label in PAIRS]),
        {},
    ),
    "a list of pairs": (PAIRS, {}),
    "a list of arrays with labels": ([(image, label) for image, (_, label) in zip(BYTES, PAIRS, strict=True)], {}),
    "tensors and labels": ((TENSORS, LABELS), {}),
    "normalised tensors and labels": ((normalised(), LABELS), {"mean": MEAN, "std": STD}),
    "bytes and labels": ((torch.from_numpy(BYTES).permute(0, 3, 1, 2), LABELS), {}),
    "arrays and labels": ((BYTES, LABELS.numpy()), {}),
    "arrays of floats": ((BYTES.astype(np.float32) / 255, LABELS.numpy()), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_images_arrive_as_they_were_however_they_are_given(way: str):
    given, options = WAYS[way]
    data = an.batches(given, name="mine", batch_size=4, **options)
    assert data.name == "mine" and data.images == 6 and data.shape == (3, 8, 8) and data.labelled
    assert len(data.classes) == 3
    images, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    torch.testing.assert_close(images, TENSORS, rtol=0, atol=1e-6)
    assert targets.tolist() == LABELS.tolist()
    assert data.fingerprint == an.batches(given, name="other", **options).fingerprint


@pytest.mark.parametrize("way", ["a data set of pictures", "a data set of tensors", "tensors and labels"])
def test_the_fingerprint_is_of_the_content(way: str):
    changed, others = BYTES.copy(), LABELS.clone()
    changed[3, 0, 0, 0] ^= 1
    others[3] = 1
    made = {
        "a data set of pictures": lambda images, labels: Listed(
            [(Image.fromarray(image), int(label)) for image, label in zip(images, labels, strict=True)]
        ),
        "a data set of tensors": lambda images, labels: TensorDataset(
            torch.from_numpy(images).permute(0, 3, 1, 2) / 255, labels
        ),
        "tensors and labels": lambda images, labels: (torch.from_numpy(images).permute(0, 3, 1, 2) / 255, labels),
    }[way]
    prints = [an.batches(made(*both)).fingerprint for both in ((BYTES, LABELS), (changed, LABELS), (BYTES, others))]
    assert len(set(prints)) == 3
    assert an.batches(made(BYTES.copy(), LABELS.clone())).fingerprint == prints[0]
    assert an.batches(made(BYTES, LABELS), limit=3).fingerprint != prints[0]


def test_images_of_ones_own_are_measured_like_the_same_tensors():
    net = an.load("test_resnet", num_classes=3)
    ways = (PAIRS, (TENSORS, LABELS), an.Batches.of(TENSORS.contiguous(), LABELS).dataset)
    tables = [an.Calibration().measure(net, an.batches(given)).table for given in ways]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_pictures_of_several_sizes_are_resized_as_files_are():
    data = an.batches([Image.new("RGB", (40, 30)), Image.new("L", (64, 64))], img_size=16)
    assert data.shape == (3, 16, 16) and not data.labelled and data.name == "images"
    assert data.preparation == {"size": [3, 16, 16], "crop_pct": 0.875, "interpolation": "bicubic"}
    assert an.batches([Image.new("RGB", (40, 30)), Image.new("L", (64, 64))]).shape == (3, 224, 224)
    assert an.batches([Image.new("RGB", (40, 30))] * 3).shape == (3, 30, 40)


def test_names_come_from_the_data_where_none_is_given():
    hugging_face, _ = WAYS["a data set of Hugging Face"]
    assert an.batches(hugging_face).name == "beans" and an.batches(hugging_face).classes == ("a", "b", "c")
    assert an.batches(TensorDataset(TENSORS, LABELS)).name == "TensorDataset"
    assert an.batches(Subset(TensorDataset(TENSORS, LABELS), [0, 2])).name == "TensorDataset (part)"
    assert an.batches(Listed(PAIRS, classes=["x", "y", "z", "never seen"])).classes[-1] == "never seen"
    assert isinstance(an.batches(TENSORS).dataset, TensorImages) and an.batches(TENSORS).name == "tensors"


def test_a_loader_of_a_part_gives_that_part_in_order():
    loader = DataLoader(TensorDataset(TENSORS, LABELS), sampler=SubsetRandomSampler([4, 1, 5]))
    assert [target for _, targets in an.batches(loader) for target in targets.tolist()] == [1, 1, 2]


def test_grey_images_stay_grey():
    grey = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert an.batches(TensorDataset(grey, LABELS[:4])).shape == (1, 8, 8)
    assert an.batches(grey.numpy()).shape == (1, 8, 8)


def test_an_image_that_cannot_be_read_is_skipped_and_counted():
    class Torn(Listed):
        def __getitem__(self, index: int) -> Any:
            if index == 2:
                raise OSError("truncated")
            return super().__getitem__(index)

    with pytest.raises(OSError, match="truncated"):  # one of those that are looked at first
        an.batches(Torn(PAIRS))
    data = an.batches(Torn([*PAIRS] * 20), name="mine")
    assert sum(len(images) for images, _ in data) == 119 and data.skipped == ("mine[2]",)


def test_what_is_drawn_anew_at_every_look_is_refused():
    class Shaken(Listed):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(3, 8, 8), 0

    with pytest.raises(ValueError, match="another image whenever it is asked"):
        an.batches(Shaken(PAIRS))
    state = torch.get_rng_state()
    an.batches(TensorDataset(TENSORS, LABELS))
    assert torch.equal(torch.get_rng_state(), state)


class Streamed(IterableDataset):
    def __iter__(self) -> Any:
        return iter(PAIRS)


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (normalised(), {}, r"in \[-.*State the mean= and std="),
        (normalised(), {"mean": MEAN, "std": (1.0, 1.0, 1.0)}, "Check mean and std"),
        (normalised(), {"mean": MEAN}, "only one of mean and std"),
        (TensorDataset(normalised(), LABELS), {}, "expected floats in"),
        (PAIRS, {"mean": MEAN, "std": STD}, "pictures, which are not normalised"),
        ([TENSORS[0], TENSORS[1, :, :4]], {}, "of several shapes"),
        ([], {}, "holds no image"),
        (Streamed(), {}, "Streamed, expected a name, .* Give list"),
        (iter(PAIRS), {}, "Give list"),
        (TENSORS[0], {}, r"expected \[n, c, h, w\]"),
        ([{"text": "cat"}], {}, "An item has text, expected one of image"),
        (DataLoader(TensorDataset(TENSORS), sampler=Weighted([1.0] * 6, 6)), {}, "whose order is its own"),
        ("photos", {"mean": MEAN, "std": STD}, "belong to images of your own"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(given: Any, options: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        an.batches(given, **options)


def test_finished_images_are_not_resized():
    for given in (TensorDataset(TENSORS, LABELS), TENSORS):
        with pytest.raises(ValueError, match=r"are tensors of \(8, 8\), asked for at \(16, 16\)"):
            an.batches(given, img_size=16)


def test_targets_that_are_no_class_numbers_are_said():
    with pytest.warns(Doubt, match=r"is Tensor of shape \[8, 8\] and no class number"):
        assert not an.batches(TensorDataset(TENSORS, torch.zeros(6, 8, 8))).labelled
    with pytest.warns(Doubt, match="collate_fn is not asked"):
        an.batches(DataLoader(TensorDataset(TENSORS, LABELS), collate_fn=lambda items: items))
