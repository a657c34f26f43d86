"""The pages of studies: their commands run, and their tables are those of the stored numbers."""

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_rel

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
    small = {"subset": "1/64", "batch_size": 32, "epochs": 1, "warmup_epochs": 0}
    extra = {"train": [f"--set={name}={value}" for name, value in small.items()], "measure": ["--limit", "8"]}
    script.work_through(lines, tmp_path, extra)

    units = script.measured(tmp_path)["fourier"].table.drop_duplicates(["model", "tap"]).set_index(["model", "tap"])
    for network in script.NETWORKS:
        attending = [tap for tap, kind in units.loc[network]["kind"].items() if kind == "msa"]
        assert attending == (list(script.UNITS) if network == "attention" else [])
    numbers = script.numbers(tmp_path)
    assert all(tuple(own["network"]) == script.NETWORKS for _, own in numbers.groupby("quantity"))
    assert numbers["value"].notna().all()
    text = script.as_text(pd.concat([numbers.assign(seed=seed) for seed in range(2)]))
    assert len(text.splitlines()) == 2 + numbers["quantity"].nunique()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(block, "docs/attention-into-your-cnn.md", "exec"), {})
    assert capsys.readouterr().out.count("stages.2.1.branch") == 3


@pytest.mark.parametrize("script", ["small_data"], indirect=True)
def test_networks_are_compared_seed_by_seed(script):
    """Against SciPy's tests of one sample and of pairs."""
    draws = np.random.default_rng(0)
    names = ["a", "b", "c"]
    rows = [(name, seed, value) for name in names for seed, value in enumerate(draws.normal(0.8, 0.02, 5))]
    runs = pd.DataFrame(rows, columns=["network", "seed", "accuracy"]).sample(frac=1, random_state=0)
    runs = runs.sort_values("network", kind="stable")
    networks, pairs = script.compared(runs)
    values = {name: np.array([value for one, _, value in rows if one == name]) for name in names}
    for row in networks.itertuples():
        wanted = ttest_1samp(values[row.network], 0.0).confidence_interval(0.95)
        assert (row.mean, row.low, row.high) == pytest.approx((values[row.network].mean(), *wanted))
    assert list(zip(pairs["network"], pairs["less"], strict=True)) == [("b", "a"), ("c", "a"), ("c", "b")]
    for row in pairs.itertuples():
        wanted = ttest_rel(values[row.network], values[row.less]).confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx(tuple(wanted))
        assert row.wins == (values[row.network] > values[row.less]).sum()
    facts = {"recipe": {"epochs": 12}, "parameters": dict.fromkeys(names, 1234), "models": {script.FOUND: "x"}}
    text = script.as_text(networks, pairs, facts)
    assert f"| a | 1,234 | {100 * values['a'].mean():.1f} ±" in text and "--epochs 12" in text
    with pytest.raises(ValueError, match="every network needs all of them"):
        script.compared(runs.iloc[1:])


@pytest.mark.parametrize("script", ["small_data"], indirect=True)
def test_every_network_of_the_study_has_the_same_budget_and_every_seed(script, tmp_path):
    jobs = script.jobs({"one": "preresnet_mini", "other": "vit_mini"}, tmp_path, 7)
    assert sorted(jobs) == [(name, seed) for name in ("one", "other") for seed in range(5)]
    assert {(job.data, job.img_size, job.recipe.epochs, job.recipe.validation) for job in jobs.values()} == {
        ("elpv", 32, 7, "0")
    }
    assert all(job.recipe.seed == seed for (_, seed), job in jobs.items())
    assert len({job.folder for job in jobs.values()}) == 10
