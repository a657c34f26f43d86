"""Values, texts and places that nobody expects, shared by the batteries."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.hostile.battery import EXECUTED

VALUES: dict[str, Any] = {
    "nothing": None,
    "a truth": True,
    "-1": -1,
    "2 ** 70": 2**70,
    "1e308": 1e308,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a word": "nonsense",
    "an empty text": "",
    "an address": "https://example.org/w.pth",
    "a path": "../../etc/passwd",
    "escape codes": "\x1b[2J",
    "a page": "<script>alert(1)</script>",
    "a long text": "x" * 100_000,
    "an empty list": [],
    "lists": [[], [[]]],
    "a long list": [0] * 10_000,
    "an empty mapping": {},
    "a mapping": {"a": {"b": 1}},
}
"""Values as JSON and YAML hold them."""


def deep(opening: str, closing: str, times: int = 100_000) -> bytes:
    return (opening * times + closing * times).encode()


TEXTS: dict[str, bytes] = {
    "an empty file": b"",
    "a space": b" ",
    "zeros": bytes(100),
    "random bytes": np.random.RandomState(0).bytes(200),
    "no UTF-8": b"\xff\xfea\0",
    "half a character": b'{"a": "\xc3',
    "a list": b"[1, 2]",
    "a number": b"7",
    "a word": b'"word"',
    "null": b"null",
    "an open brace": b"{",
    "a thing cut off": b'{"model": "vit_m',
    "braces in braces": deep('{"a":', "}"),
    "brackets in brackets": deep("[", "]"),
    "a number of 100 000 digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "a page": b"<html>404</html>",
    "a program": b"\x7fELF" + bytes(60),
    "a pickle": b"cos\nsystem\n(Vtouch " + EXECUTED.encode() + b"\ntR.",
    "a mark of the order of bytes": b'\xef\xbb\xbf{"a": 1}',
    "two documents": b"{}\n{}",
}
"""What a file of JSON may hold instead."""


def open_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may have a hundred characters
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)
    os.chdir(here)


PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a socket": open_socket,
    "zeros without end": lambda path: path.symlink_to("/dev/zero"),
    "a device that nothing comes from": lambda path: path.symlink_to("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("missing"),
    "a file that is not there": lambda path: None,
}
"""What may lie where a file should."""

WORDS: dict[str, str] = {
    "nothing": "",
    "a space": " ",
    "a dot": ".",
    "two dots": "..",
    "the root": "/",
    "a path upwards": "../../../../etc/passwd",
    "zeros without end": "/dev/zero",
    "the standard input": "/dev/stdin",
    "an address": "https://example.org/x",
    "an address of a share": "\\\\host\\share",
    "a file's address": "file:///etc/passwd",
    "a command": f"$(touch {EXECUTED})",
    "another command": f"; touch {EXECUTED} #",
    "a template": "{{ 7 * 7 }}",
    "a format": "{0.__class__} %s%n",
    "a page": "<img src=x onerror=alert(1)>",
    "markup": "[/x][bold]",
    "escape codes": "\x1b[2J\x1b]0;x\x07",
    "a zero byte": "a\0b",
    "two lines": "a\nb",
    "writing turned around": "\u202egnp.exe",
    "bytes that are no text": "caf\udce9",
    "a long word": "x" * 5000,
    "an option": "--help",
    "braces": "(((((((((((",
    "a quote": "'\"`",
    "a home": "~nobody/x",
    "a star": "*",
    "emoji": "\U0001f600" * 20,
}
"""Names that nobody gives to anything."""
