"""Reproducing studies, from declarations to figures, as users do it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
from tests.studies.tiny_studies import HONEST, VARIED, VIT

from alternet.cli import run
from alternet.cli.reproduce import located
from alternet.runs import TrainingRun
from alternet.studies import Arm
from alternet.studies.evidence import gather_evidence, read_evidence
from alternet.studies.executor import InProcess, LocalProcesses
from alternet.studies.plan import Plan
from alternet.studies.reproduce import reproduce, studies_named
from alternet.studies.scale import SMOKE

STUDIES = Path(__file__).with_name("tiny_studies.py")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("studies")
    plan = Plan(studies=(HONEST, VARIED), scale=SMOKE, out=out)
    said: list[str] = []
    return plan, *reproduce(plan, InProcess("cpu"), said.append), said


def stamps(out: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for kind in ("trained", "measured") for file in (out / kind).rglob("*.*")}


@pytest.mark.slow
def test_studies_from_declarations_to_figures(done):
    plan, results, failed, said = done
    assert not failed
    assert not results.missing
    assert said[0] == "2 networks: 0 there already, 2 to train or measure"
    both = read_evidence(plan.out / "evidence.csv")
    assert set(both["figure"]) == {"honest", "varied"}
    log = pd.read_csv(next(plan.jobs[0].folder.glob("log.csv")))
    honest = both[both["figure"] == "honest"].set_index("quantity")["value"]
    assert honest["nll_train"] == pytest.approx(log["train_loss"].iloc[-1])
    assert (
        honest["accuracy"] == log["test_accuracy"].iloc[-1] == 1 - honest["test_error"]
    )  # of all test images, not of 64
    calibration = plan.jobs[0].measurements[0].result.table.set_index("metric")["value"]
    assert honest["nll_test"] == pytest.approx(calibration["nll"])  # the log knows no error of its own
    for name in ("honest", "honest-calibration"):
        for ending in ("svg", "pdf", "png"):
            assert (plan.out / "figures" / "honest" / f"{name}.{ending}").stat().st_size > 1000
    stated = json.loads((plan.out / "provenance.json").read_text(encoding="utf-8"))
    assert stated["studies"] == ["honest", "varied"] and len(stated["versions"]) == 1
    assert set(stated["networks"]) == {job.folder.name for job in plan.jobs}
    first = stated["networks"][plan.jobs[0].folder.name]
    assert first["recipe"]["epochs"] == plan.jobs[0].training.recipe.epochs
    kinds = [one.instrument.spec.name for one in plan.jobs[0].measurements]
    assert [one["instrument"] for one in first["measured"]] == kinds
    page = (plan.out / "report.html").read_text(encoding="utf-8")
    assert page.index("Is a tiny ViT honest?") < page.index("How do maps vary?")
    assert "the same ViT" in page


@pytest.mark.slow
def test_started_again_it_does_nothing_again(done):
    plan, before, _, _ = done
    times, said = stamps(plan.out), []
    after, failed = reproduce(replace(plan), InProcess("cpu"), said.append)
    assert said == ["2 networks: 2 there already, 0 to train or measure"]
    assert stamps(plan.out) == times
    pd.testing.assert_frame_equal(after.evidence, before.evidence)
    assert not failed


@pytest.mark.slow
def test_another_seed_may_stand_alone_and_is_judged_beside_the_first(done, tmp_path):
    results, failed = reproduce(replace(done[0], out=tmp_path, seeds=range(1, 2)), InProcess("cpu"))
    assert not failed and set(results.evidence["seed"]) == {1}
    assert json.loads((tmp_path / "provenance.json").read_text())["seeds"] == [1]
    assert (tmp_path / "figures" / "honest" / "honest-calibration.svg").is_file()
    both = gather_evidence([done[0].out, tmp_path])
    assert len(both) == 2 * len(results.evidence) and set(both["seed"]) == {0, 1}


@pytest.mark.slow
def test_weights_that_were_trained_anew_are_not_taken_for_those_measured(done, tmp_path):
    plan = replace(done[0], out=tmp_path / "copy")
    shutil.copytree(done[0].out, plan.out)
    job = plan.jobs[0]
    shutil.rmtree(job.folder)
    other = replace(job.training, recipe=replace(job.training.recipe, lr=1e-2))
    other.run("cpu")
    other.folder.rename(job.folder)
    with pytest.raises(ValueError, match=r"was measured on other weights than those of .*weights.safetensors"):
        _ = job.finished


@pytest.mark.slow
def test_a_network_that_fails_costs_the_others_nothing(done, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(done[0].out, out)
    lost = Arm("lost", replace(VIT, network="vit_nun"))
    plan = Plan(studies=(HONEST, replace(VARIED, arms=(*VARIED.arms, lost))), scale=SMOKE, out=out)
    results, failed = reproduce(plan, InProcess("cpu"))
    assert "There is no timm model 'vit_nun'" in str(failed)
    assert len(results.missing) == 1
    assert "vit_nun" in results.missing[0]
    assert {"the same ViT", "a shorter one"} <= set(results.evidence["arm"])


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_numbers(done, tmp_path):
    out = tmp_path / "out"
    line = [sys.executable, "-m", "alternet.cli", "reproduce", str(STUDIES), "--out", str(out), "--device", "cpu"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(TrainingRun(folder).finished for folder in out.glob("trained/*")):  # it may be being measured
        assert process.poll() is None, "it ended before the first training did"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = stamps(out)
    assert run(["reproduce", str(STUDIES), "--out", str(out), "--device", "cpu"]) == 0
    pd.testing.assert_frame_equal(numbers(out), numbers(done[0].out))
    weights = [file for file in finished if file.name == "weights.safetensors"]
    assert weights
    assert all(file.stat().st_mtime_ns == finished[file] for file in weights)


def numbers(out: Path) -> pd.DataFrame:
    """All evidence but how quick it went."""
    table = read_evidence(out / "evidence.csv")
    return table[table["quantity"] != "images_per_second"].reset_index(drop=True)


@pytest.mark.slow
def test_processes_give_the_numbers_of_one(done, tmp_path):
    again = ("reproduce", str(STUDIES), "--out", str(tmp_path), "--seeds", "1")
    plan = Plan(studies=(HONEST, VARIED), scale=SMOKE, out=tmp_path, again=again)
    _, failed = reproduce(plan, LocalProcesses(2, "cpu"))
    assert not failed
    one, two = numbers(done[0].out), numbers(tmp_path)
    keys = ["figure", "arm", "quantity"]
    assert one[keys].equals(two[keys])
    # with another number of threads sums may be in another order
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-3, atol=1e-5)


def test_a_dry_run_needs_no_data_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("alternet.studies.estimate._tried", lambda training: "not timed")
    out = tmp_path / "out"
    assert run(["reproduce", "all", "--scale", "cifar", "--dry-run", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "38 figures, " in printed
    assert "paper_resnet_50" in printed
    assert not out.exists()


def test_a_dry_run_says_what_a_step_costs_and_what_is_there(capsys, tmp_path):
    assert run(["reproduce", str(STUDIES), "--dry-run", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 figures, 2 trainings (0 there), 4 measurements (0 there)." in printed
    assert "2 epochs, adamw, seed 0, subset 1/8" in printed
    assert "Scale smoke, seeds 0, in" in printed
    network = timm.create_model("test_vit", num_classes=10, img_size=32)
    assert f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} M" in printed
    assert "on this machine" in printed


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["5z"], "There is no figure '5z'. "),
        (["nothing.py"], "There is no Python file nothing.py"),
        (["5a", "--scale", "big"], "Invalid value for '--scale'"),
        (["5a", "--seeds", "0"], "--seeds got '0', expected a number of 1 or more, or FROM:TO such as 3:5."),
        (["5a", "--seeds", "5:3"], "--seeds got '5:3'"),
        (["5a", "--seeds", "1:"], "--seeds got '1:'"),
        (["5a", "--data", "elpv", "--data", "digits:x", "--data", "folder"], "names several in place of photos"),
    ],
)
def test_wrong_calls_are_one_line(line, said, capsys, tmp_path):
    assert run(["reproduce", *line, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"), [("x = 1", "declares no study"), ("import nothing_there", "cannot be run for a declaration")]
)
def test_a_file_that_declares_nothing_is_refused(text, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        studies_named([str(file)], SMOKE)


def test_two_studies_of_one_name_are_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(STUDIES.read_text().replace('"honest"', '"5a"'))
    with pytest.raises(ValueError, match="Two studies are called '5a'"):
        studies_named(["5a", str(file)], SMOKE)


@pytest.mark.slow
def test_the_page_on_studies_of_one_s_own_runs(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "your-own-study.md").read_text(encoding="utf-8")
    study, more = re.findall(r"^```python.*?\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "my_study.py").write_text(study)
    assert run(["reproduce", str(tmp_path / "my_study.py"), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    evidence = read_evidence(tmp_path / "out" / "evidence.csv")
    assert set(evidence["arm"]) == {"ViT", "ResNet"}
    assert {"test_error", "nll_train", "overconfidence"} <= set(evidence["quantity"])
    assert (tmp_path / "out" / "figures" / "honest" / "honest.svg").exists()
    exec(more, {})  # a cell of the notebook, in which the study is a file of its own
    (tmp_path / "my_study.py").write_text(study + more)  # more arms, which no study of the file compares yet
    assert len(studies_named([str(tmp_path / "my_study.py")], SMOKE)) == 1


def test_data_by_name():
    assert located(["cifar10:/a", "cifar100:/b"], "cifar100", "cifar10") == {
        "cifar10": "cifar10:/a",
        "cifar100": "cifar100:/b",
    }


def test_the_figures_are_listed_without_torch():
    code = (
        "import sys; from alternet.cli import run; run(['list', 'figures'])\n"
        "print({'torch', 'timm', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip().endswith("set()"), done.stdout
    assert "12c" in done.stdout
    assert json.dumps(done.stdout.count("\n")) == "39"


@pytest.mark.slow
def test_a_training_that_fails_in_any_way_costs_the_others_no_figure(done):
    plan, *_ = done

    class Diverges:
        def run(self, jobs):
            yield from ()
            raise FloatingPointError("The training loss is not finite.")

    (plan.out / "report.html").unlink(missing_ok=True)
    results, failed = reproduce(plan, Diverges())
    assert isinstance(failed, FloatingPointError) and not results.missing
    assert (plan.out / "report.html").exists()
