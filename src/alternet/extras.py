"""Extras: what each optional part of the package brings; which there are, and what they ask for, says the package."""

from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import NamedTuple

from packaging.requirements import Requirement

BRINGS = {
    "hf": "models of transformers as hf:ID, and alternet.Measure in its Trainer",
    "lightning": "alternet.Measure in the Trainer of PyTorch Lightning",
    "corruptions": "common corruptions made on the fly, for alternet measure corruption without a published folder",
    "sam": "training by sharpness-aware minimisation: --set sam=sam, --set sam=asam",
    "elpv": "the elpv images of solar cells, --data elpv (CC BY-NC-SA 4.0)",
    "shards": "WebDataset shards, --data wds/NAME:FOLDER",
    "cluster": "studies as jobs of SLURM: alternet reproduce --cluster slurm",
    "onnx": "alternet export --onnx, checked with onnxruntime",
    "test": "the tests, with their references and a browser (make test)",
    "dev": "format, lint, types and the direction of imports (make check)",
    "docs": "the pages as a site (make docs)",
    "bench": "the rivals of the benchmarks (make bench)",
}
"""What one can do with it that one cannot without, by the name of the extra."""


class Extra(NamedTuple):
    """An optional part.

    Attributes:
        name: As in `pip install 'alternet[NAME]'`.
        brings: What one can do with it.
        missing: Packages that are not there, or older than it asks for, in words; empty where it is whole.
    """

    name: str
    brings: str
    missing: tuple[str, ...]

    @property
    def install(self) -> str:
        """The line that installs it."""
        return f"pip install 'alternet[{self.name}]'"


def extras() -> list[Extra]:
    """The extras that the installed package declares, in its order; none where it is not installed but on the path.

    Examples:
        >>> {extra.name for extra in extras()} <= {*BRINGS}
        True
    """
    try:
        names = metadata("alternet").get_all("Provides-Extra") or []
        asked = [Requirement(line) for line in requires("alternet") or []]
    except PackageNotFoundError:
        return []
    return [Extra(name, BRINGS.get(name, ""), tuple(_missing(name, asked))) for name in names]


def _missing(name: str, asked: list[Requirement]) -> list[str]:
    found = []
    for one in asked:
        if one.marker is None or one.marker.evaluate({"extra": ""}) or not one.marker.evaluate({"extra": name}):
            continue
        there = version_of(one.name)
        if not there:
            found.append(one.name)
        elif not one.specifier.contains(there, prereleases=True):
            found.append(f"{one.name} {there}, needs {one.specifier}")
    return found


def version_of(package: str) -> str:
    """The version of a package without importing it, empty where it is not installed.

    Examples:
        >>> version_of("pandas") > "2", version_of("no-such-package")
        (True, '')
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
