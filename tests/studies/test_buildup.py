"""Build-up: the paper's rules on known accuracies, one small search whole, and that nothing is trained twice."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from alternet import Calibration, batches, load
from alternet.cli import run
from alternet.instruments.figures import sentences
from alternet.measurement import Measurement
from alternet.studies.buildup import BuildUp, buildup, search
from alternet.studies.executor import InProcess, LocalProcesses
from alternet.studies.training_job import TrainingJob
from alternet.training import Recipe

PAPER = {
    (): 82.48,
    ("c4.4",): 83.45,
    ("c4.4", "c4.2"): 83.66,
    ("c4.4", "c4.2", "c3.6"): 83.77,
    ("c4.4", "c4.2", "c3.6", "c3.4"): 83.52,
    ("c4.4", "c4.2", "c3.6", "c2.4"): 84.02,
    ("c4.4", "c4.2", "c3.6", "c2.4", "c2.2"): 83.39,
    ("c4.4", "c4.2", "c3.6", "c2.4", "c1.3"): 83.80,
}
"""Accuracies of placements on CIFAR-100 (Park and Kim 2022, Fig. 12a), single runs."""

BUDGET = {"epochs": 1, "lr": 2e-3, "batch_size": 64, "subset": "1/8", "validation": "1/4"}
TINY = Recipe(**BUDGET)


def stages(*depths: int) -> list[list[str]]:
    return [[f"c{stage}.{block}" for block in range(1, depth + 1)] for stage, depth in enumerate(depths, start=1)]


def test_the_papers_accuracies_lead_to_the_papers_network():
    steps = search(stages(3, 4, 6, 4), lambda units: np.array([PAPER[units]] * 2))
    assert [step.units for step in steps if step.kept][-1] == ("c4.4", "c4.2", "c3.6", "c2.4")
    assert [step.unit for step in steps] == ["", "c4.4", "c4.2", "c3.6", "c3.4", "c2.4", "c2.2", "c1.3"]


@pytest.mark.parametrize("seed", range(5))
def test_a_unit_is_kept_if_its_paired_gain_is_above_its_standard_error(seed):
    """The t statistic of SciPy's paired test is the gain over its error."""
    generator = np.random.default_rng(seed)
    made: dict[tuple[str, ...], np.ndarray] = {}

    def score(units):
        return made.setdefault(units, generator.normal(0.8, 0.01, 4))

    steps, best = search(stages(2, 3, 5), score), made[()]
    for step in steps[1:]:
        statistic = ttest_rel(made[step.units], best).statistic
        assert step.gain / step.error == pytest.approx(statistic)
        assert step.kept == (statistic > 1)
        best = made[step.units] if step.kept else best


def test_where_nothing_changes_nothing_is_kept():
    assert [step.kept for step in search(stages(2, 2), lambda _: np.array([0.5, 0.6]))] == [True, False, False]


def test_what_decides_the_weights_has_an_address_and_nothing_else():
    def address(**changes):
        facts = {"model": "test_vit", "data": "digits", "recipe": Recipe(epochs=1), "out": Path("a")}
        return TrainingJob(**facts | changes).address

    assert address(out=Path("b")) == address() == address(recipe=Recipe(epochs=1, lr=1.25e-4))
    others = [address(model="test_vit2"), address(data="photos"), address(recipe=Recipe(epochs=2)), address(img_size=9)]
    assert len({address(), address(model_args={"a": 1}), *others}) == 6


def test_the_page_runs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "buildup.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    exec(compile(block, "docs/buildup.md", "exec"), {})
    assert capsys.readouterr().out == "preresnet_mini+msa(stages.3.1.branch,form=unit)\n"


def test_the_table_of_the_page_is_that_of_the_measured_search():
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "buildup.md").read_text(encoding="utf-8")
    for row in pd.read_csv(docs / "results" / "buildup-photos" / "table.csv").itertuples():
        assert f"| {row.units} | {100 * row.accuracy:.1f} ± {100 * row.standard_error:.1f} |" in text


@pytest.mark.slow
def test_the_command_says_what_was_tried_and_how_to_train_the_chosen_network(tmp_path, capsys):
    budget = ["epochs=1", "subset=1/8", "warmup_epochs=0"]
    line = ["buildup", "-m", "preresnet_mini", "--data", "digits", "--seeds", "2", "--form", "conv", "--device", "cpu"]
    line += [part for setting in (*budget, "msa.window_size=4") for part in ("--set", setting)]
    assert run([*line, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count(": validation accuracy") == 5
    assert "Train the chosen network on all training images: alternet train -m 'preresnet_mini" in said
    folder = tmp_path / "preresnet_mini" / "buildup"
    assert {"table.csv", "runs.csv", "test.csv", "buildup.svg", "provenance.json"} <= {f.name for f in folder.iterdir()}
    assert run(["report", str(tmp_path), "--out", str(tmp_path / "report.html")]) == 0
    assert "Where in this CNN does attention pay?" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert run([*line, "--out", str(tmp_path), "--set", "validation=0"]) == 2
    assert "chooses by validation images" in capsys.readouterr().err


def test_the_line_that_trains_the_chosen_network_says_all_that_the_search_was_given():
    study = BuildUp(model="preresnet_mini", data="digits", recipe=TINY, img_size=16, model_args={"in_chans": 1})
    assert study.line(("stages.3.1.branch",)) == (
        "alternet train -m 'preresnet_mini+msa(stages.3.1.branch,form=unit)' --data digits --img-size 16 "
        "--set model.in_chans=1 --out runs/chosen"
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("buildup")
    said: list[str] = []
    study = BuildUp(model="preresnet_mini", data="digits", recipe=TINY, seeds=2, settings={"window_size": 4})
    return study, out, buildup(study, out, say=said.append), said


@pytest.mark.slow
def test_a_search_whole(found):
    _, out, m, said = found
    table, runs, test = (m.tables[name] for name in ("table", "runs", "test"))
    assert table["unit"].tolist() == ["no attention", *(f"stages.{stage}.1.branch" for stage in (3, 2, 1, 0))]
    for row in table.itertuples():
        own = runs[runs["step"] == row.step]["accuracy"]
        assert runs[runs["step"] == row.step]["seed"].tolist() == [0, 1]
        assert row.accuracy == pytest.approx(own.mean())
        assert row.standard_error == pytest.approx(own.std(ddof=1) / 2**0.5)
        for one in runs[runs["step"] == row.step].itertuples():
            facts = json.loads((out / "trained" / one.run / "run.json").read_text())
            assert facts["data"]["tested"] == "validation"
            assert facts["recipe"]["seed"] == one.seed
            assert facts["model_args"].get("plan", []) == [] or len(facts["model_args"]["plan"]) == row.attention
    assert test["network"].tolist() == ["no attention", "chosen", "difference"]
    first = load(f"run:{out / 'trained' / runs['run'][0]}", device="cpu")
    other = load(f"run:{out / 'trained' / runs['run'][1]}", device="cpu")
    scores = [Calibration().measure(one, batches("digits", split="test")).table for one in (first, other)]
    right = [score.set_index("metric")["value"]["accuracy"] for score in scores]
    assert test["accuracy"][0] == pytest.approx(sum(right) / 2)
    assert test["accuracy"][2] == pytest.approx(test["accuracy"][1] - test["accuracy"][0])
    assert m.provenance["train"].startswith("alternet train -m 'preresnet_mini")
    assert sentences(m)[0].startswith("preresnet_mini: of 4 places tried, ")
    assert sum(line.startswith("  trained") for line in said) == 10


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_ends_as_if_it_had_not_been(found, tmp_path):
    """SIGKILL after a random time of the search's own work, until it comes to its end by itself."""
    _, _, whole, _ = found
    code = (
        "import sys; from alternet.studies.buildup import BuildUp, buildup; from alternet.training import Recipe; "
        "print('begun', flush=True); "
        f"study = BuildUp(model='preresnet_mini', data='digits', recipe=Recipe(**{BUDGET!r}), seeds=2, "
        "settings={'window_size': 4}); "
        f"buildup(study, {str(tmp_path)!r}, say=lambda line: print(line, flush=True))"
    )
    draws, kills = np.random.default_rng(0), 0
    while True:
        search = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert search.stdout is not None and search.stdout.readline() == "begun\n"
        if kills < 4:
            # so many lines of what it says, each time more, so that it gets further on any machine
            for _ in range(int(draws.integers(3 * kills + 1, 3 * kills + 4))):
                search.stdout.readline()
            time.sleep(float(draws.uniform(0, 1)))
            search.kill()
        search.communicate()
        if search.returncode == 0:
            break
        assert search.returncode == -signal.SIGKILL
        kills += 1
    assert kills == 4
    again = Measurement.load(tmp_path / "preresnet_mini" / "buildup")
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table, check_dtype=False, rtol=1e-12)
    assert len(list(tmp_path.rglob("weights.safetensors"))) == len(whole.tables["runs"])


@pytest.mark.slow
def test_a_search_that_is_started_again_trains_nothing_again(found, monkeypatch):
    study, out, before, _ = found
    times = {file: file.stat().st_mtime_ns for file in (out / "trained").rglob("*.safetensors")}
    again = buildup(study, out)
    assert {file: file.stat().st_mtime_ns for file in (out / "trained").rglob("*.safetensors")} == times
    for name, table in before.tables.items():
        assert again.tables[name].equals(table), name


@pytest.mark.slow
def test_processes_leave_the_same_weights_as_one(tmp_path):
    jobs = {
        executor: [
            TrainingJob(model="test_vit", data="digits", recipe=Recipe(epochs=1, seed=seed, subset="1/8"), out=out)
            for seed in (0, 1)
        ]
        for executor, out in ((InProcess("cpu"), tmp_path / "one"), (LocalProcesses(2, "cpu"), tmp_path / "two"))
    }
    for executor, given in jobs.items():
        assert sorted(job.folder.name for job in executor.run(given)) == sorted(job.folder.name for job in given)
    one, two = jobs.values()
    for a, b in zip(one, two, strict=True):
        assert a.folder.name == b.folder.name
        # with another number of threads sums may be in another order
        assert a.result.log["train_loss"].tolist() == pytest.approx(b.result.log["train_loss"].tolist(), rel=1e-4)


@pytest.mark.slow
def test_a_job_that_fails_is_named_with_its_reason_and_costs_no_other(tmp_path):
    recipe = Recipe(epochs=1, subset="1/8")
    good, bad = (
        TrainingJob(model=name, data="digits", recipe=recipe, out=tmp_path) for name in ("test_vit", "vit_nun")
    )
    with pytest.raises(
        RuntimeError, match=r"1 of 2 jobs failed: .*vit_nun.* \(alternet: There is no timm model 'vit_nun'"
    ):
        list(LocalProcesses(1, "cpu").run([bad, good]))
    assert good.result.finished


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with their parent")
def test_processes_end_with_the_one_that_started_them_and_go_on_with_the_next(tmp_path):
    recipe = Recipe(epochs=40, subset="1/2")
    job = TrainingJob(model="test_vit", data="digits", recipe=recipe, out=tmp_path)
    code = (
        "from pathlib import Path; from alternet.studies.executor import LocalProcesses; "
        "from alternet.studies.training_job import TrainingJob; from alternet.training import Recipe; "
        f"list(LocalProcesses(1, 'cpu').run([TrainingJob(model='test_vit', data='digits', out=Path({str(tmp_path)!r}), "
        "recipe=Recipe(epochs=40, subset='1/2'))]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    checkpoint = job.folder / "checkpoint.safetensors"
    while not checkpoint.exists():
        assert parent.poll() is None, "it ended before the first epoch"
    parent.kill()
    parent.wait()
    assert not job.result.finished
    shorter = job.result.log["epoch"].max()
    list(LocalProcesses(1, "cpu").run([job]))  # the place is free, nobody else writes there
    assert job.result.finished
    assert job.result.log["epoch"].max() == 40 > shorter


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": Recipe(epochs=1)}, "chooses by validation images"),
        ({"seeds": 1}, "one run has no standard error"),
        ({"model": "resnet18+msa(layer4.1)"}, "begins with a CNN without attention"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BuildUp(**{"model": "preresnet_mini", "data": "digits", "recipe": TINY} | changes)


def test_a_network_without_convolutions_is_refused(tmp_path):
    with pytest.raises(ValueError, match="vit_mini has no unit that attention could take the place of"):
        buildup(BuildUp(model="vit_mini", data="digits", recipe=TINY), tmp_path)
