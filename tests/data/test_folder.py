"""Folders: order, labels, splits, links, damaged files, transform, and ImageNet's class numbers."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from alternet.data import Augmentation, batches, dataset, folder
from alternet.data.folder import SAMPLED_BYTES, Folder, ImageNet
from alternet.data.image_dataset import UnreadableImage

Save = Callable[..., Path]


def labels(folder: Folder) -> list[str]:
    return [folder.label(index) for index in range(len(folder))]


def test_files_come_in_natural_order_with_the_class_of_their_folder(save: Save, tmp_path: Path) -> None:
    for name in ("c10/b.png", "c2/a10.png", "c2/a2.PNG", "c2/deep/er/z.png", "c10/A.png", "c10/a.png"):
        save(name)
    folder = Folder(tmp_path)
    assert labels(folder) == ["c2/a2.PNG", "c2/a10.png", "c2/deep/er/z.png", "c10/A.png", "c10/a.png", "c10/b.png"]
    assert folder.classes == ("c2", "c10") and folder.labelled
    assert [folder[index][1] for index in range(6)] == folder.targets == [0, 0, 0, 1, 1, 1]


def test_names_that_differ_in_case_alone_have_one_order_everywhere(save: Save, tmp_path: Path) -> None:
    names = ["AB1.png", "AB2.png", "Ab1.png", "aB1.png", "ab1.png", "ab10.png", "ab2.png"]
    for name in names:
        save(name)
    expected = ["AB1.png", "Ab1.png", "aB1.png", "ab1.png", "AB2.png", "ab2.png", "ab10.png"]
    assert labels(Folder(tmp_path)) == expected


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("a.png", "cat/b.png", "dog/c.png"), ("only/a.png",)])
def test_without_two_class_folders_there_are_no_labels(save: Save, tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        save(name)
    data = batches(tmp_path, img_size=16)
    assert not data.labelled and data.classes == () and data.images == len(names)
    assert next(iter(data))[1].tolist() == [-1] * len(names)


def test_hidden_files_and_other_files_are_passed_over(save: Save, tmp_path: Path) -> None:
    for name in ("a.png", ".hidden.png", ".thumbs/b.png", "__MACOSX/c.png", "sub/._d.png"):
        save(name)
    (tmp_path / "notes.txt").write_text("no image")
    os.mkfifo(tmp_path / "pipe.png")
    assert labels(Folder(tmp_path)) == ["a.png"]


def test_links_are_followed_but_not_in_circles(save: Save, tmp_path: Path) -> None:
    save("elsewhere/x.png")
    save("root/a/1.png")
    root = tmp_path / "root"
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "2.png").symlink_to(root / "a" / "1.png")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "3.png").symlink_to(root / "gone.png")
    assert labels(Folder(root)) == ["a/1.png", "a/2.png", "a/3.png", "b/x.png"]
    data = batches(root, img_size=8)
    assert [len(targets) for _, targets in data] == [3] and data.skipped == ("a/3.png",)


def test_damaged_files_are_skipped_counted_and_listed(save: Save, tmp_path: Path) -> None:
    names = [f"{kind}/{number}.jpg" for kind in ("a", "b") for number in range(4)]
    paths = [save(name) for name in names]
    for path in (paths[1], paths[4], paths[5]):
        path.write_bytes(path.read_bytes()[:300])
    for workers in (0, 2):
        data = batches(tmp_path, img_size=16, batch_size=2, workers=workers)
        assert data.skipped == () and data.images == 8 and len(data) == 4
        assert [targets.tolist() for _, targets in data] == [[0], [0, 0], [1, 1]]
        assert data.skipped == ("a/1.jpg", "b/0.jpg", "b/1.jpg")
        shard = data.shard(1, 2)
        assert [targets.tolist() for _, targets in shard] == [[0, 0], [1, 1]]
    frozen = data.frozen(Augmentation(hflip=0.5, mixup=1.0))
    assert sum(len(targets) for _, targets in frozen) == 5 and len(frozen.skipped) == 3
    augmented = data.augmented(Augmentation(hflip=0.5, mixup=1.0))
    assert len(augmented.batch([0, 1, 2], (0,))[1]) == 2
    with pytest.raises(ValueError, match=r"No picture of a batch of 2 .* the first is b/0.jpg"):
        augmented.batch([4, 5], (0,))
    with pytest.raises(UnreadableImage):
        Folder(tmp_path)[1]


def test_a_share_reports_what_it_skips_to_the_whole(save: Save, tmp_path: Path) -> None:
    save("a.jpg")
    save("b.jpg").write_bytes(b"")
    data = batches(tmp_path, batch_size=1, img_size=8)
    assert list(data.shard(1, 2)) == []
    assert data.skipped == ("b.jpg",)


def test_an_empty_or_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no images\. Give a folder with files ending in .*\.jpg"):
        batches(tmp_path)
    with pytest.raises(ValueError, match="There is no folder"):
        batches(tmp_path / "gone")
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(ValueError, match="is not a folder"):
        batches(tmp_path / "file.png")


def test_splits_are_taken_and_number_their_classes_together(save: Save, tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "train/c/1.png", "val/c/2.png", "val/a/2.png", "test/b/3.png"):
        save(name)
    (tmp_path / ".cache").mkdir()
    assert [labels(Folder(tmp_path, split)) for split in ("train", "val", "test")] == [
        ["a/1.png", "b/1.png", "c/1.png"],
        ["a/2.png", "c/2.png"],
        ["b/3.png"],
    ]
    for split in ("train", "val", "test"):
        assert Folder(tmp_path, split).classes == ("a", "b", "c")
    assert dataset(tmp_path, split="validation")[1][1] == 2
    shutil.rmtree(tmp_path / "test")
    assert labels(Folder(tmp_path, "test")) == ["a/2.png", "c/2.png"]
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(ValueError, match="has no test split, only train"):
        batches(tmp_path)


def test_a_folder_without_splits_is_not_trained_on(save: Save, tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "train/1.png"):
        save(name)
    assert len(Folder(tmp_path)) == 3
    with pytest.raises(ValueError, match="has no train/ subfolder"):
        batches(tmp_path, split="train")


def test_pictures_are_resized_and_cropped_as_timm_does(save: Save, tmp_path: Path) -> None:
    for name, size in (("a.png", (90, 50)), ("b.png", (31, 77)), ("c.png", (64, 64))):
        save(name, size=size)
    for size in (32, (24, 40)):
        for images, _ in batches(tmp_path, img_size=size, crop_pct=0.9, interpolation="bilinear"):
            timms: Any = create_transform(size, crop_pct=0.9, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
            for image, file in zip(images, ("a.png", "b.png", "c.png"), strict=True):
                torch.testing.assert_close(image, timms(Image.open(tmp_path / file)))


def test_the_usual_size_is_224_and_grey_is_luma(save: Save, tmp_path: Path) -> None:
    path = save("a.png", size=(224, 224))
    assert batches(tmp_path).shape == (3, 224, 224)
    grey = next(iter(batches(tmp_path, colour=False)))[0]
    np.testing.assert_allclose(grey[0, 0].numpy() * 255, np.asarray(Image.open(path).convert("L")), atol=1e-4)


def test_the_fingerprint_knows_the_files_not_their_place(save: Save, tmp_path: Path) -> None:
    for name in ("here/a/1.bmp", "here/b/2.bmp"):
        assert save(name, size=(80, 60)).stat().st_size > 2 * SAMPLED_BYTES
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    os.utime(tmp_path / "there/a/1.bmp", (1, 1))
    here = batches(tmp_path / "here", img_size=16).fingerprint
    assert here == batches(tmp_path / "there", img_size=16, batch_size=1).fingerprint
    assert here != batches(tmp_path / "here", img_size=16, crop_pct=1.0).fingerprint
    for change in (_first_byte, _last_byte):
        other = tmp_path / change.__name__
        shutil.copytree(tmp_path / "here", other)
        change(other / "b/2.bmp")
        assert batches(other, img_size=16).fingerprint != here
    (tmp_path / "there/b").rename(tmp_path / "there/c")
    assert batches(tmp_path / "there", img_size=16).fingerprint != here


@pytest.mark.parametrize("kind", ["bmp", "tiff", "ppm", "gif", "png", "jpg"])
def test_the_fingerprint_knows_the_pixels_in_the_middle(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3), np.uint8)
    prints = []
    for name, black in (("whole", False), ("half", True)):
        (tmp_path / name).mkdir()
        pixels[40:80] = 0 if black else pixels[40:80]
        Image.fromarray(pixels).save(tmp_path / name / f"a.{kind}")
        prints.append(batches(tmp_path / name, img_size=16).fingerprint)
    assert prints[0] != prints[1]


def _first_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)


def _last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)


def test_imagenet_numbers_its_classes_even_in_part(save: Save, tmp_path: Path) -> None:
    for name in ("train/n01440764/1.JPEG", "val/n01443537/2.JPEG", "val/n15075141/3.JPEG", "val/n01440764/4.JPEG"):
        save(name)
    data = batches(f"imagenet:{tmp_path}", img_size=16)
    assert data.name == "imagenet" and len(data.classes) == 1000 and data.shape == (3, 16, 16)
    assert next(iter(data))[1].tolist() == [0, 1, 999]
    assert [len(dataset(f"imagenet:{tmp_path}", split=split)) for split in ("train", "val")] == [1, 3]


def test_what_is_not_imagenet_is_told_apart(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("val/cat/1.png", "val/dog/1.png", "train/cat/1.png"):
        save(name)
    with pytest.raises(ValueError, match=r"but has 'cat'.*without imagenet:"):
        ImageNet(tmp_path)
    monkeypatch.setenv("ALTERNET_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"no ImageNet in .*imagenet\. Say where it is, imagenet:PATH"):
        batches("imagenet")


def test_only_the_split_that_is_asked_for_is_listed_and_once(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "val"):
        for synset in ("n01440764", "n01443537"):
            for number in range(3):
                save(f"{split}/{synset}/{number}.JPEG")
    listed: list[str] = []
    walk = folder._walk

    def spied(root: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[str, str]]:
        for found in walk(root, seen):
            listed.append(found[0])
            yield found

    monkeypatch.setattr(folder, "_walk", spied)
    assert len(dataset(f"imagenet:{tmp_path}", split="val")) == 6
    assert len(listed) == 6 and all("/val/" in place for place in listed)
    listed.clear()
    assert Folder(tmp_path, "val").classes == ("n01440764", "n01443537")
    assert len(listed) == 6 + 2  # a folder of the other split is a class as soon as it shows an image
