"""Data sets that timm opens: by index, through its readers, and as streams."""

import importlib.util
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data import Augmentation, batches, dataset, timm_sets
from alternet.data.shards import Shards, counted
from alternet.errors import Doubt

PIXELS = np.random.RandomState(0).randint(0, 256, (9, 20, 20, 3)).astype(np.uint8)
PICTURES = [Image.fromarray(pixels) for pixels in PIXELS]
WANTED = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255


def fake(monkeypatch: pytest.MonkeyPatch, made: object, known: tuple[str, ...] = ("train", "validation")) -> list:
    calls = []

    def create(name: str, *, root: str | None, split: str, **options) -> object:
        calls.append((name, root, split, options))
        if split not in known:
            raise ValueError(f'Unknown split "{split}". Should be one of {known}.')
        return made

    monkeypatch.setattr(timm_sets, "create_dataset", create)
    return calls


class Stream:
    """An iterable data set of timm with its reader's attributes."""

    def __init__(self, *, classes: dict | None = None, stated: int = 9, lost: int = 0) -> None:
        self.reader = SimpleNamespace(class_to_idx=classes, dist_rank=1, dist_num_replicas=2, global_num_workers=2)
        self.stated, self.lost, self.passes = stated, lost, 0

    def __len__(self) -> int:
        return self.stated

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        self.passes += 1
        assert self.reader.dist_rank == 0 and self.reader.dist_num_replicas == 1
        yield from list(zip(PICTURES, [2, 0, 1] * 3, strict=True))[: 9 - self.lost]


class Reader:
    """Hands out encoded files, the fourth damaged."""

    def __init__(self) -> None:
        self.class_to_idx = {"b": 1, "a": 0, "c": 2}

    def __getitem__(self, index: int) -> tuple[io.BytesIO, int]:
        file = io.BytesIO()
        PICTURES[index].save(file, "PNG")
        return io.BytesIO(file.getvalue()[: 60 if index == 3 else None]), index % 3


def test_torchvision_sets_are_read_where_they_lie(cifar) -> None:
    root, images, targets = cifar(10)
    data = batches(f"torch/cifar10:{root}", img_size=32, crop_pct=1.0)
    (read, labels), *rest = data
    assert not rest and labels.tolist() == targets and len(data.classes) == 10
    np.testing.assert_allclose(read.numpy(), images.transpose(0, 3, 1, 2) / 255, atol=1e-7)
    train = batches(f"torch/cifar10:{root}", split="train", img_size=32)
    assert train.images == 30 and train.fingerprint != data.fingerprint


def test_readers_are_decoded_by_us_so_that_nothing_takes_the_place_of_a_damaged_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sized = type("Sized", (SimpleNamespace,), {"__len__": lambda _: 9})
    made = sized(reader=Reader())
    calls = fake(monkeypatch, made)
    data = batches("HFDS/someone/things", img_size=20, crop_pct=1.0, batch_size=5)
    assert [(name, split) for name, _, split, _ in calls] == [
        ("hfds/someone/things", "test"),
        ("hfds/someone/things", "validation"),
    ]
    assert calls[0][3]["download"] is False and "trust_remote_code" not in calls[0][3]
    assert data.classes == ("a", "b", "c") and data.labelled
    read = torch.cat([images for images, _ in data])
    torch.testing.assert_close(read, WANTED[[0, 1, 2, 4, 5, 6, 7, 8]])
    assert data.skipped == ("HFDS/someone/things[3]",)


def test_streams_are_read_in_one_pass_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(classes={"a": 0, "b": 1, "c": 2})
    fake(monkeypatch, stream)
    data = batches("wds/mine:/shards", img_size=20, crop_pct=1.0, batch_size=2, workers=2)
    assert data.images == 9 and data.labelled and data.classes == ("a", "b", "c")
    stream.passes = 0
    assert torch.equal(torch.cat([images for images, _ in data]), WANTED) and stream.passes == 1
    assert [t for _, targets in data.shard(1, 2) for t in targets.tolist()] == [1, 2, 2, 0]
    limited = batches("wds/mine:/shards", img_size=20, limit=4, seed=3)
    assert torch.equal(next(iter(limited))[0], WANTED[limited.order]) and limited.fingerprint != data.fingerprint
    assert torch.equal(data.dataset[7][1] * torch.ones(1), torch.zeros(1))


def test_frozen_streams_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, Stream(classes={"a": 0, "b": 1, "c": 2}))
    data = batches("tfds/mine", img_size=20, crop_pct=1.0, batch_size=4)
    frozen = data.frozen(Augmentation(mixup=1.0), seed=1)
    first = [images for images, _ in frozen]
    assert all(torch.equal(*pair) for pair in zip(first, [images for images, _ in frozen], strict=True))
    plain = data.frozen(Augmentation())
    assert torch.equal(torch.cat([images for images, _ in plain]), WANTED)
    with pytest.raises(ValueError, match=r"can only be streamed.*hfds/ in place of hfids/"):
        data.augmented(Augmentation())


def test_a_stream_that_ends_early_has_skipped_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, Stream(lost=2))
    data = batches("hfids/mine", img_size=20, crop_pct=1.0, batch_size=4)
    assert sum(len(targets) for _, targets in data) == 7
    assert data.skipped == ("hfids/mine[7]", "hfids/mine[8]")
    with pytest.raises(OSError, match="ended before"):
        data.dataset[8]


def test_what_a_stream_does_not_state_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, Stream(stated=0))
    data = batches("wds/mine:/shards")
    assert data.images == 9 and data.classes == ("0", "1", "2")


def test_names_roots_and_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALTERNET_DATA", str(tmp_path))
    calls = fake(monkeypatch, Stream(), known=("train",))
    asked = ("tfds/a:3.0.2", "wds/b", "wds/b:~/x", "wds/c:https://d/e", "hfids/u/f", "torch/g:./h", "wds/b:data/x")
    for name in asked:
        dataset(name, split="train")
    assert [call[:2] for call in calls] == [
        ("tfds/a:3.0.2", None),
        ("wds/b", str(tmp_path / "b")),
        ("wds/b", str(Path.home() / "x")),
        ("wds/c", "https://d/e"),
        ("hfids/u/f", None),
        ("torch/g", "h"),
        ("wds/b", "data/x"),
    ]


@pytest.mark.parametrize("name", ["hfds/imagefolder:/data/mine", "hfds/imagefolder", "hfids/webdataset:/data/mine"])
def test_readers_of_the_hub_that_would_read_the_current_folder_are_refused(monkeypatch, name: str) -> None:
    monkeypatch.setattr(timm_sets, "create_dataset", lambda *_, **__: pytest.fail("the current folder is read"))
    with pytest.raises(
        ValueError, match="reads the files of the current folder.* Give the folder of images alone: .*/?"
    ):
        dataset(name)


def test_what_cannot_be_opened_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    with pytest.raises(ValueError, match="timm cannot open 'torch/cifar99' in .*: Unknown torchvision dataset cifar99"):
        batches(f"torch/cifar99:{tmp_path}")
    with pytest.raises(ValueError, match="not found or corrupted"):
        batches(f"torch/cifar10:{tmp_path}")

    def missing(*_, **__) -> None:
        sys.stdout.write("Please install something.")
        raise ImportError("No module named 'something'")

    monkeypatch.setattr(timm_sets, "create_dataset", missing)
    with pytest.raises(ValueError, match=r"needs a package .*No module named 'something'.*Install it with pip"):
        batches("hfds/a/b")
    assert capsys.readouterr().out == ""


def test_a_stream_that_breaks_off_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Stream):
        def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
            yield PICTURES[0], 0
            yield PICTURES[1], 1
            raise OSError("bad bytes")

    fake(monkeypatch, Broken(classes={"a": 0, "b": 1}))
    data = batches("hfids/mine", img_size=20, batch_size=2)
    with pytest.raises(ValueError, match=r"breaks off after 2 pictures \(OSError: bad bytes\).*hfds/"):
        list(data)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its files open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.skipif(importlib.util.find_spec("webdataset") is None, reason="needs the optional package webdataset")
@pytest.mark.parametrize("stated", [True, False])
def test_real_shards_are_read_also_by_a_relative_path(stated: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path.parent)
    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as tar:
            for number in range(shard * 5, min(shard * 5 + 5, 9)):
                file = io.BytesIO()
                PICTURES[number].save(file, "PNG")
                for ending, content in (("png", file.getvalue()), ("cls", str(number % 3).encode())):
                    member = tarfile.TarInfo(f"{number}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    split = {"name": "test", "num_samples": 9, "filenames": ["s-0.tar", "s-1.tar"], "shard_lengths": [5, 4]}
    if stated:
        (tmp_path / "_info.json").write_text(json.dumps({"splits": {"test": split}}))
    with nullcontext() if stated else pytest.warns(Doubt, match="name no split: all 2 are taken for test"):
        data = batches(f"wds/mine:{tmp_path.name}", img_size=20, crop_pct=1.0, batch_size=4)
    assert data.images == 9 and data.classes == ("0", "1", "2")
    assert torch.equal(torch.cat([images for images, _ in data]), WANTED)
    assert [t for _, targets in data for t in targets.tolist()] == [0, 1, 2] * 3


def shard(path: Path, *targets: int | None) -> None:
    """A shard of one grey pixel each, with class numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    with tarfile.open(path, "w") as tar:
        for number, target in enumerate(targets):
            parts = [("png", file.getvalue())] + ([] if target is None else [("cls", str(target).encode())])
            for ending, content in parts:
                member = tarfile.TarInfo(f"a/{number}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_shards_are_counted_where_nothing_states_what_they_hold(tmp_path: Path) -> None:
    shard(tmp_path / "mine-train-0.tar", 0, 4)
    shard(tmp_path / "mine-train-1.tar", 2)
    shard(tmp_path / "val" / "0.tar", 1, 1, None)
    assert counted(tmp_path, ("train",), asked="train") == Shards(("mine-train-0.tar", "mine-train-1.tar"), 3, 5)
    held = counted(tmp_path, ("test", "validation", "val"), asked="test")
    assert held == Shards(("val/0.tar",), 3, 2) and held.expression == "val/0.tar|3"
    shard(tmp_path / "test-0.tar", 0)
    assert counted(tmp_path, ("test", "validation", "val"), asked="test") == Shards(("test-0.tar",), 1, 1)
    (tmp_path / "info.json").write_text("{}")
    assert counted(tmp_path, ("train",), asked="train") is None


def test_shards_of_another_split_or_damaged_are_refused(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", 0)
    with pytest.raises(ValueError, match="after the split 'test'; there are shards of train"):
        counted(tmp_path, ("test", "validation", "val"), asked="test")
    (tmp_path / "train-1.tar").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"train-1.tar cannot be read"):
        counted(tmp_path, ("train",), asked="train")


@pytest.mark.parametrize("content", [b"", b"x", b"1" * 30, b"1" * 5000, b"-"])
def test_a_class_that_is_no_number_is_refused(content: bytes, tmp_path: Path) -> None:
    shard_of({"a.cls": content}, tmp_path / "test-0.tar")
    with pytest.raises(ValueError, match="cannot be read|expected at most 1000000"):
        batches(f"wds/mine:{tmp_path}", img_size=20)


def shard_of(files: dict[str, bytes], path: Path, mode: str = "w") -> None:
    picture = io.BytesIO()
    PICTURES[0].save(picture, "PNG")
    with tarfile.open(path, mode) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in {"a.png": picture.getvalue(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["test-{0..99999999}.tar", "a::b.tar", "test|9.tar", "${WDS_X}.tar"])
def test_a_shard_whose_name_stands_for_others_is_refused(name: str, tmp_path: Path) -> None:
    shard_of({"a.cls": b"0"}, tmp_path / name)
    with pytest.raises(ValueError, match="whose name stands for others. Rename it"):
        batches(f"wds/mine:{tmp_path}", img_size=20)


def test_a_shard_that_unpacks_to_gigabytes_or_is_none_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ALTERNET_MAX_IMAGE_BYTES", "1000000")
    shard_of({"b.png": bytes(10**6 + 1)}, tmp_path / "test-0.tar", "w:gz")
    with pytest.raises(ValueError, match="1000001 bytes, more than 1000000; ALTERNET_MAX_IMAGE_BYTES sets that"):
        batches(f"wds/mine:{tmp_path}", img_size=20)
    (tmp_path / "test-0.tar").unlink()
    os.mkfifo(tmp_path / "test-0.tar")
    with pytest.raises(ValueError, match="is a pipe, a socket or a device, expected a file"):
        batches(f"wds/mine:{tmp_path}", img_size=20)


@pytest.mark.parametrize(
    "stated",
    [
        {"filenames": ["/dev/zero"]},
        {"filenames": ["../test-0.tar"]},
        {"filenames": ["test-{0..9}.tar"]},
        {"num_samples": 10**12},
        {"num_samples": float("inf")},
        {"filenames": 7},
    ],
)
def test_a_file_beside_shards_that_says_more_than_is_there_is_refused(stated: dict, tmp_path: Path) -> None:
    shard_of({"a.cls": b"0"}, tmp_path / "test-0.tar")
    split = {"name": "test", "num_samples": 1, "filenames": ["test-0.tar"], "shard_lengths": [1]}
    (tmp_path / "_info.json").write_text(json.dumps({"splits": {"test": split | stated}}))
    with pytest.raises(ValueError, match=r"_info.json cannot be used \(.*Correct it, or take it away"):
        batches(f"wds/mine:{tmp_path}", img_size=20)


def test_a_pipe_where_a_picture_should_be_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        PICTURES[0].save(tmp_path / name / "0.png")
    os.mkfifo(tmp_path / "b" / "1.png")
    data = batches(f"torch/image_folder:{tmp_path}", img_size=20)
    assert sum(len(images) for images, _ in data) == 2
    assert [reason for reason in data.reasons.values() if "it is a pipe" in reason]


@pytest.mark.parametrize("name", ["train-0.tar", "_info.json"])
@pytest.mark.parametrize("stated", [False, True])
def test_a_pipe_among_the_shards_is_not_waited_for(stated: bool, name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    shard(tmp_path / "train-1.tar", 0)
    if stated:
        (tmp_path / "info.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"{name} is a pipe, a socket or a device, expected a file. Remove it"):
        dataset(f"wds/mine:{tmp_path}", split="train")
