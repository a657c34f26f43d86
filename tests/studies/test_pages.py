"""The pages of studies: their commands run, and their tables are those of the stored numbers."""

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    return import_module(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["attention_page"], indirect=True)
def test_attention_is_put_into_a_cnn_as_shown(script, tmp_path, monkeypatch, capsys):
    page = (DOCS / "attention-into-your-cnn.md").read_text(encoding="utf-8")
    lines = script.commands(page)
    assert [line[0] for line in lines] == ["train"] * 3 + ["measure"] * 2 + ["report"]
    small = {"subset": "1/64", "validation": "1/64", "batch_size": 32, "epochs": 1, "warmup_epochs": 0}
    extra = {"train": [f"--set={name}={value}" for name, value in small.items()], "measure": ["--limit", "8"]}
    script.work_through(lines, tmp_path, extra)

    units = script.measured(tmp_path)["fourier"].table.drop_duplicates(["model", "tap"]).set_index(["model", "tap"])
    for network in script.NETWORKS:
        attending = [tap for tap, kind in units.loc[network]["kind"].items() if kind == "msa"]
        assert attending == (list(script.UNITS) if network == "attention" else [])
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(block, "docs/attention-into-your-cnn.md", "exec"), {})
    assert capsys.readouterr().out.count("stages.2.1.branch") == 3
