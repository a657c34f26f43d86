"""Published folders: arrays and trees, the same subset everywhere, and what is refused."""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.data import ArrayImages, Batches, batches
from alternet.data.corrupted_sets import paired
from alternet.data.eval_transform import EvalTransform
from alternet.data.folder import ImageNet

NAMES = ("fog", "snow")
N = 7


def clean_arrays(n: int = N, *, classes: int = 3, order: tuple[int, ...] | None = None) -> Batches:
    random = np.random.RandomState(0)
    targets = np.arange(n) % classes
    images = random.randint(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    names = [str(k) for k in range(classes)]
    pictures = ArrayImages(images, targets, name="cifar", classes=names)
    chosen = np.arange(n) if order is None else np.array(order)
    return Batches(dataset=pictures, transform=EvalTransform(img_size=(32, 32)), order=chosen, batch_size=2)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A folder like CIFAR-10-C: the pixel [0, 0] holds severity and number of the image."""
    root = tmp_path / "CIFAR-10-C"
    root.mkdir()
    np.save(root / "labels.npy", np.tile(np.arange(N) % 3, 5).astype(np.uint8))
    for turn, name in enumerate(NAMES):
        images = np.full((5 * N, 32, 32, 3), turn, np.uint8)
        images[:, 0, 0, 0] = np.repeat(np.arange(1, 6), N)
        images[:, 0, 0, 1] = np.tile(np.arange(N), 5)
        np.save(root / f"{name}.npy", images)
    return root


def files(root: Path, colour: int, names: tuple[str, ...], side: int = 32) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (colour, colour, colour)).save(root / name, format="PNG")


FILES = ("n01440764/ILSVRC2012_val_00000293.JPEG", "n01440764/ILSVRC2012_val_00002138.JPEG", "n01443537/x.JPEG")


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """A folder like ImageNet-C, with one of the two corruptions in a folder of its family."""
    root = tmp_path / "ImageNet-C"
    for turn, name in enumerate(("fog", "weather/snow")):
        for severity in range(1, 6):
            files(root / name / str(severity), 100 * turn + severity, FILES)
    return root


@pytest.fixture
def clean_files(tmp_path: Path) -> Path:
    files(tmp_path / "val", 200, FILES, side=64)
    return tmp_path / "val"


def bytes_of(found: Batches) -> torch.Tensor:
    return (torch.cat([x for x, _ in found]) * 255).round().byte()


def test_a_subset_is_the_same_images_of_every_array(arrays: Path):
    clean = clean_arrays(order=(1, 4, 5))
    both = paired(clean, arrays, NAMES)
    torch.testing.assert_close(bytes_of(both), bytes_of(clean))
    for turn, name in enumerate(NAMES):
        for severity in range(1, 6):
            found = both.corrupted(name, severity)
            pixels = bytes_of(found)
            assert pixels[:, 0, 0, 0].tolist() == [severity] * 3
            assert pixels[:, 1, 0, 0].tolist() == [1, 4, 5]
            assert set(pixels[:, 2].flatten().tolist()) == {turn}
            assert [len(y) for _, y in found] == [2, 1]
            assert torch.cat([y for _, y in found]).tolist() == [1, 1, 2]


def test_a_subset_is_the_same_files_of_every_tree(trees: Path, clean_files: Path):
    clean = batches(clean_files, img_size=32)
    few = replace(clean, order=np.array([0, 2]))
    both = paired(few, trees, NAMES)
    for turn, name in enumerate(NAMES):
        found = both.corrupted(name, 4)
        assert set(bytes_of(found).flatten().tolist()) == {100 * turn + 4}
        assert torch.cat([y for _, y in found]).tolist() == [0, 1]


def test_published_files_are_cut_already(trees: Path, clean_files: Path):
    for severity in range(1, 6):
        framed = np.zeros((64, 64, 3), np.uint8)
        framed[4:-4, 4:-4] = 255
        Image.fromarray(framed).save(trees / "fog" / str(severity) / FILES[2], format="PNG")
    clean = batches(clean_files, img_size=48)
    assert clean.transform.crop_pct < 1
    last = bytes_of(paired(clean, trees, NAMES).corrupted("fog", 1))[-1]
    assert last[:, :2].max() < 20 and last[:, -2:].max() < 20  # the frame is still there


def test_an_unreadable_or_missing_file_is_skipped_and_listed(trees: Path, clean_files: Path):
    (trees / "fog" / "2" / FILES[0]).write_bytes(b"no picture")
    (trees / "fog" / "2" / FILES[2]).unlink()
    clean = batches(clean_files, img_size=32)
    both = paired(clean, trees, NAMES)
    assert [y.tolist() for _, y in both.corrupted("fog", 2)] == [[0]]
    assert both.skipped == (FILES[0], FILES[2])
    assert sum(len(y) for _, y in both.corrupted("fog", 3)) == 3


def test_the_fingerprint_follows_the_content_and_not_the_place(arrays: Path, tmp_path: Path):
    clean = clean_arrays()
    both = paired(clean, arrays, NAMES)
    assert both.name == "cifar with CIFAR-10-C" and both.folder == "CIFAR-10-C"
    elsewhere = shutil.copytree(arrays, tmp_path / "elsewhere" / "CIFAR-10-C")
    (elsewhere / "README.txt").write_text("extra files do not matter")
    np.save(elsewhere / "saturate.npy", np.zeros(3))
    assert paired(clean, elsewhere, NAMES).fingerprint == both.fingerprint != clean.fingerprint
    assert paired(clean, arrays, NAMES[:1]).fingerprint != both.fingerprint
    changed = np.load(elsewhere / "snow.npy")
    changed[-1, 5, 5] += 1
    np.save(elsewhere / "snow.npy", changed)
    assert paired(clean, elsewhere, NAMES).fingerprint != both.fingerprint
    assert both.shard(1, 2).images == 3


def test_the_fingerprint_of_a_tree_sees_its_files(trees: Path, clean_files: Path, tmp_path: Path):
    clean = batches(clean_files, img_size=32)
    first = paired(clean, trees, NAMES).fingerprint
    moved = trees.rename(tmp_path / "moved")
    assert paired(clean, moved, NAMES).fingerprint == first
    files(moved / "fog" / "5", 17, FILES[1:2])
    assert paired(clean, moved, NAMES).fingerprint != first


@pytest.mark.parametrize(("classes", "benchmark"), [(10, "cifar10-c"), (100, "cifar100-c"), (7, "")])
def test_cifar_is_known_by_its_classes_and_size(tmp_path: Path, classes: int, benchmark: str):
    n = 10_000
    np.save(tmp_path / "labels.npy", np.tile(np.arange(n) % classes, 5))
    np.lib.format.open_memmap(
        tmp_path / "fog.npy", mode="w+", dtype=np.uint8, shape=(5 * n, 32, 32, 3)
    )  # a sparse file
    assert paired(clean_arrays(n, classes=classes), tmp_path, ("fog",)).benchmark == benchmark


def test_a_small_set_is_no_benchmark(arrays: Path, trees: Path, clean_files: Path):
    assert paired(clean_arrays(), arrays, NAMES).benchmark == ""
    assert paired(batches(clean_files, img_size=32), trees, NAMES).benchmark == ""
    assert paired(batches(f"imagenet:{clean_files}", img_size=32), trees, NAMES).benchmark == ""


def test_imagenet_is_known_by_all_its_classes(tmp_path: Path, clean_files: Path, trees: Path):
    clean = batches(f"imagenet:{clean_files}", img_size=32)
    pictures = clean.dataset
    assert isinstance(pictures, ImageNet)
    pictures.files += [Path(synset) / "y.JPEG" for synset in pictures.classes]
    both = paired(clean, trees, NAMES)
    assert both.benchmark == "imagenet-c"
    assert torch.cat([y for _, y in both.corrupted("fog", 1)]).tolist() == [0, 0, 1]


def refused(clean: Batches, folder: Path, match: str, corruptions: tuple[str, ...] = NAMES) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        paired(clean, folder, corruptions)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_none_of_them_is_refused(tmp_path: Path):
    refused(clean_arrays(), tmp_path / "nowhere", "There is no folder .*nowhere of corrupted images")
    refused(clean_arrays(), tmp_path, r"lacks fog/1, fog/2, .*snow/5, expected folders NAME/1 to NAME/5, or arrays")


def test_what_is_missing_is_listed(arrays: Path, trees: Path, clean_files: Path):
    refused(clean_arrays(), arrays, r"CIFAR-10-C lacks frost, expected a file NAME.npy .*only=NAME", (*NAMES, "frost"))
    shutil.rmtree(trees / "fog" / "3")
    refused(batches(clean_files, img_size=32), trees, r"ImageNet-C lacks fog/3, expected folders")


def test_a_truncated_array_is_refused(arrays: Path):
    path = arrays / "snow.npy"
    path.write_bytes(path.read_bytes()[:-100])
    refused(clean_arrays(), arrays, r"snow.npy cannot be read as an array \(.*\). It is damaged or not the published")
    path.write_bytes(b"")
    refused(clean_arrays(), arrays, r"snow.npy cannot be read as an array")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_file_that_could_run_code_is_refused(arrays: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for damage in ("objects", "pickle"):
        if damage == "objects":
            np.save(arrays / "fog.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
        else:
            (arrays / "fog.npy").write_bytes(pickle.dumps(Bomb()))
        refused(clean_arrays(), arrays, r"fog.npy cannot be read as an array")
    assert not Path("exploded").exists()


def test_arrays_of_another_shape_are_refused(arrays: Path):
    np.save(arrays / "fog.npy", np.zeros((5 * N, 32, 32, 3), np.float32))
    refused(clean_arrays(), arrays, r"fog.npy holds float32 \[35, 32, 32, 3\], expected uint8 \[35, h, w, 3\]")
    np.save(arrays / "fog.npy", np.zeros((5 * N - 1, 32, 32, 3), np.uint8))
    refused(clean_arrays(), arrays, r"fog.npy holds uint8 \[34, 32, 32, 3\]")


def test_labels_of_other_images_are_refused(arrays: Path):
    refused(
        clean_arrays(8), arrays, r"labels.npy holds uint8 \[35\], expected 40 class numbers: five severities of the 8"
    )
    labels = np.load(arrays / "labels.npy")
    labels[N + 4] += 1  # one image at severity 2
    np.save(arrays / "labels.npy", labels)
    refused(clean_arrays(), arrays, r"1 of 7 images of 'cifar' have another class than in .*labels.npy")
    paired(clean_arrays(order=(0, 1, 2)), arrays, NAMES)


def test_trees_need_the_files_they_were_made_from(trees: Path, tmp_path: Path):
    refused(clean_arrays(), trees, r"paired with the clean ones by name, but 'cifar' is no folder")
    files(tmp_path / "others", 1, ("a/1.png", "b/2.png"))
    refused(
        batches(tmp_path / "others", img_size=32), trees, r"fog/1 has none of the files of 'others', for example a/1"
    )


def test_labels_of_data_without_a_list_of_them_are_read(arrays: Path):
    clean = clean_arrays()
    tensors = Batches.of(torch.rand(N, 3, 32, 32), torch.arange(N) % 3)
    assert paired(tensors, arrays, NAMES).name == "tensors with CIFAR-10-C"
    del clean.dataset.targets  # pyright: ignore[reportAttributeAccessIssue]
    clean.dataset.samples = lambda indices: iter([(Image.new("RGB", (32, 32)), int(i) % 3) for i in indices])
    assert paired(clean, arrays, NAMES).images == N


def test_a_pipe_in_place_of_an_array_is_not_waited_for(arrays: Path):
    (arrays / "fog.npy").unlink()
    (arrays / "labels.npy").unlink()
    os.mkfifo(arrays / "labels.npy")
    np.save(arrays / "fog.npy", np.zeros(1))
    refused(clean_arrays(), arrays, "labels.npy cannot be read as an array .it is a pipe, expected a file.")
