"""Training on WebDataset shards: every image once an epoch, and batches that depend on seed and epoch alone."""

import importlib.util
import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data.streaming import shuffled
from alternet.training import Recipe, Row, TrainData, TrainingRun, train
from alternet.training import train_data as module

SHARDS = (11, 4, 7, 9)
"""Images of each training shard."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # webdataset leaves its files open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
INSTALLED = pytest.mark.skipif(importlib.util.find_spec("webdataset") is None, reason="needs the package webdataset")
RECIPE = Recipe(batch_size=4, epochs=2, lr=1e-3, shuffle_buffer=5, hflip=0.5, seed=3)


def write(shard: Path, numbers: range, *, damaged: int = -1) -> None:
    """Plain images whose grey value is their number, of class number mod 3."""
    with tarfile.open(shard, "w") as tar:
        for number in numbers:
            file = io.BytesIO()
            Image.new("L", (8, 8), 5 * number).save(file, "PNG")
            encoded = file.getvalue()[: 40 if number == damaged else None]
            for kind, content in (("png", encoded), ("cls", str(number % 3).encode())):
                member = tarfile.TarInfo(f"{number:04d}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made(tmp_path / "shards")


def made(folder: Path, *, damaged: int = -1, **info: Any) -> Path:
    folder.mkdir()
    ends = np.cumsum((0, *SHARDS)).tolist()
    for shard, (first, last) in enumerate(pairwise(ends)):
        write(folder / f"train-{shard}.tar", range(first, last), damaged=damaged)
    write(folder / "test-0.tar", range(6))
    splits = {
        split: {
            "name": split,
            "num_samples": sum(lengths),
            "filenames": [f"{split}-{i}.tar" for i in range(len(lengths))],
            "shard_lengths": list(lengths),
        }
        for split, lengths in (("train", SHARDS), ("test", (6,)))
    }
    (folder / "_info.json").write_text(json.dumps({"splits": splits, "class_names": ["a", "b", "c"]} | info))
    return folder


def data(folder: Path, recipe: Recipe = RECIPE, **options: Any) -> TrainData:
    return TrainData.named(f"wds/mine:{folder}", recipe, img_size=8, **options)


def taken(images: TrainData, epoch: int) -> list[list[int]]:
    return [(255 * batch[:, 0, 0, 0] / 5).round().int().tolist() for batch, _ in images.epoch(epoch)]


def test_a_buffer_gives_each_item_once_and_mixes_no_further_than_it_reaches() -> None:
    drawn = [shuffled(range(100), size, np.random.default_rng(seed)) for size, seed in ((1, 0), (10, 0), (10, 1))]
    one, some, other = map(list, drawn)
    assert one == list(range(100))
    assert sorted(some) == sorted(other) == one and some != other != one
    assert all(item <= place + 10 for place, item in enumerate(some))


@INSTALLED
def test_an_epoch_takes_every_image_at_most_once_in_an_order_of_its_own(root: Path) -> None:
    images = data(root)
    assert (len(images), images.classes, images.input_size) == (7, ("a", "b", "c"), (3, 8, 8))
    first, second = taken(images, 0), taken(images, 1)
    for batches in (first, second):
        numbers = [number for batch in batches for number in batch]
        assert [len(batch) for batch in batches] == [4] * 7
        assert len(set(numbers)) == 28 and set(numbers) <= set(range(31))
    assert first != second and taken(data(root), 1) == second
    assert taken(data(root, RECIPE.with_settings({"seed": 4})), 1) != second
    _, classes = next(images.epoch(0))
    assert classes.tolist() == [number % 3 for number in first[0]]


@INSTALLED
def test_workers_and_processes_share_the_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = list(data(root).epoch(1))
    for (images, classes), (same, same_classes) in zip(alone, data(root, workers=2).epoch(1), strict=True):
        assert torch.equal(images, same) and torch.equal(classes, same_classes)
    whole = taken(data(root), 1)
    monkeypatch.setattr(module, "world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
        parts.append(taken(data(root), 1))
    assert [sorted(one + other) for one, other in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]
    assert all(len(batch) == 2 for part in parts for batch in part)


@INSTALLED
def test_a_run_that_was_stopped_goes_on_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    def stop(row: Row) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    call = {"model": "test_vit", "data": f"wds/mine:{root}", "recipe": RECIPE, "img_size": 8, "device": "cpu"}
    call |= {"model_args": {"patch_size": 4}}
    train(**call, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(**call, out=tmp_path / "stopped", report=stop)
    train(**call, out=tmp_path / "stopped")
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert one == other and TrainingRun(tmp_path / "whole").steps == 14


@INSTALLED
@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"class_names": None}, r"does not state \"class_names\", a list.*_info.json"),
        ({"splits": "none"}, r"does not state \"num_samples\" of the split 'train'.*_info.json"),
    ],
)
def test_what_the_shards_must_state_is_asked_for(tmp_path: Path, info: dict[str, Any], told: str) -> None:
    folder = made(tmp_path / "shards")
    facts = json.loads((folder / "_info.json").read_text()) | info
    if info.get("splits"):
        facts = json.loads((folder / "_info.json").read_text())
        facts["splits"]["train"]["num_samples"] = 0
    (folder / "_info.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=told):
        data(folder)


@INSTALLED
def test_a_stream_is_not_mixed_over_all_processes(root: Path) -> None:
    with pytest.raises(ValueError, match="Leave out global_batch"):
        data(root, RECIPE.with_settings({"global_batch": True}))


@INSTALLED
def test_shares_of_a_stream_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="can only be streamed, so no share of each class"):
        data(root, RECIPE.with_settings({"subset": "1/2"}))


@INSTALLED
def test_damaged_images_are_listed_and_a_wrong_number_of_images_is_told(tmp_path: Path) -> None:
    images = data(made(tmp_path / "shards", damaged=12))
    for epoch in range(2):
        taken(images, epoch)
    assert images.skipped == ("wds/mine[shard 1, 1]",)
    facts = json.loads((tmp_path / "shards" / "_info.json").read_text())
    facts["splits"]["train"]["num_samples"] = 40
    (tmp_path / "shards" / "_info.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="states 40 images but gave 31. Correct num_samples"):
        taken(data(tmp_path / "shards"), 0)
