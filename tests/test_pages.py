"""The pages on comparing, on moving from other tools and on the doctor: their Python runs as it stands."""

import re
from pathlib import Path

import pytest

from alternet.extras import BRINGS

DOCS = Path(__file__).parents[1] / "docs"

pytestmark = pytest.mark.slow


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def ran(page: str, number: int, capsys) -> tuple[dict, str]:
    names: dict = {}
    exec(compile(blocks(page)[number], f"docs/{page}", "exec"), names)
    return names, capsys.readouterr().out


def test_two_networks_are_compared_as_shown(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, said = ran("compare.md", 0, capsys)
    assert "Accuracy" in said and Path("compared.pdf").is_file()
    assert [*Path("out").glob("*/comparison/table.csv")]
    assert names["compared"].table["unit"].str.contains("images, unpaired").any()


def test_what_is_missing_is_listed_as_shown(capsys):
    _, said = ran("doctor.md", 0, capsys)
    assert said.startswith("[")
    assert all(BRINGS[name] in (DOCS / "doctor.md").read_text() for name in ("hf", "onnx"))


def test_pyhessian_finds_the_same_eigenvalue(capsys):
    names, said = ran("moving-from.md", 0, capsys)
    assert said.startswith("theirs ")
    assert names["top"][0] == pytest.approx(names["ours"].table["eigenvalue"].iloc[0], rel=0.02)


def test_torch_cka_finds_the_same_similarity(capsys):
    pytest.importorskip("torch_cka")
    names, _ = ran("moving-from.md", 1, capsys)
    assert names["matrix"][0, 2].item() == pytest.approx(names["pair"]["cka"], abs=0.01)


def test_the_released_axis_is_told_from_the_textbooks(capsys):
    _, said = ran("moving-from.md", 2, capsys)
    assert said.count(" π") == 2
