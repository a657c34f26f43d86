"""CIFAR from files in the published format, and the refusal of any other pickle."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alternet.data import batches, dataset

Write = Callable[[int], tuple[Path, np.ndarray, list[int]]]


@pytest.mark.parametrize("kind", [10, 100])
def test_the_published_files_are_read(cifar: Write, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    root, images, targets = cifar(kind)
    data = batches(f"cifar{kind}:{root}", batch_size=4)
    assert data.name == f"cifar{kind}" and data.shape == (3, 32, 32) and len(data.classes) == kind
    read = np.concatenate([part.numpy() for part, _ in data])
    np.testing.assert_allclose(read, images.transpose(0, 3, 1, 2) / 255, atol=1e-7)
    assert [int(t) for _, part in data for t in part] == targets
    train = dataset(f"cifar{kind}:{root}", split="train")
    assert len(train) == {10: 30, 100: 6}[kind] and train[0][1] == 9
    monkeypatch.setenv("ALTERNET_DATA", str(root))
    assert batches(f"cifar{kind}").fingerprint == data.fingerprint
    inner = next(root.iterdir())
    assert batches(f"cifar{kind}:{inner}").fingerprint == data.fingerprint


def test_the_normalisation_is_the_papers(cifar: Write) -> None:
    root, *_ = cifar(100)
    data = batches(f"cifar100:{root}", img_size=8)
    assert data.mean == (0.5071, 0.4867, 0.4408) and data.std == (0.2675, 0.2565, 0.2761)
    assert next(iter(data))[0].shape == (6, 3, 8, 8)


@pytest.mark.parametrize("kind", [10, 100])
@pytest.mark.parametrize("split", ["train", "test"])
def test_grey_images_are_normalised_by_the_grey_values_of_the_training_images(
    cifar: Write, kind: int, split: str
) -> None:
    """Channels that vary independently, as here, give grey values that vary far less than any of them."""
    root, *_ = cifar(kind)
    (grey,) = (part for part, _ in batches(f"cifar{kind}:{root}", split="train", colour=False))
    data = batches(f"cifar{kind}:{root}", split=split, colour=False)
    assert data.mean == pytest.approx((grey.double().mean().item(),), abs=1e-6)
    assert data.std == pytest.approx((grey.double().std(correction=0).item(),), abs=1e-6)


def test_the_age_of_the_files_is_no_reason_to_warn(cifar: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root, *_ = cifar(10)
    load = pickle.load

    def complaining(*args, **kwargs) -> object:
        warnings.warn("align should be a boolean", np.exceptions.VisibleDeprecationWarning, stacklevel=2)
        return load(*args, **kwargs)

    monkeypatch.setattr("torchvision.datasets.cifar.pickle.load", complaining)
    assert batches(f"cifar10:{root}").images == 6


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("touched").absolute(),))


@pytest.mark.parametrize("file", ["test", "train", "meta"])
def test_a_pickle_that_would_run_code_is_refused(
    cifar: Write, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, *_ = cifar(100)
    monkeypatch.chdir(tmp_path)
    poison = pickle.dumps(Evil())
    (root / "cifar-100-python" / file).write_bytes(poison)
    with pytest.raises(ValueError, match="another checksum"):
        batches(f"cifar100:{root}")
    assert not Path("touched").exists()
    pickle.loads(poison)
    assert Path("touched").exists()  # it would have


def test_missing_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz there, set \$ALTERNET_DATA, or say cifar10:PATH"):
        batches(f"cifar10:{tmp_path}")
