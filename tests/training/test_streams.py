"""Training on streams: every image once an epoch, and batches that depend on seed and epoch alone."""

import importlib.util
import io
import json
import multiprocessing
import tarfile
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data import timm_sets
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


def test_what_a_buffer_gives_next_is_any_of_what_it_holds() -> None:
    """The first item's place is geometric, p = 1/3; the last item is as likely at each of the last three places."""
    drawn = [list(shuffled(range(30), 3, np.random.default_rng(seed))) for seed in range(3000)]
    places = np.array([order.index(0) for order in drawn])
    for place in range(4):
        assert (places == place).mean() == pytest.approx(1 / 3 * (2 / 3) ** place, abs=0.035)
    last = np.array([order.index(29) for order in drawn])
    assert [(last == place).mean() for place in (27, 28, 29)] == pytest.approx([1 / 3] * 3, abs=0.035)
    whole = np.array([list(shuffled(range(3), 9, np.random.default_rng(seed))) for seed in range(3000)])
    for item in range(3):
        assert (whole == item).mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.035)


@INSTALLED
def test_the_shards_come_in_an_order_of_each_epoch(root: Path) -> None:
    """Through a buffer of one image they come as they lie, shard by shard."""
    images, ends = data(root, RECIPE.with_settings({"shuffle_buffer": 1})), np.cumsum(SHARDS)
    orders = set()
    for epoch in range(4):
        numbers = [number for batch in taken(images, epoch) for number in batch]
        shards = [
            list(group) for _, group in groupby(numbers, lambda number: int(np.searchsorted(ends, number, "right")))
        ]
        assert all(list(range(shard[0], shard[0] + len(shard))) == shard for shard in shards)
        orders.add(tuple(shard[0] for shard in shards))
    assert len(orders) > 1


@INSTALLED
def test_an_image_is_varied_anew_in_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark on the left; whoever of the first batch, read alone, is dark on the right was mirrored."""
    folder = made(tmp_path / "shards")
    halves = Image.fromarray(np.repeat(np.array([[0] * 4 + [250] * 4], dtype=np.uint8), 8, axis=0))
    monkeypatch.setattr("alternet.data.streaming.decode", lambda _: halves.convert("RGB"))
    images = data(folder)
    mirrored = {tuple(x[0, 0, 0].item() > 0.5 for batch, _ in images.epoch(epoch) for x in batch) for epoch in range(4)}
    assert len(mirrored) == 4 and all(8 <= sum(flips) <= 20 for flips in mirrored)
    # one image an epoch, the same of all: what differs is the epoch's draw and nothing else
    monkeypatch.setattr("alternet.data.streaming.shuffled", lambda items, *_: sorted(items, key=lambda one: one.number))
    flips = {tuple(x[0, 0, 0].item() > 0.5 for x in next(images.epoch(epoch))[0]) for epoch in range(8)}
    assert len(flips) > 2


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
@pytest.mark.slow
def test_the_workers_of_a_stream_stay_and_know_which_epoch_it_is(root: Path) -> None:
    alone, helped = data(root), data(root, workers=2)
    next(iter(helped.epoch(0)))  # left in the middle
    before = {child.pid for child in multiprocessing.active_children()}
    for epoch in (3, 1):
        for (images, _), (same, _) in zip(alone.epoch(epoch), helped.epoch(epoch), strict=True):
            torch.testing.assert_close(images, same, rtol=0, atol=0)
    assert len(before) >= 2
    assert {child.pid for child in multiprocessing.active_children()} == before


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
def test_what_a_worker_cannot_read_is_listed_too(tmp_path: Path) -> None:
    images = data(made(tmp_path / "shards", damaged=12), workers=2)
    for epoch in range(2):
        taken(images, epoch)
    assert images.skipped == ("wds/mine[shard 1, 1]",)


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


class HubStream:
    """What the package datasets streams, as far as it is asked: files of pictures, the second of them by its path."""

    def __init__(self, files: list[list[dict[str, Any]]], *, encoded: bool = False) -> None:
        self.files, self.encoded, self.num_shards = files, encoded, len(files)

    def decode(self, enable: bool) -> "HubStream":
        return HubStream(self.files, encoded=not enable)

    def shard(self, num_shards: int, index: int) -> "HubStream":
        assert num_shards == len(self.files)
        return HubStream([self.files[index]], encoded=self.encoded)

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        assert batch_size == 1 and self.encoded
        for row in (row for file in self.files for row in file):
            yield {key: [value] for key, value in row.items()}

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("in a worker this gives a part of the shards")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A streamed data set of the Hub, as timm opens it; classes may be taken away."""
    rows, facts = [], {"class_to_idx": {"a": 0, "b": 1, "c": 2}}
    for number in range(sum(SHARDS)):
        file = io.BytesIO()
        Image.new("L", (8, 8), 5 * number).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": number % 3})
    (tmp_path / "elsewhere.png").write_bytes(rows[1]["image"]["bytes"])
    rows[1]["image"] = {"bytes": None, "path": str(tmp_path / "elsewhere.png")}
    ends = np.cumsum((0, *SHARDS)).tolist()
    stream = HubStream([rows[first:last] for first, last in pairwise(ends)])

    class Opened(list[Any]):
        """timm's own iteration, which tests read: decoded pictures with their targets."""

        reader: SimpleNamespace

    def create(name: str, *, split: str, **_: Any) -> Opened:
        pictures = [(Image.new("RGB", (8, 8), (5 * number,) * 3), number % 3) for number in range(sum(SHARDS))]
        opened = Opened(pictures)
        builder = SimpleNamespace(as_streaming_dataset=lambda split: stream)
        keys = {"input_key": "image", "target_key": "label"}
        opened.reader = SimpleNamespace(name=name, builder=builder, split=split, num_samples=31, **keys, **facts)
        return opened

    monkeypatch.setattr(timm_sets, "create_dataset", create)
    return facts


def of_hub(recipe: Recipe = RECIPE, **options: Any) -> TrainData:
    return TrainData.named("hfids/someone/things", recipe, img_size=8, **options)


def test_streams_of_the_hub_are_trained_on_like_shards(hub: dict[str, Any], tmp_path: Path) -> None:
    images = of_hub()
    assert (len(images), images.classes) == (7, ("a", "b", "c"))
    first, second = taken(images, 0), taken(images, 1)
    numbers = [number for batch in first for number in batch]
    assert len(set(numbers)) == 28 and set(numbers) <= set(range(31)) and first != second
    _, classes = next(images.epoch(0))
    assert classes.tolist() == [number % 3 for number in first[0]]
    for (batch, _), (same, _) in zip(images.epoch(1), of_hub(workers=2).epoch(1), strict=True):
        assert torch.equal(batch, same)
    call = {"img_size": 8, "device": "cpu", "model_args": {"patch_size": 4}}
    assert train("test_vit", "hfids/someone/things", RECIPE, tmp_path / "run", **call).steps == 14
    hub["class_to_idx"] = {}
    with pytest.raises(ValueError, match=r"does not state \"class_names\".* Write it into its card, or use hfds/"):
        of_hub()


def test_other_streams_are_refused_in_a_line(hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_sets, "_of_the_hub", lambda _: False)
    with pytest.raises(
        ValueError, match=r"of streams wds/ and hfids/ alone can be trained on. Unpack it into a folder"
    ):
        TrainData.named("tfds/things", RECIPE, img_size=8)


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the package datasets")
@pytest.mark.filterwarnings("ignore")
def test_a_data_set_of_the_package_datasets_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five parquet files with a class label, from the disk: nothing is fetched."""
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for split, files in (("train", 5), ("test", 1)):
        for file in range(files):
            numbers, encoded = range(6 * file, 6 * file + 6), []
            for number in numbers:
                Image.new("L", (8, 8), 5 * number).save(kept := io.BytesIO(), "PNG")
                encoded.append({"bytes": kept.getvalue(), "path": None})
            rows = {"image": encoded, "label": [number % 3 for number in numbers], "more": list(numbers)}
            (tmp_path / "mine" / split).mkdir(parents=True, exist_ok=True)
            parquet.write_table(pyarrow.table(rows), tmp_path / "mine" / split / f"{split}-{file}.parquet")
    infos = (
        "dataset_info:\n  features:\n  - {name: image, dtype: image}\n  - name: label\n    dtype:\n      class_label:\n"
    )
    infos += "        names: {'0': a, '1': b, '2': c}\n  - {name: more, dtype: int64}\n  splits:\n"
    infos += "  - {name: train, num_examples: 30, num_bytes: 0}\n  - {name: test, num_examples: 6, num_bytes: 0}\n"
    (tmp_path / "mine" / "README.md").write_text(f"---\n{infos}---\n")

    images, other = (TrainData.named("hfids/./mine", RECIPE, img_size=8, workers=workers) for workers in (0, 2))
    numbers = [number for batch in taken(images, 0) for number in batch]
    assert len(set(numbers)) == len(numbers) == 28 and set(numbers) <= set(range(30))
    assert taken(other, 1) == taken(images, 1) != taken(images, 0)
    assert images.classes == ("a", "b", "c")
