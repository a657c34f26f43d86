"""The package as a whole: imports point one way and stay light, the public names are there, the README runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import alternet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def python(code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)


def test_imports_point_one_way():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "KEPT" in done.stdout


def test_import_brings_no_torch():
    done = python(
        "import sys, alternet, alternet.cli, alternet.instruments.figures, alternet.report\n"
        "print('torch' in sys.modules)"
    )
    assert done.stdout.strip() == "False", done.stderr


def test_data_and_training_bring_nothing_slow_that_is_not_asked_for():
    done = python(
        "import sys, alternet.training, alternet.subject.loading\n"
        "assert len(next(iter(alternet.batches('digits', limit=2)))[0]) == 2\n"
        "print([name for name in ('sklearn', 'torchmetrics') if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_nothing_but_a_report_needs_plotly():
    done = python(
        "import sys, importlib, pkgutil\n"
        "sys.modules['plotly'] = None\n"
        "import alternet\n"
        "names = [one.name for one in pkgutil.walk_packages(alternet.__path__, 'alternet.')]\n"
        "for name in names:\n"
        "    name.endswith('__main__') or importlib.import_module(name)\n"
        "model = alternet.load('test_resnet', num_classes=10)\n"
        "data = alternet.batches('digits', limit=4, img_size=32)\n"
        "print(len(names) > 100, alternet.Fourier().measure(model, data).draw() is not None)"
    )
    assert done.stdout.strip() == "True True", done.stderr


def test_type_checkers_see_our_types():
    assert (Path(alternet.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("order", ["import alternet, timm", "import timm, alternet"])
def test_our_models_are_in_timm_in_either_order(order: str):
    done = python(f"{order}; print(timm.create_model('alternet_mini', num_classes=7).num_classes)")
    assert done.stdout.strip() == "7", done.stderr


@pytest.mark.parametrize("name", alternet.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    assert (getattr(alternet, name).__doc__ or "").strip()


def test_an_unknown_public_name_says_what_there_is():
    with pytest.raises(AttributeError, match="it offers Augmentation, Batches, .* train"):
        _ = alternet.fuorier


def test_lists_of_instruments_are_what_the_instruments_say():
    done = python(
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import lists\n"
        "for page in lists.LISTS: assert page.read_text() == lists.written(page), f'run scripts/lists.py for {page}'"
    )
    assert done.returncode == 0, done.stderr


def test_instruments_are_listed_without_torch():
    done = python("import sys; from alternet.instruments.catalogue import instruments; instruments()\n"
                  "print({'torch', 'matplotlib', 'pandas', 'timm'} & set(sys.modules))")  # fmt: skip
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_no_imports_run_in_a_circle():
    """Those inside functions included, those for type checkers not."""
    import grimp
    import networkx

    graph = grimp.build_graph("alternet", exclude_type_checking_imports=True, cache_dir=None)
    modules = networkx.DiGraph(
        (module, target) for module in graph.modules for target in graph.find_modules_directly_imported_by(module)
    )
    assert [sorted(circle) for circle in networkx.strongly_connected_components(modules) if len(circle) > 1] == []


def test_rooms_are_independent():
    """An instrument's folder imports no other's: what two share lives beside them or below."""
    import grimp

    from alternet.instruments.catalogue import instruments

    graph = grimp.build_graph("alternet", cache_dir=None)
    rooms = {f"alternet.instruments.{name}" for name in instruments()}
    assert rooms == {m for m in graph.find_children("alternet.instruments") if graph.find_children(m)}
    crossing = [
        (room, target)
        for room in rooms
        for module in graph.find_descendants(room)
        for target in graph.find_modules_directly_imported_by(module)
        if any(target == other or target.startswith(f"{other}.") for other in rooms - {room})
    ]
    assert crossing == []


def fenced(kind: str) -> list[str]:
    pages = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "which-instrument.md"]
    return [block for page in pages for block in re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)]


@pytest.mark.parametrize("block", fenced("python"), ids=lambda block: block.splitlines()[-1][:40])
def test_python_blocks_run(block: str, tmp_path: Path):
    done = python(block, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", fenced("console"), ids=["readme", "index", "which instrument"])
def test_console_blocks_run(block: str, tmp_path: Path):
    lines = block.replace("\\\n", "").splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert commands
    for command in commands:
        words = [str(Path(sys.executable).parent / "alternet"), *command.split()[1:]]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_texts_speak_of_the_project_alone():
    texts = [p for d in ("src", "docs", "benchmarks", "scripts") for p in (ROOT / d).rglob("*") if p.is_file()]
    texts += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "Makefile", ROOT / ".ci/run"]
    words = re.compile(r"/work/|/tmp/|\bTODO\b|\bFIXME\b|NotImplementedError|extra-index-url")
    texts = [p for p in texts if p.suffix in {".py", ".md", ".yaml", ".html", ".css", ".sh", ".csv", ""}]
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in texts for m in words.finditer(p.read_text(errors="replace"))]
    assert not found
