"""Instruments of other packages: a wheel is built and installed; what works is found, what does not is said."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOURCE = '''
from alternet.instruments.base import Instrument
from alternet.instruments.spec import Spec, number, text
from alternet.settings import settings

@settings
class Sizes(Instrument):
    """Sizes of images."""

    factor: float = 1.0
    """What they are multiplied by."""

    spec = Spec(
        name="{name}", order=1000, title="Sizes of images", question="How large are the images?", caution="", paper="",
        cost="nothing", example="alternet measure {name} -m resnet18 --data photos --out out",
        tables={{"table": {{"where": text("label, which looks like a number"), "size": number("its size")}}}},
    )

    def open(self, subject, batches):
        from {package}.work import Work

        return Work(self, subject, batches)
'''
WORK = """
from alternet.instruments.work import PerItem

class Work(PerItem):
    def items(self):
        return [(1,)]

    def rows(self, item):
        return [("007", self.instrument.factor * self.batches.shape[1])]
"""


def wheel(folder: Path, package: str, *, name: str, source: str = SOURCE) -> Path:
    """A wheel of a package with one instrument, as any build tool would make it."""
    path = folder / f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    files = {
        f"{package}/__init__.py": source.format(name=name, package=package),
        f"{package}/work.py": WORK,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[alternet.instruments]\n{name} = {package}\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
        archive.writestr(f"{info}/RECORD", record)
    return path


def installed(folder: Path, *wheels: Path) -> Path:
    """A folder in which pip has installed the wheels."""
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, *map(str, wheels)], check=True, capture_output=True)
    return target


def alternet(*words: str, packages: Path | None = None, cwd: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(path) for path in (packages, os.environ.get("PYTHONPATH")) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    call = [sys.executable, "-m", "alternet.cli", *words]
    return subprocess.run(call, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def test_an_instrument_of_another_package_is_one_of_ours(tmp_path):
    packages = installed(tmp_path, wheel(tmp_path, "sizes_package", name="sizes"))
    listed = alternet("list", "instruments", packages=packages, cwd=tmp_path)
    assert "How large are the images?" in listed.stdout, listed.stderr
    one = alternet("list", "instruments", "sizes", packages=packages, cwd=tmp_path)
    assert "--set factor=1.0\n    What they are multiplied by." in one.stdout
    call = ["measure", "sizes", "-m", "preresnet_mini", "--data", "photos", "--img-size", "16", "--limit", "2"]
    measured = alternet(*call, "--set", "factor=1e1", "--out", "out", packages=packages, cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert (tmp_path / "out" / "preresnet_mini" / "sizes" / "table.csv").read_text() == (
        "model,where,size\npreresnet_mini,007,160.0\n"
    )
    # Without the package its tables are still shown, and a label that looks like a number is still a label.
    report = alternet("report", "out", "--out", "report.html", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>007</td>" in page.replace(' class="number"', "")


def test_a_package_that_cannot_be_loaded_is_listed_with_its_reason(tmp_path):
    bad = wheel(tmp_path, "bad_package", name="bad", source="raise RuntimeError('no such thing')\n")
    packages = installed(tmp_path, bad)
    listed = alternet("list", "instruments", packages=packages, cwd=tmp_path)
    assert listed.returncode == 0
    assert "cannot be loaded: RuntimeError: no such thing" in listed.stdout
    assert "fourier" in listed.stdout
    call = ["measure", "bad", "-m", "preresnet_mini", "--data", "photos", "--out", "out"]
    measured = alternet(*call, packages=packages, cwd=tmp_path)
    assert measured.returncode == 2
    assert "'bad' cannot be loaded (RuntimeError: no such thing;" in measured.stderr


def test_a_name_that_is_taken_is_refused_and_ours_goes_on(tmp_path):
    packages = installed(tmp_path, wheel(tmp_path, "clashing_package", name="fourier"))
    listed = alternet("list", "instruments", packages=packages, cwd=tmp_path)
    assert "Which spatial frequencies do feature maps hold" in listed.stdout
    assert "there is an instrument 'fourier' already; it is of the package clashing_package" in listed.stdout


@pytest.mark.parametrize("source", ["x = 1\n", "from alternet import Fourier, Variance\n"], ids=["none", "imported"])
def test_a_module_without_an_instrument_of_its_own_is_said(tmp_path, source):
    packages = installed(tmp_path, wheel(tmp_path, "empty_package", name="empty", source=source))
    listed = alternet("list", "instruments", packages=packages, cwd=tmp_path)
    assert "empty_package defines 0 instruments, expected one" in listed.stdout
