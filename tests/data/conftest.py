"""Small pictures and data sets, in memory and as files."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from alternet.data import ArrayImages, Batches
from alternet.data.eval_transform import EvalTransform

Save = Callable[..., Path]


@pytest.fixture
def made() -> Batches:
    """Thirteen random images of 8 by 8 pixels in three classes."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (13, 8, 8, 3)).astype(np.uint8)
    pictures = ArrayImages(images, np.arange(13) % 3, name="made", classes=("a", "b", "c"))
    return Batches(dataset=pictures, transform=EvalTransform(img_size=(8, 8)), order=np.arange(13), batch_size=4)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a random picture below the temporary folder, the same for the same name."""

    def picture(name: str, size: tuple[int, int] = (40, 30), **options) -> Path:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path

    return picture


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Path, np.ndarray, list[int]]]:
    """Write six images in the files of CIFAR-10 or -100, with torchvision's checksums set to theirs."""

    def write(kind: int) -> tuple[Path, np.ndarray, list[int]]:
        reader = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[kind]
        key = {10: "labels", 100: "fine_labels"}[kind]
        folder = tmp_path / "sets" / reader.base_folder
        folder.mkdir(parents=True)
        data = np.random.RandomState(kind).randint(0, 256, (6, 3072)).astype(np.uint8)
        targets = [3, 1, 4, 1, 5, 9]

        def entry(name: str, content: dict) -> list[str]:
            pickled = pickle.dumps(content, protocol=2).replace(b"\x89\x88\x87", b"K\x00K\x01\x87")  # as Python 2 did
            (folder / name).write_bytes(pickled)
            return [name, hashlib.md5(pickled).hexdigest()]

        names = [f"class {number}" for number in range(kind)]
        meta = entry(reader.meta["filename"], {reader.meta["key"]: names})
        train = [entry(name, {"data": data[::-1], key: targets[::-1]}) for name, _ in reader.train_list]
        test = [entry(name, {"data": data, key: targets}) for name, _ in reader.test_list]
        monkeypatch.setattr(reader, "train_list", train)
        monkeypatch.setattr(reader, "test_list", test)
        monkeypatch.setattr(reader, "meta", reader.meta | {"md5": meta[1]})
        return folder.parent, data.reshape(6, 3, 32, 32).transpose(0, 2, 3, 1), targets

    return write
