"""Weight files that are none, that run code, that are larger inside than outside, or that do not fit."""

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from tests.hostile.battery import EXECUTED, Case, said
from torch import Tensor, nn

from alternet.errors import Doubt
from alternet.subject.loading import check
from alternet.subject.weights import fill, path_of, read_weights

READ = r"^read 2 tensors$"
CANNOT = "cannot be read as weights"
NEITHER = "is no weight file that can be read: expected one of"


class Net(nn.Module):
    """What the weights are put into."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)


GOOD = {"fc.weight": torch.ones(3, 4), "fc.bias": torch.ones(3)}


class Code:
    """A pickle that runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {EXECUTED}",)


class Evaluated(Code):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({EXECUTED!r}, 'w')",)


def saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def tensors(state: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save(state)


def header(content: Any, data: bytes = bytes(60), length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], start: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def repacked(
    change: Callable[[str, bytes], bytes | None], packing: int = zipfile.ZIP_STORED, content: Any = None
) -> bytes:
    """A file of torch.save with its members changed."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(GOOD if content is None else content))) as whole,
        zipfile.ZipFile(file, "w", packing) as made,
    ):
        for name in whole.namelist():
            if (data := change(name, whole.read(name))) is not None:
                made.writestr(name, data)
    return file.getvalue()


def without(part: str) -> bytes:
    return repacked(lambda name, data: None if name.endswith(part) else data)


def stated(before: bytes, after: bytes) -> bytes:
    """The same with another number in its pickle."""

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        assert before in data
        return data.replace(before, after, 1)

    return repacked(change)


def larger(elements: int) -> bytes:
    """The storage of the first tensor, 12 elements, with so many."""
    return stated(b"K\x0ct", b"J" + struct.pack("<i", elements) + b"t")


def many(count: int) -> bytes:
    """An archive whose table of contents alone is large: so many empty entries."""
    table = b"".join(
        b"PK\1\2"
        + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0)
        + b"%04x" % (n % 65536)
        for n in range(count)
    )
    local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, 0, 0, 4, 0) + b"0000"
    stated = min(count, 65535)
    return local + table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, stated, stated, len(table), len(local), 0)


def bomb() -> bytes:
    """A member of 100 MB in 100 kB."""
    return repacked(lambda name, data: bytes(100 * 2**20) if name.endswith("data/0") else data, zipfile.ZIP_DEFLATED)


def overlapping() -> bytes:
    """A thousand members that are one and the same part of the file."""
    name, data = b"archive/data/0", bytes(2**16)
    local = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, 0, len(data), len(data), len(name), 0) + name + data
    one = (
        b"PK\1\2"
        + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, len(data), len(data), len(name), 0, 0, 0, 0, 0, 0)
        + name
    )
    return local + one * 1000 + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1000, 1000, len(one) * 1000, len(local), 0)


def archived() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name in ("storages", "tensors", "pickle"):
            made.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def script() -> bytes:
    """What torch.jit.save writes, as far as its name goes."""
    file = io.BytesIO(saved(GOOD))
    with zipfile.ZipFile(file, "a") as made:
        made.writestr("archive/constants.pkl", b"\x80\x02).")
    return file.getvalue()


def elsewhere() -> bytes:
    """Two tables of contents: Python finds the one ahead of the end, torch the one that the end names, with a bomb."""
    hidden, shown = bomb(), io.BytesIO()
    table, place = struct.unpack_from("<II", hidden, hidden.rfind(b"PK\5\6") + 12)
    with zipfile.ZipFile(shown, "w") as made:
        made.writestr("a", b"")
    behind = shown.getvalue()
    own = struct.unpack_from("<I", behind, behind.rfind(b"PK\5\6") + 12)[0]
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, own, place, 0)
    return hidden[: place + table] + behind[: behind.rfind(b"PK\5\6")] + end


def two_ends() -> bytes:
    """An archive of a large table of contents, in whose comment another end states a small one."""
    whole = many(500_000)
    comment = b"PK\6\6" + bytes(60)
    return whole[:-2] + struct.pack("<H", len(comment)) + comment


def calling(name: bytes, arguments: bytes, times: int = 1) -> bytes:
    """A pickle that calls something that torch lets it, with what it gave the time before."""
    return b"\x80\x02" + b"".join((b"c" + name + b"\n" + arguments + b"R",) * times) + b"."


def doubling(times: int) -> bytes:
    """A pickle that writes a text as hexadecimal digits, and those again, and again."""
    text = b"X\1\0\0\0aX\6\0\0\0latin1\x86R"
    again = b"q\1c_codecs\nencode\nh\1X\3\0\0\0hex\x86R" * times
    return b"\x80\x02c_codecs\nencode\n" + text + again + b"."


def pickled(content: bytes) -> bytes:
    return repacked(lambda name, data: content if name.endswith("data.pkl") else data)


def _within_itself() -> dict[str, Any]:
    content: dict[str, Any] = dict(GOOD)
    content["again"] = content
    return content


HUGE = b"(\x8a\x05" + struct.pack("<q", 2**35)[:5] + b"t"
"""The arguments of a call: 32 GiB."""


def of(**changed: Tensor | None) -> dict[str, Tensor]:
    state = {**GOOD, **{key.replace("__", "."): value for key, value in changed.items()}}
    return {key: value for key, value in state.items() if value is not None}


def nan(value: float) -> Tensor:
    made = torch.ones(3, 4)
    made[1, 2] = value
    return made


def legacy(content: Any) -> bytes:
    return saved(content, _use_new_zipfile_serialization=False)


FILES: dict[str, tuple[str, bytes, str]] = {
    "good.safetensors": ("", tensors(GOOD), READ),
    "good.pth": ("", saved(GOOD), READ),
    "old.pth": ("of the old format", legacy(GOOD), READ),
    "half.pth": ("of half precision", saved({k: v.half() for k, v in GOOD.items()}), READ),
    "wrapped.pth": ("of a training script", saved({"state_dict": {f"module.{k}": v for k, v in GOOD.items()}, "epoch": 3}), READ),
    "ordered.pth": ("in an OrderedDict", saved(OrderedDict(GOOD)), READ),
    "repacked.pth": ("packed anew, small", repacked(lambda name, data: data, zipfile.ZIP_DEFLATED), READ),
    "nothing.pth": ("", b"", CANNOT),
    "nothing.safetensors": ("", b"", CANNOT),
    "text.pth": ("", b"not weights", CANNOT),
    "text.safetensors": ("", b"not weights", CANNOT),
    "zeros.pth": ("", bytes(4096), CANNOT),
    "zeros.safetensors": ("", bytes(4096), f"{CANNOT}|holds no weights"),
    "random.pth": ("", np.random.RandomState(0).bytes(4096), CANNOT),
    "random.safetensors": ("", np.random.RandomState(1).bytes(4096), "its header has .* bytes, expected at most 16777216"),
    "page.pth": ("an error page of the hub", b"<html>404</html>", CANNOT),
    "lfs.safetensors": ("a pointer of git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", CANNOT),
    "cut.pth": ("cut off", saved(GOOD)[:-200], CANNOT),
    "cut.safetensors": ("cut off", tensors(GOOD)[:-8], CANNOT),
    "longer.safetensors": ("with more behind it", tensors(GOOD) + bytes(8), CANNOT),
    "magic.pth": ("the first four bytes of an archive", b"PK\3\4", "its archive has no end: it is cut off"),
    "empty.pth": ("an empty archive", b"PK\5\6" + bytes(18), CANNOT),
    "code.pth": ("a command", pickle.dumps({"fc.weight": Code()}), "holds objects other than tensors"),
    "code.bin": ("a command in an archive", saved({"fc.weight": Code()}), "holds objects other than tensors"),
    "eval.pth": ("an expression", saved({"a": Evaluated()}), "holds objects other than tensors"),
    "old-code.pth": ("a command in the old format", legacy({"a": Code()}), "holds objects other than tensors"),
    "global.pth": ("a function of the system", b"cposix\nsystem\n(Vtouch " + EXECUTED.encode() + b"\ntR.", "other than tensors"),
    "import.pth": ("a module of nobody's", b"cnobodys_module\nname\n.", f"other than tensors|{CANNOT}"),
    "builtin.pth": ("getattr", b"c__builtin__\ngetattr\n(c__builtin__\nlist\nVappend\ntR.", "other than tensors"),
    "put.pth": ("a place of 2 billion in the memo", b"\x80\x02]r\xff\xff\xff\x7f.", CANNOT + "|holds no weights"),
    "string.pth": ("a text of 1 TB", b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a.", CANNOT),
    "long.pth": ("a number of 2 GB", b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"a.", CANNOT),
    "nested.pth": ("lists in lists", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", CANNOT + "|holds no weights"),
    "module.pth": ("a whole module", saved(nn.Linear(2, 2)), "holds objects other than tensors"),
    "script.pth": ("a program of TorchScript", script(), f"{CANNOT}|{READ}"),
    "tar.tar": ("an archive of torch 0.1", archived(), CANNOT),
    "bomb.pth": ("100 MB in 100 kB", bomb(), r"it unpacks to \d+ bytes, but has \d+"),
    "overlap.pth": ("members that overlap", overlapping(), r"it unpacks to \d+ bytes, but has \d+"),
    "entries.pth": ("half a million entries", many(500_000), r"its table of contents has \d+ bytes, expected at most 16777216"),
    "storage.pth": ("a storage larger than the file", larger(10**8), "its tensors would take 40000.* bytes, but the file has|record size"),
    "storage2.pth": ("a storage larger than its record", larger(24), f"{CANNOT}.*record size"),
    "shape.pth": ("a shape beyond its storage", stated(b"K\x03K\x04\x86", b"K\x03K\x50\x86"), CANNOT),
    "stride.pth": ("strides beyond its storage", stated(b"K\x04K\x01\x86", b"K\x50K\x01\x86"), CANNOT),
    "offset.pth": ("a place beyond its storage", stated(b"QK\x00K\x03", b"QK\x50K\x03"), CANNOT),
    "missing.pth": ("without its tensors", without("data/0"), CANNOT),
    "order.pth": ("without its order of bytes", without("byteorder"), READ),
    "version.pth": ("without its version", without("version"), f"{CANNOT}|{READ}"),
    "pickle.pth": ("without its pickle", without("data.pkl"), CANNOT),
    "endless.pth": ("a pickle without an end", repacked(lambda name, data: data[:-1] if name.endswith("data.pkl") else data), CANNOT),
    "list.pth": ("a list", saved([torch.ones(2)]), "holds no weights: expected a dictionary"),
    "tensor.pth": ("one tensor", saved(torch.ones(2)), "holds no weights: expected a dictionary"),
    "numbers.pth": ("numbers", saved({"epoch": 3}), "holds no weights: expected a dictionary"),
    "none.safetensors": ("no tensors", header({}, b""), "holds no weights"),
    "integers.pth": ("integers", saved(of(fc__weight=torch.ones(3, 4, dtype=torch.int64))), "fc.weight is int64, expected floating-point numbers"),
    "bytes.safetensors": ("bytes", tensors(of(fc__weight=torch.ones(3, 4, dtype=torch.int8))), "fc.weight is int8, expected floating-point numbers"),
    "truths.pth": ("truths", saved(of(fc__bias=torch.ones(3) > 0)), "fc.bias is bool, expected floating-point numbers"),
    "complex.pth": ("complex numbers", saved(of(fc__weight=torch.ones(3, 4) * 1j)), "fc.weight is complex64, expected floating-point numbers"),
    "sparse.pth": ("a sparse tensor", saved(of(fc__weight=torch.ones(3, 4).to_sparse())), "fc.weight is sparse, expected plain numbers|cannot be read"),
    "meta.pth": ("a tensor without values", saved(of(fc__weight=torch.ones(3, 4, device="meta"))), "fc.weight is without values|cannot be read"),
    "stretched.pth": ("one number as 4 million", saved(of(fc__weight=torch.ones(1).expand(2**11, 2**11))), r"fc.weight is \[2048, 2048\], but only 4 bytes"),
    "nan.pth": ("NaN", saved(of(fc__weight=nan(float("nan")))), r"NaN or infinite values in 1 tensor \(fc.weight\)"),
    "inf.safetensors": ("infinity", tensors(of(fc__weight=nan(float("inf")), fc__bias=torch.full((3,), float("-inf")))), r"NaN or infinite values in 2 tensors \(fc"),
    "array.pth": ("a call for 32 GiB", pickled(calling(b"__builtin__\nbytearray", HUGE)), "makes more of a few bytes as it is read"),
    "array.bin": ("the same in Python 3", pickled(calling(b"builtins\nbytearray", HUGE)), "makes more of a few bytes as it is read"),
    "old-array.pth": ("the same in the old format", calling(b"builtins\nbytearray", HUGE), "makes more of a few bytes as it is read"),
    "hex.pth": ("a text that doubles 40 times", pickled(doubling(40)), "makes more of a few bytes as it is read"),
    "text.bin": ("bytes as torch.save writes them", saved({**GOOD, "note": b"abc"}), READ),
    "made.pth": ("a tensor that is made and not stored", calling(b"torch\nFloatTensor", b"(J" + struct.pack("<i", 10**9) + b"t"), CANNOT),
    "made.bin": ("the same in an archive", pickled(b"\x80\x02}X\1\0\0\0actorch\nFloatTensor\n(J" + struct.pack("<i", 10**9) + b"tRs."), "its tensors would take 4000000000 bytes"),
    "within.pth": ("a dictionary within itself", saved(_within_itself()), READ),
    "elsewhere.pth": ("two tables of contents", elsewhere(), "its table of contents lies elsewhere than it says"),
    "ends.pth": ("two ends", two_ends(), "its table of contents has \\d+ bytes, expected at most|lies elsewhere"),
    "keys.pth": ("1 and '1'", saved({**GOOD, 1: torch.ones(1), "1": torch.zeros(1)}), "1 and 1 would both be called 1"),
    "twice.pth": ("names that are the same", saved({**GOOD, "module.fc.weight": torch.zeros(3, 4)}), "fc.weight and module.fc.weight would both be called fc.weight"),
    "compiled.pth": ("names that are the same when compiled", saved({"_orig_mod.fc.bias": torch.zeros(3), **GOOD}), "would both be called fc.bias"),
    "other.pth": ("of another model", saved({"head.weight": torch.ones(3, 4)}), r"2 missing \(fc.weight, fc.bias\); 1 unexpected"),
    "wide.pth": ("of another shape", saved(of(fc__weight=torch.ones(3, 5))), r"fc.weight \(3, 5\) for \(3, 4\)"),
    "scalar.pth": ("of no shape", saved(of(fc__weight=torch.tensor(1.0))), r"fc.weight \(\) for \(3, 4\)"),
    "hollow.pth": ("of no element", saved(of(fc__weight=torch.ones(0, 4))), r"fc.weight \(0, 4\) for \(3, 4\)"),
    "half.safetensors": ("without a bias", tensors(of(fc__bias=None)), r"1 missing \(fc.bias\)"),
    "strange.pth": ("a name of escape codes", saved({**GOOD, "\x1b[2J\n": torch.ones(1)}), "1 unexpected"),
    "header.safetensors": ("a header longer than the file", header({}, b"", 5000), "its header has 5000 bytes, but the file"),
    "header2.safetensors": ("a header of 2 ** 63", header({}, b"", 2**63), "its header has .* bytes, expected at most"),
    "json.safetensors": ("a header that is no JSON", header(b"{{"), CANNOT),
    "utf8.safetensors": ("a header that is no text", header(b"\xff\xfe"), CANNOT),
    "array.safetensors": ("a header that is a list", header([1]), CANNOT),
    "negative.safetensors": ("a shape below 0", header({"fc.weight": entry([-3, 4], 0, 48)}), CANNOT),
    "overflow.safetensors": ("a shape beyond numbers", header({"fc.weight": entry([2**40, 2**40], 0, 48)}), CANNOT),
    "overlap.safetensors": ("tensors that overlap", header({"a": entry([12], 0, 48), "b": entry([12], 12, 60)}), CANNOT),
    "behind.safetensors": ("a tensor behind the end", header({"a": entry([12], 1000, 1048)}), CANNOT),
    "backwards.safetensors": ("an end before its start", header({"a": entry([12], 48, 0)}), CANNOT),
    "kind.safetensors": ("a kind of numbers that there is not", header({"a": entry([15], 0, 60, "F128")}), CANNOT),
    "deep.safetensors": ("a header of braces", header(b'{"a":' * 5000), CANNOT),
    "weights.npz": ("an array of NumPy", b"PK\3\4", NEITHER),
    "weights.h5": ("an HDF5", b"\x89HDF\r\n\x1a\n", NEITHER),
    "weights.pkl": ("a pickle", pickle.dumps(Code()), NEITHER),
    "weights": ("without an ending", saved(GOOD), NEITHER),
}  # fmt: skip
"""Files by name, each with what it is, its bytes, and what is said of it."""

NAMES = {
    "resnet18@": "resnet18@ names no weights behind the @",
    "tv:resnet18@": "resnet18@ names no weights behind the @",
    "ensemble(resnet18,resnet34@)": "resnet34@ names no weights behind the @",
    "resnet18@missing.pth": "There is no weight file missing.pth",
    "resnet18@ ": "There is no weight file",
    "resnet18@@": "There is no weight file",
    "resnet18@https://example.org/w.pth": "There is no weight file",
    "resnet18@/dev/zero": "There is no weight file /dev/zero",
    "resnet18@.": "There is no weight file",
    "resnet18@Pretrained": "There is no weight file Pretrained",
    "hf-hub:somebody/something": "hf-hub:somebody/something",
    "@w.pth": "",
    "": "",
}
"""Names of models, and what is said of them before anything is opened."""

CASES = [
    *(Case(f"{name}: {what}" if what else name, (name, content), line, "" if line == READ else name) for name, (what, content, line) in FILES.items() if "NaN or" not in line),
    *(Case(f"{name}: {what}", (name, content), line) for name, (what, content, line) in FILES.items() if "NaN or" in line),
    *(Case(f"the model {name!r}", name, line) for name, line in NAMES.items()),
]  # fmt: skip
"""All weights."""


def met(case: Case, folder: Path) -> str:
    """What comes of weights, read and put into a model as `load` does; a note counts as what is said."""
    if isinstance(case.content, str):
        return said(lambda: check(case.content))
    name, content = case.content
    (folder / name).write_bytes(content)
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", Doubt)

        def read() -> str:
            state = read_weights(path_of(str(folder / name)))
            fill(Net(), state, f"the network of {name}")
            return f"read {len(state)} tensors"

        line = said(read)
    notes = [str(note.message) for note in noted if issubclass(note.category, Doubt)]
    return " ".join([line, *notes]) if notes else line
