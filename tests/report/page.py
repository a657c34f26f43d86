"""A reader of pages: what a rendered report holds, as plain values."""

import gzip
import json
import zlib
from base64 import b64decode
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

VOID = {"meta", "link", "img", "br", "input"}


@dataclass
class Page(HTMLParser):
    """Tags with their attributes, visible text, and the contents of scripts."""

    text: str = ""
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[tuple[dict[str, str], str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "script":
            self.scripts.append((given, ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def data(self, name: str) -> list[Any]:
        found = [text for attributes, text in self.scripts if attributes.get("class") == name]
        return [json.loads(zlib.decompress(b64decode(text)) if name == "targets" else text) for text in found]

    def code(self) -> list[str]:
        return [text for attributes, text in self.scripts if "type" not in attributes]

    def policy(self) -> str:
        return next(m["content"] for m in self.all("meta") if m.get("http-equiv") == "Content-Security-Policy")


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def embedded(uri: str) -> str:
    kind, _, data = uri.partition(",")
    if kind == "data:application/gzip;base64":
        return gzip.decompress(b64decode(data)).decode("utf-8")
    assert kind == "data:text/csv;charset=utf-8"
    return unquote(data)
