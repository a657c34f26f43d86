"""What comes from outside comes through one door: no other place of the package opens a picture."""

import re
from pathlib import Path

import alternet

SOURCES = Path(alternet.__file__).parent
OPENING = re.compile(
    r"\bImage\.open\(|\bImageFile\b|torchvision\.io|\bread_image\(|\bdecode_(image|jpeg|png)\(|\bimread\(|\bcv2\b"
)


def test_pictures_are_opened_in_one_place() -> None:
    places = {path.name for path in SOURCES.rglob("*.py") if OPENING.search(path.read_text(encoding="utf-8"))}
    assert places == {"decoding.py"}
