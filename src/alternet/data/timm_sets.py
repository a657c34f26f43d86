"""Data sets of `timm.data.create_dataset`: torchvision's, Hugging Face's, TensorFlow's and WebDataset shards."""

import io
import json
import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from functools import cached_property, partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from timm.data.dataset_factory import create_dataset

from alternet.data.decoding import as_rgb, bounded, decode, unreadable
from alternet.data.image_dataset import UNLABELLED, ImageDataset, Indices, Sample, UnreadableImage, checksum
from alternet.data.shards import counted, numbered
from alternet.errors import first_line
from alternet.files import open_file
from alternet.hub import one_try
from alternet.patience import FINISHED

PREFIXES = {
    "torch": "a data set of torchvision, already downloaded: torch/NAME:PATH",
    "hfds": "a data set of Hugging Face (needs the package datasets)",
    "hfids": "the same, streamed",
    "tfds": "a data set of TensorFlow (needs the package tensorflow-datasets)",
    "wds": "WebDataset shards (extra shards): wds/NAME:PATH",
}

SPLIT_NAMES = {"train": ("train",), "test": ("test", "validation", "val"), "val": ("validation", "val", "test")}
"""What a split may be called, by what was asked for; other names are passed on as they are."""

HUB_READERS = ("imagefolder", "webdataset", "parquet", "arrow", "json", "csv", "text", "pandas", "xml", "hdf5", "lance")
"""What the package datasets takes not for the name of a data set but for a way to read files, which timm gives none."""

SHARD = 2**24
"""More than the pictures of a shard: how much the numbers of those in the next one are larger."""

SAMPLED = 16
"""Pictures that go into the fingerprint."""


class Undecoded(NamedTuple):
    """A picture of a stream as it lies there: its number, its encoded bytes and its class number."""

    number: int
    encoded: bytes
    target: int

    def file(self) -> io.BytesIO:
        """The encoded bytes as a file."""
        return io.BytesIO(self.encoded)


class Shard(NamedTuple):
    """A part of a stream that can be read on its own: its name, and what begins to read it."""

    name: str
    pictures: Callable[[], Iterator[tuple[bytes, Any]]]


class TimmImages(ImageDataset):
    """What the three kinds of timm's data sets have in common.

    Args:
        dataset: What `timm.data.create_dataset` returned.
        name: Name it was asked for by.
        split: Split it was asked for by.
    """

    def __init__(self, dataset: Any, name: str, split: str) -> None:
        self.dataset, self.name, self.asked = dataset, name, split
        self.split = "train" if split.startswith("train") else "test"

    def facts(self, indices: Indices) -> dict[str, Any]:
        """Name, split and which pictures, with a checksum of a few of them."""
        chosen = checksum(np.asarray(indices, dtype=np.int64))
        return {"timm": self.name, "split": self.asked, "indices": chosen, "sha256": self._sample()}

    @abstractmethod
    def _sample(self) -> str: ...


class TorchvisionImages(TimmImages):
    """A data set of torchvision: pairs of a picture and a class number."""

    def __init__(self, dataset: Any, name: str, split: str) -> None:
        super().__init__(dataset, name, split)
        self.classes = tuple(str(name) for name in getattr(dataset, "classes", ()))
        if callable(loader := getattr(dataset, "loader", None)):  # which opens whatever lies at a path
            dataset.loader = partial(_of_a_file, loader)

    @property
    def labelled(self) -> bool:
        """Whether the first picture has a class number."""
        return self[0][1] >= 0

    @cached_property
    def targets(self) -> Any:
        """Class numbers as torchvision's data set lists them, or else as they are read."""
        listed = getattr(self.dataset, "targets", None)
        if listed is not None and len(listed) == len(self) and not getattr(self.dataset, "target_transform", None):
            return [_class_number(target) for target in listed]
        return super().targets

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        try:
            picture, target = self._pair(int(index))
            return picture, _class_number(target)
        except Exception as error:  # what a reader of foreign files raises cannot be known
            raise unreadable(error) from error

    def _pair(self, index: int) -> tuple[Image.Image, Any]:
        with bounded():
            picture, target = self.dataset[index]
            return as_rgb(picture), target

    def _sample(self) -> str:
        spread = np.linspace(0, len(self) - 1, min(SAMPLED, len(self))).astype(int)
        return _checksum_of(self.samples(spread.tolist()))


class ReaderImages(TorchvisionImages):
    """A data set behind one of timm's readers, which hands out encoded files; we decode them ourselves.

    timm's own data set puts the next picture in the place of one that it cannot read.
    """

    def __init__(self, dataset: Any, name: str, split: str) -> None:
        super().__init__(dataset, name, split)
        self.classes = _declared_classes(dataset.reader)

    def _pair(self, index: int) -> tuple[Image.Image, Any]:
        file, target = self.dataset.reader[index]
        with file:
            return decode(file), target


class StreamedImages(TimmImages):
    """A data set that can only be read from its beginning to its end, in its own order."""

    indexable = False

    def __init__(self, dataset: Any, name: str, split: str) -> None:
        super().__init__(dataset, name, split)
        reader = dataset.reader
        if hasattr(reader, "dist_rank"):  # batches are shared out later, by us
            reader.dist_rank, reader.dist_num_replicas, reader.global_num_workers = 0, 1, 1

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return len(self.dataset) or sum(1 for _ in self._stream())

    @cached_property
    def labelled(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] - read late, and once
        """Whether the first picture has a class number."""
        return next((_class_number(target) for _, target in self._stream()), UNLABELLED) >= 0

    @cached_property
    def classes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride] - read late
        """Names that the data set declares; otherwise numbers up to the largest class, found in one pass."""
        if declared := _declared_classes(self.dataset.reader) or self._stated_classes:
            return declared
        top = max((_class_number(target) for _, target in self._stream()), default=UNLABELLED)
        return numbered(top + 1)

    @property
    def _stated_classes(self) -> tuple[str, ...]:
        """What `_info.json` beside the shards says: `class_names`, or how many classes there are, `num_classes`."""
        info = getattr(self.dataset.reader, "info", None) or {}
        return tuple(map(str, info.get("class_names") or numbered(int(info.get("num_classes") or 0))))

    def require_trainable(self) -> None:
        """Refuse a stream that does not say what training must know beforehand.

        Raises:
            ValueError: It does not, or it is neither of WebDataset shards nor of the Hub.
        """
        reader = self.dataset.reader
        if not (shards := hasattr(reader, "split_info")) and not _of_the_hub(reader):
            raise ValueError(
                f"{self.name!r} can only be streamed, and of streams wds/ and hfids/ alone can be trained on. "
                "Unpack it into a folder with one subfolder a class."
            )
        lacking = [] if reader.num_samples else [f'"num_samples" of the split {self.asked!r}']
        lacking += [] if _declared_classes(reader) or self._stated_classes else ['"class_names", a list']
        if lacking:
            where = (
                f"into {Path(reader.root) / '_info.json'}" if shards else "into its card, or use hfds/ in place of it"
            )
            raise ValueError(
                f"{self.name!r} does not state {' nor '.join(lacking)}, which training must know beforehand. Write it "
                f"{where}."
            )

    def undecoded(self, draws: np.random.Generator) -> Iterator[Undecoded]:
        """All pictures as they lie in the shards, these in a random order.

        Raises:
            ValueError: A shard is missing or damaged.
        """
        reader, read = self.dataset.reader, 0
        shards = _shards_of_the_hub(reader) if _of_the_hub(reader) else _shards_of_files(reader)
        for number in draws.permutation(len(shards)):
            try:
                for place, (encoded, target) in enumerate(shards[number].pictures()):
                    yield Undecoded(int(number) * SHARD + place, encoded, int(target))
                    read += 1
            except Exception as error:  # what is in foreign files cannot be known
                raise ValueError(
                    f"{shards[number].name} breaks off after {read} pictures ({type(error).__name__}: {error}). "
                    "Repair the shard."
                ) from error

    def label(self, index: int) -> str:
        """The number of a picture, or shard and place of one that training could not read."""
        shard, place = divmod(index, SHARD)
        return super().label(index) if not shard else f"{self.name}[shard {shard}, {place}]"

    def __getitem__(self, index: int) -> Sample:
        sample = next(iter(self.samples([index])))
        if isinstance(sample, UnreadableImage):
            raise sample
        return sample

    def samples(self, indices: Indices) -> Iterator[Sample | UnreadableImage]:
        """The pictures with these numbers, which must ascend, in one pass.

        The reader leaves out what it cannot decode; for as many the stream ends early, and they count as unreadable.

        Raises:
            ValueError: The reader itself broke off at a damaged picture.
        """
        wanted = iter(int(index) for index in indices)
        index = next(wanted, None)
        for number, (picture, target) in enumerate(self._stream()):
            if index is None:
                return
            if number == index:
                yield as_rgb(picture), _class_number(target)
                index = next(wanted, None)
        while index is not None:
            yield UnreadableImage("the stream ended before this picture")
            index = next(wanted, None)

    def _stream(self) -> Iterator[tuple[Image.Image, Any]]:
        number = 0
        try:
            pairs = iter(self.dataset)
            while True:
                with bounded():
                    pair = next(pairs, None)
                if pair is None:
                    return
                number += 1
                FINISHED.one()
                yield pair
        except Exception as error:  # a stream cannot be taken up again behind the damage
            raise ValueError(
                f"{self.name} breaks off after {number} pictures ({type(error).__name__}: {error}). "
                "Repair the data, or read it by index (hfds/ in place of hfids/), which skips what is damaged."
            ) from error

    def _sample(self) -> str:
        first = islice(self._stream(), SAMPLED)
        return _checksum_of((as_rgb(picture), _class_number(target)) for picture, target in first)


def _shards_of_files(reader: Any) -> list[Shard]:
    """WebDataset shards: tar files, of which the reader's own way to read them decodes every picture."""
    webdataset: Any = import_module("webdataset")  # which makes its names when they are asked for
    key = reader.target_key or reader.split_info.alt_label

    def pictures(url: str) -> Iterator[tuple[bytes, Any]]:
        for sample in webdataset.DataPipeline(webdataset.SimpleShardList([url]), webdataset.tarfile_to_samples()):
            target = json.loads(sample["json"])[key] if key and "json" in sample else sample["cls"]
            yield next(sample[kind] for kind in reader.input_key.split(";") if kind in sample), target

    urls = [os.path.join(reader.root, name) for name in reader.split_info.filenames]
    return [Shard(url, partial(pictures, url)) for url in urls]


def _of_the_hub(reader: Any) -> bool:
    """Whether a reader streams a data set of Hugging Face."""
    return hasattr(getattr(reader, "builder", None), "as_streaming_dataset")


def _shards_of_the_hub(reader: Any) -> list[Shard]:
    """The files of a data set of Hugging Face, whose pictures are handed out encoded."""
    stream = reader.builder.as_streaming_dataset(split=reader.split).decode(False)

    def pictures(number: int) -> Iterator[tuple[bytes, Any]]:
        # plain iteration would give a worker of a DataLoader its own shards alone; `iter` gives it all
        for rows in stream.shard(num_shards=stream.num_shards, index=number).iter(batch_size=1):
            (picture,), (target,) = rows[reader.input_key], rows[reader.target_key]
            if picture["bytes"] is None:
                with import_module("fsspec").open(picture["path"], "rb") as file:  # which datasets brings
                    yield file.read(), target
            else:
                yield picture["bytes"], target

    return [Shard(f"file {number} of {reader.name}", partial(pictures, number)) for number in range(stream.num_shards)]


def timm_set(text: str, split: str, default_root: Path) -> TimmImages:
    """Open a data set by a name such as `torch/cifar10`, `hfds/USER/NAME` or `wds/NAME:PATH`.

    Raises:
        ValueError: timm cannot open it; the message says why.
    """
    found = re.fullmatch(r"([^:]+):(.+)", text)
    if found and not re.match(r"[/~.]|\w+://", found[2]) and not text.lower().startswith(("torch/", "wds/")):
        found = None  # a version as in `tfds/NAME:1.2.0` is no path
    name, root = (text, None) if found is None else (found[1], found[2])
    if root is not None and "://" not in root:
        root = str(Path(root).expanduser())
    prefix, _, rest = name.partition("/")
    prefix = prefix.lower()
    if prefix in ("hfds", "hfids") and rest in HUB_READERS:
        raise ValueError(
            f"{prefix}/{rest} reads the files of the current folder, whatever path is given. "
            f"Give the folder of images alone: {root or 'PATH'}."
        )
    if root is None and prefix in ("torch", "wds"):
        root = str(default_root / rest if prefix == "wds" else default_root)
    shards = None
    if prefix == "wds" and root is not None and "://" not in root:
        shards = counted(Path(root), SPLIT_NAMES.get(split, (split,)), asked=split)
    dataset = _opened(f"{prefix}/{rest}", root, shards.expression if shards else split)
    if shards is not None and shards.classes:
        dataset.reader.info = {"num_classes": shards.classes}
    kinds = {"torch": TorchvisionImages, "hfds": ReaderImages}
    return kinds.get(prefix, StreamedImages)(dataset, name, split)


def _opened(name: str, root: str | None, split: str) -> Any:
    """The data set under the first name of the split that it knows."""
    reasons = []
    if asks_the_hub := name.startswith(("hfds/", "hfids/")):
        with suppress(ImportError):  # which timm tells; imported while the hub is out of reach it would stay without
            import_module("datasets")
    for called in SPLIT_NAMES.get(split, (split,)):
        try:
            # timm prints what to install; so do we
            with redirect_stdout(io.StringIO()), one_try(asked=asks_the_hub):
                return create_dataset(name, root=root, split=called, is_training=False, download=False)
        except ImportError as error:
            raise ValueError(
                f"Data set {name!r} needs a package that is not installed ({error}). Install it with pip."
            ) from error
        except Exception as error:  # every library behind timm has errors of its own
            reasons.append((error, first_line(error)))
            if isinstance(error, ConnectionError):  # by another name of the split it would not answer either
                break
    error, reason = reasons[0]
    where = "" if root is None else f" in {root}"
    raise ValueError(
        f"timm cannot open {name!r}{where}: {reason}. Check the name, give its folder as {name}:PATH, and "
        "download it beforehand."
    ) from error


def _of_a_file(loader: Callable[[str], Any], path: str) -> Any:
    """What somebody else's function reads at a path, if there is a file."""
    open_file(Path(path)).close()
    return loader(path)


def _class_number(target: Any) -> int:
    return UNLABELLED if target is None else int(target)


def _declared_classes(reader: Any) -> tuple[str, ...]:
    numbers = getattr(reader, "class_to_idx", None) or {}
    return tuple(str(name) for name in sorted(numbers, key=numbers.__getitem__))


def _checksum_of(samples: Iterator[Sample | UnreadableImage]) -> str:
    read = [sample for sample in samples if not isinstance(sample, UnreadableImage)]
    return checksum(*[np.asarray(picture) for picture, _ in read], np.array([target for _, target in read]))
