"""What a weight file must not be: larger inside than outside, of another kind of numbers, or ambiguous in its names."""

import codecs
import pickletools
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from alternet.errors import Doubt
from alternet.files import open_file
from alternet.seeding import random_state_kept

ZIP, END, END_64, BEFORE_END_64 = b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7"
DIRECTORY = 2**24
"""Bytes of an archive's table of contents, or of the header of a safetensors file: some 100 000 tensors."""

FARTHEST_END = 2**16 + 22
"""Bytes from the end of an archive within which its end record begins."""

PICKLES = 5
"""In a file of torch.save before version 1.6: what it is, three times, the weights, and the list of storages."""


def require_sound(path: Path) -> None:
    """Refuse a weight file that would take more memory than its size, before any of it is read.

    Raises:
        ValueError: It would, or it is damaged.
        OSError: It cannot be read.
    """
    with open_file(path) as file:
        begun = file.read(8)
        size = file.seek(0, 2)
        file.seek(start := max(size - FARTHEST_END, 0))
        end = file.read()
    if path.suffix == ".safetensors":
        header = int.from_bytes(begun, "little")
        _require_short(header, "header")
        if header > size - 8:
            raise ValueError(f"its header has {header} bytes, but the file {size}")
    elif begun.startswith(ZIP):
        _require_short(_directory(end, start), "table of contents")
        try:
            with ZipFile(path) as archive:
                inside = sum(entry.file_size for entry in archive.infolist())
                if inside > size:
                    raise ValueError(f"it unpacks to {inside} bytes, but has {size}; torch.save packs nothing")
                for entry in archive.infolist():
                    if entry.filename.lower().endswith(".pkl"):  # torch does not mind the case
                        with archive.open(entry) as pickled:
                            _require_still(pickled)
        except (BadZipFile, RuntimeError) as error:
            raise ValueError(f"its archive is damaged: {error}") from error
        _require_stored(path, size)
    else:
        with open_file(path) as pickled:
            _require_still(pickled)


def _require_short(length: int, what: str) -> None:
    if length > DIRECTORY:
        raise ValueError(f"its {what} has {length} bytes, expected at most {DIRECTORY}")


def _directory(end: bytes, start: int) -> int:
    """The size of an archive's table of contents, as its last bytes state it, which begin at `start` in the file.

    Python takes the table for what lies right ahead of the end, torch for what lies where the end says; both must be
    one, or what is looked at here is not what is read.
    """
    place = end.rfind(END)
    if not 0 <= place <= len(end) - 22:
        raise ValueError("its archive has no end: it is cut off")
    length, offset = struct.unpack_from("<II", end, place + 12)
    if end[max(place - 20, 0) : place].startswith(BEFORE_END_64) and place >= 76:
        place -= 76
        if not end.startswith(END_64, place):
            raise ValueError("its archive is damaged: its end lies elsewhere than it says")
        length, offset = struct.unpack_from("<QQ", end, place + 40)
    if offset + length != start + place:
        raise ValueError("its archive is damaged: its table of contents lies elsewhere than it says")
    return length


def _require_still(file: IO[bytes]) -> None:
    """Refuse pickles that grow as they are read; none is run here, and what is no pickle is for torch to refuse."""
    called: set[str] = set()
    texts: set[str] = set()
    with suppress(ValueError):  # where one cannot be followed, torch gives up as well
        for _ in range(PICKLES):
            for kind, value, _ in pickletools.genops(file):
                if kind.name == "GLOBAL":
                    called.add(str(value).replace("__builtin__", "builtins"))
                elif isinstance(value, str):
                    texts.add(value)
    if "builtins bytearray" in called or ("_codecs encode" in called and any(map(_makes_bytes_of_bytes, texts))):
        raise ValueError("it makes more of a few bytes as it is read, which no weights do")


def _makes_bytes_of_bytes(name: str) -> bool:
    """Whether a text names a way to encode whose result can be encoded again, and so grows without end."""
    try:
        return codecs.lookup(name).name in ("hex", "base64", "quopri", "uu", "bz2", "zlib")
    except (LookupError, ValueError):
        return False


def _require_stored(path: Path, size: int) -> None:
    """Refuse tensors whose storage would be larger than all that is in the file; only the header is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        content = torch.load(path, map_location="meta", weights_only=True)
    require_stored(content, size)


def require_stored(content: Any, size: int) -> None:
    """Refuse tensors whose storages together are larger than the file that they came from.

    Raises:
        ValueError: They are.
    """
    stack, storages, seen = [content], {}, set()
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping) and id(value) not in seen:  # a pickle may hold one within itself
            seen.add(id(value))
            stack += value.values()
        elif isinstance(value, Tensor) and value.layout == torch.strided:
            storage = value.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    if (stated := sum(storages.values())) > size:
        raise ValueError(f"its tensors would take {stated} bytes, but the file has {size}")


def require_plain(state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are no plain real numbers in memory, and say which are not finite.

    Integers are buffers, such as counters and indices; as weights they are those of a quantised model.

    Raises:
        ValueError: One of them is of another kind.
    """
    for name, tensor in state.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
            found = "quantised" if tensor.is_quantized else "without values" if tensor.is_meta else "sparse"
            raise ValueError(f"{name} is {found}, expected plain numbers")
        weight = name.rpartition(".")[2] in ("weight", "bias")
        if tensor.is_complex() or (weight and not tensor.is_floating_point()):
            raise ValueError(f"{name} is {kind}, expected floating-point numbers")
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > max(stored, 2**20):
            raise ValueError(f"{name} is {list(tensor.shape)}, but only {stored} bytes of it are stored")
    note_infinite(state)


def note_infinite(state: Mapping[str, Tensor]) -> None:
    """Say which tensors are not finite."""
    infinite = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point() and tensor.element_size() > 1 and not bool(tensor.isfinite().all())
    ]
    if infinite:
        warnings.warn(f"NaN or infinite values in {_counted(infinite)} of the weights.", Doubt, stacklevel=3)


def note_missing(names: Sequence[str], model: str) -> None:
    """Say which tensors of a model its file lacks, so that they are random."""
    if names:
        warnings.warn(f"{model} brings no weights for {_counted(names)}: random values.", Doubt, stacklevel=3)


def note_unread(names: Sequence[str], model: str) -> None:
    """Say which tensors of a file have no place in the model that it describes."""
    if names:
        warnings.warn(f"{model} has no place for {_counted(names)} of its weights: left out.", Doubt, stacklevel=3)


def _counted(names: Sequence[str]) -> str:
    count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{count} ({', '.join(names[:3])}{', ...' if names[3:] else ''})"


class LargerError(ValueError):
    """A network is larger than the weights that are to go into it."""


@contextmanager
def no_larger_than(held: int, source: str) -> Iterator[None]:
    """End the building of a network as soon as it is larger than the weights that are to go into it.

    Args:
        held: How many numbers these are, or, where only their size is known, bytes.
        source: What describes the network.

    Raises:
        LargerError: It is; four times the size is granted, for layers that are built to be replaced, and much more
            for what it computes as it is built, such as masks.
    """

    def counting(most: int) -> Callable[[nn.Module, str, Tensor | None], None]:
        built = 0

        def count(_module: nn.Module, _name: str, tensor: Tensor | None) -> None:
            nonlocal built
            built += 0 if tensor is None else tensor.numel()
            if built > most:
                line = f"{source} describes a network of {built} numbers or more, but its weights are {held}."
                raise LargerError(line)

        return count

    with ExitStack() as undo:
        undo.callback(register_module_parameter_registration_hook(counting(4 * held + 2**22)).remove)
        undo.callback(register_module_buffer_registration_hook(counting(4 * held + 2**28)).remove)
        yield


def require_fitting(build: Callable[[], object], state: Mapping[str, Tensor], source: str) -> None:
    """Refuse a network that is larger than the weights that are to go into it, before it takes any memory.

    Args:
        build: Builds it.
        state: The weights.
        source: What describes it.

    Raises:
        LargerError: It is.
    """
    with random_state_kept(), no_larger_than(sum(map(torch.numel, state.values())), source):
        try:
            with torch.device("meta"):
                build()
        except LargerError:
            raise
        except Exception:  # some look at values as they are built; what else is wrong is said where it is built for use
            try:
                build()
            except LargerError:
                raise
            except Exception:
                return


def require_distinct(names: Sequence[str], plain: Sequence[str]) -> None:
    """Refuse names that are the same once their prefixes are taken off.

    Raises:
        ValueError: Two of them are.

    Examples:
        >>> require_distinct(["module.fc.weight", "fc.weight"], ["fc.weight", "fc.weight"])
        Traceback (most recent call last):
        ValueError: module.fc.weight and fc.weight would both be called fc.weight
    """
    first: dict[str, str] = {}
    for name, short in zip(names, plain, strict=True):
        if short in first:
            raise ValueError(f"{first[short]} and {name} would both be called {short}")
        first[short] = name
