"""What a weight file must not be: larger inside than outside, of another kind of numbers, or ambiguous in its names."""

import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from alternet.errors import Doubt
from alternet.files import open_file

ZIP, END, END_64 = b"PK\3\4", b"PK\5\6", b"PK\6\6"
DIRECTORY = 2**24
"""Bytes of an archive's table of contents, or of the header of a safetensors file: some 100 000 tensors."""

FARTHEST_END = 2**16 + 22
"""Bytes from the end of an archive within which its end record begins."""


def require_sound(path: Path) -> None:
    """Refuse a weight file that would take more memory than its size, before any of it is read.

    Raises:
        ValueError: It would, or it is damaged.
        OSError: It cannot be read.
    """
    with open_file(path) as file:
        begun = file.read(8)
        size = file.seek(0, 2)
        file.seek(max(size - FARTHEST_END, 0))
        end = file.read()
    if path.suffix == ".safetensors":
        header = int.from_bytes(begun, "little")
        _require_short(header, "header")
        if header > size - 8:
            raise ValueError(f"its header has {header} bytes, but the file {size}")
    elif begun.startswith(ZIP):
        _require_short(_directory(end), "table of contents")
        try:
            with ZipFile(path) as archive:
                inside = sum(entry.file_size for entry in archive.infolist())
        except (BadZipFile, RuntimeError) as error:
            raise ValueError(f"its archive is damaged: {error}") from error
        if inside > size:
            raise ValueError(f"it unpacks to {inside} bytes, but has {size}; torch.save packs nothing")
        _require_stored(path, size)


def _require_short(length: int, what: str) -> None:
    if length > DIRECTORY:
        raise ValueError(f"its {what} has {length} bytes, expected at most {DIRECTORY}")


def _directory(end: bytes) -> int:
    """The size of an archive's table of contents, as its last bytes state it."""
    place, place_64 = end.rfind(END), end.rfind(END_64)
    sizes = [struct.unpack_from("<I", end, place + 12)[0]] if 0 <= place <= len(end) - 22 else []
    sizes += [struct.unpack_from("<Q", end, place_64 + 40)[0]] if 0 <= place_64 <= len(end) - 56 else []
    if not sizes:
        raise ValueError("its archive has no end: it is cut off")
    return min(sizes)  # where there are both, the one that does not suffice is all ones


def _require_stored(path: Path, size: int) -> None:
    """Refuse tensors whose storage would be larger than all that is in the file; only the header is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        content = torch.load(path, map_location="meta", weights_only=True)
    stack, storages = [content], {}
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
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
    infinite: list[str] = []
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
        if tensor.is_floating_point() and tensor.element_size() > 1 and not bool(tensor.isfinite().all()):
            infinite.append(name)
    if infinite:
        warnings.warn(f"NaN or infinite values in {_counted(infinite)} of the weights.", Doubt, stacklevel=3)


def note_missing(names: Sequence[str], model: str) -> None:
    """Say which tensors of a model its file lacks, so that they are random."""
    if names:
        warnings.warn(f"{model} brings no weights for {_counted(names)}: random values.", Doubt, stacklevel=3)


def _counted(names: Sequence[str]) -> str:
    count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{count} ({', '.join(names[:3])}{', ...' if names[3:] else ''})"


@contextmanager
def no_larger_than(state: Mapping[str, Tensor], source: str) -> Iterator[None]:
    """End the building of a network as soon as it is larger than the weights that are to go into it.

    Raises:
        ValueError: It is; four times the size is granted, for layers that are built to be replaced.
    """
    held = sum(tensor.numel() for tensor in state.values())
    built = 0

    def count(_module: nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal built
        built += 0 if parameter is None else parameter.numel()
        if built > 4 * held + 2**22:
            raise ValueError(f"{source} describes a network of {built} numbers or more, but its weights are {held}.")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


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
