"""What a release is made of: a wheel out of the sdist, with all that the package reads, which runs outside of here."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import alternet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = Path(alternet.__file__).parent


def called(*line: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(line, cwd=cwd, env=environment or None, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_out_of_the_sdist_holds_the_package_and_runs(tmp_path: Path):
    pytest.importorskip("build", reason="needs the extra dev")
    called(sys.executable, "-m", "build", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (archive,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    assert archive.name == f"alternet-{alternet.__version__}.tar.gz" and wheel.name.endswith("-py3-none-any.whl")

    needed = {
        f"alternet/{file.relative_to(PACKAGE).as_posix()}"
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
    assert needed - held == set() and "alternet_begin.py" in held
    assert {name.partition("/")[0] for name in held} == {
        "alternet",
        "alternet_begin.py",
        f"alternet-{alternet.__version__}.dist-info",
    }
    with tarfile.open(archive) as opened:
        parts = {Path(name).parts[1] for name in opened.getnames() if len(Path(name).parts) > 1}
    assert {"README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "pyproject.toml", "src", "tests"} <= parts
    assert {".venv", "runs", "site"} & parts == set()

    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", wheel)
    called(*pip, cwd=tmp_path)
    code = "import alternet; print(alternet.__file__); print(alternet.load('alternet_mini', num_classes=3))"
    said = called(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert said.startswith(str(tmp_path / "site"))
    assert "Requires-Dist: torch" in next((tmp_path / "site").glob("*.dist-info/METADATA")).read_text()
