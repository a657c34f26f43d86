"""Tutorials: the first page runs as it stands, and each can be had as a notebook whose cells are the page's blocks."""

import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from alternet.cli import run as command

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["extra"]["notebooks"]
BLOCKS = re.compile(r"^```(python|console)\b.*?\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCKS.findall((DOCS / page).read_text(encoding="utf-8"))


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("nbformat", reason="needs the extra docs")
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module("notebooks")


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_notebook_has_a_cell_for_every_block_and_all_of_the_text(page: str, notebooks: ModuleType):
    text = (DOCS / page).read_text(encoding="utf-8")
    made = notebooks.notebook(text, DOCS)
    notebooks.nbformat.validate(made)
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    assert len(cells) == len(blocks(page)) >= 2
    for cell, (kind, block) in zip(cells, blocks(page), strict=True):
        lines = cell.source.splitlines()
        if kind == "console":
            assert lines == ["%%bash", *(line.removeprefix("$ ") for line in block.splitlines())]
        else:
            assert lines[lines[0].startswith("%%writefile ") :] == block.splitlines()
    said = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    titles = [line for line in BLOCKS.sub("", text).splitlines() if line.startswith("#")]
    assert [line for line in said.splitlines() if line.startswith("#")] == titles
    assert re.findall(r"\]\((?!https?:|data:)", said) == []  # it has no page beside it to lead to
    assert notebooks.nbformat.writes(made) == notebooks.nbformat.writes(notebooks.notebook(text, DOCS))


def test_what_a_notebook_makes_of_a_page(notebooks: ModuleType, tmp_path: Path):
    (tmp_path / "a.svg").write_text("<svg/>")
    page = (
        "# One\n<!-- marks -->\n[there](there.md#x) [out](https://example.org) ![a](a.svg)\n"
        '```python title="mine.py"\nx = 1\n```\n```text\nkept\n```\n```console\n$ ls\n$ pwd\n```\n'
    )
    text, file, more, shell = (cell.source for cell in notebooks.notebook(page, tmp_path).cells)
    assert text == "# One\nthere [out](https://example.org) ![a](data:image/svg+xml;base64,PHN2Zy8+)"
    assert (file, more, shell) == ("%%writefile mine.py\nx = 1", "```text\nkept\n```", "%%bash\nls\npwd")


@pytest.mark.slow
def test_the_first_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = {"subset": "1/64", "batch_size": 32, "epochs": 1, "warmup_epochs": 0}
    extra = {"train": [f"--set={name}={value}" for name, value in small.items()], "measure": ["--limit", "8"]}
    names: dict = {}
    for kind, block in blocks("start.md"):
        if kind == "python":
            exec(compile(block, "docs/start.md", "exec"), names)
            continue
        lines = re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
        for _, word, *rest in map(shlex.split, lines):
            assert command([word, *rest, *extra.get(word, ())]) == 0, capsys.readouterr().err
    assert "CNN" in Path("report.html").read_text() and "ViT" in capsys.readouterr().out
    assert "<img" in names["m"]._repr_html_() or "<svg" in names["m"]._repr_html_()
