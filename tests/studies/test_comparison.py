"""Comparison of two networks: intervals and corrections against SciPy; what is not stored is not made up."""

from dataclasses import replace
from math import log, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_ind, ttest_rel
from tests.figures.crafted import MAKERS, fourier, hessian, several, training

from alternet import Measurement, compare
from alternet.cli import run
from alternet.instruments import figures
from alternet.instruments.differences import in_words
from alternet.studies.evidence import QUANTITIES
from alternet.studies.key_numbers import SUMMARIES, networks
from alternet.studies.over_batches import over_batches
from alternet.studies.readings import READINGS

nan = float("nan")


def calibrated(name: str, accuracy: float, *, error: float = nan, group: str = "", seed: int | None = None, **facts):
    metrics = {"accuracy": accuracy, "nll": 2 - accuracy, "ece": 0.1}
    table = pd.DataFrame({"model": name, "metric": list(metrics), "value": list(metrics.values())})
    bins = {"bin": [0], "low": [0.0], "high": [1.0], "count": [100], "accuracy": accuracy, "confidence": 0.9}
    tables = {
        "table": table.assign(standard_error=[error, nan, nan]),
        "reliability": pd.DataFrame({"model": name, **bins}),
    }
    facts |= {"group": group} if group else {}
    facts |= {"origin": {"weights": {"from": "run", "recipe_seed": seed}}} if seed is not None else {}
    provenance = {"instrument": "calibration", "model": {"name": name}, **facts}
    return Measurement(instrument="calibration", tables=tables, provenances=(provenance,))


def group(name: str, values, seeds) -> list[Measurement]:
    return [
        calibrated(f"{name} {k}", v, group=name, seed=s) for k, (v, s) in enumerate(zip(values, seeds, strict=True))
    ]


def row(measured, quantity: str = "accuracy", *names: str) -> pd.Series:
    table = compare(measured, *names).table.set_index("quantity")
    return table.loc[quantity]


A, B = [0.61, 0.63, 0.60, 0.66], [0.70, 0.69, 0.71, 0.72]


def test_runs_of_the_same_seeds_are_pairs():
    found = row([*group("cnn", A, [3, 1, 2, 0]), *group("vit", B[::-1], [0, 2, 1, 3])])
    pairs = ttest_rel([B[::-1][k] for k in (3, 2, 1, 0)], A)
    assert found["effect"] == pytest.approx(np.mean(B) - np.mean(A))
    assert (found["low"], found["high"]) == pytest.approx(tuple(pairs.confidence_interval(0.95)))
    assert found["p"] == pytest.approx(pairs.pvalue)
    assert (found["unit"], found["a"], found["b"]) == ("4 seeds, paired", "cnn (4 runs)", "vit (4 runs)")
    assert found["remark"] == "–" and found["value_a"] == pytest.approx(np.mean(A))


@pytest.mark.parametrize(
    ("seeds", "says"),
    [([0, 1, 2, 4], "trained with other seeds"), ([None] * 4, "seeds are not known"), ([0, 0, 1, 2], "not known")],
)
def test_runs_of_other_or_unknown_seeds_are_not(seeds, says):
    found = row([*group("cnn", A, [0, 1, 2, 3]), *group("vit", B, seeds)])
    welch = ttest_ind(B, A, equal_var=False)
    assert (found["low"], found["high"]) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert found["p"] == pytest.approx(welch.pvalue)
    assert found["unit"] == "4 and 4 seeds, unpaired" and says in found["remark"]


def test_of_two_groups_without_seeds_nothing_is_paired():
    found = row([*group("cnn", A, [None] * 4), *group("vit", B, [None] * 4)])
    assert found["unit"] == "4 and 4 seeds, unpaired"


def test_one_run_each_has_the_interval_of_independent_images_or_none():
    found = row([calibrated("cnn", 0.6, error=0.03), calibrated("vit", 0.7, error=0.04)])
    reach = norm.ppf(0.975) * sqrt(0.03**2 + 0.04**2)
    assert (found["effect"], found["low"], found["high"]) == pytest.approx((0.1, 0.1 - reach, 0.1 + reach))
    assert found["unit"] == "images, unpaired"
    bare = row([calibrated("cnn", 0.6), calibrated("vit", 0.7)])
    assert np.isnan([bare["low"], bare["p"]]).all()
    assert (bare["unit"], bare["remark"]) == ("one run", "no error is stored")


def test_a_group_beside_a_single_run_has_no_interval():
    found = row([*group("cnn", A, range(4)), calibrated("vit", 0.7)], "accuracy", "cnn", "vit")
    assert np.isnan(found["low"]) and "one run of one of the two" in found["remark"]


def test_p_values_are_corrected_for_all_rows_and_only_what_is_clear_is_called_better():
    measured = [*group("cnn", A, range(4)), *group("vit", B, range(4))]
    table = compare(measured).table.set_index("quantity")
    tested = table["p"].notna()
    ordered = table.loc[tested, "p"].sort_values()
    step = [min(1.0, (len(ordered) - k) * p) for k, p in enumerate(ordered)]
    assert table.loc[ordered.index, "p_holm"].tolist() == pytest.approx(np.maximum.accumulate(step).tolist())
    assert table.loc["accuracy", "better"] == table.loc["nll_test", "better"] == "vit (4 runs)"
    assert (
        table.loc["overconfidence", "p_holm"] < 0.05 and table.loc["overconfidence", "better"] == "–"
    )  # no better end
    close = compare([*group("cnn", A, range(4)), *group("vit", [0.6, 0.66, 0.61, 0.64], range(4))]).table
    assert set(close["better"]) == {"–"}


def test_the_order_of_networks_turns_every_sign():
    measured = [*several_kinds("ViT"), *several_kinds("ResNet")]
    ahead = compare(measured, "ResNet", "ViT").table.set_index("what")
    back = compare(measured, "ViT", "ResNet").table.set_index("what").loc[ahead.index]
    ratio = ahead["scale"] == "ratio"
    np.testing.assert_allclose(ahead["effect"][~ratio], -back["effect"][~ratio], atol=1e-12)
    np.testing.assert_allclose(ahead["effect"][ratio] * back["effect"][ratio], 1)
    np.testing.assert_allclose(ahead["low"][~ratio], -back["high"][~ratio], atol=1e-12)
    assert ahead["better"].equals(back["better"])


def several_kinds(name: str) -> list[Measurement]:
    return [MAKERS[kind](name) for kind in READINGS if kind != "trajectory"]


def test_every_instrument_is_compared_by_its_declared_numbers():
    measured = [*several_kinds("ViT"), *several_kinds("ResNet")]
    found = compare(measured, "ResNet", "ViT")
    read = {one.instrument for one in measured}
    assert set(found.table["instrument"]) == read
    assert not found.table["what"].duplicated().any()
    assert found.table.set_index("quantity").loc["accuracy", "instrument"] != "training"  # which has no error
    assert found.table.set_index("what").loc["Rise of the NLL at r = 1", "unit"] == "directions, unpaired"
    assert "variance" not in set(found.table["quantity"]) and "test_error" not in set(found.table["quantity"])
    figures.exhibit("comparison").check(found)
    assert len(figures.draw(found).axes) == 4


def test_every_summary_by_which_something_is_compared_has_words():
    assert {summary for what in QUANTITIES.values() for summary in what.compared} <= set(SUMMARIES)


def test_what_was_measured_otherwise_is_said():
    data = [
        {"data": {"name": "photos", "fingerprint": mark}, "settings": {"bins": n}} for mark, n in (("a", 10), ("b", 15))
    ]
    found = row([calibrated("cnn", 0.6, error=0.1, **data[0]), calibrated("vit", 0.7, error=0.1, **data[1])])
    assert found["remark"] == "other settings: bins 10, 15; other images"


def test_what_one_network_lacks_is_said():
    found = compare([calibrated("cnn", 0.6), calibrated("vit", 0.7), fourier("ViT", "vit"), fourier("ResNet", "cnn")])
    attention = found.table.set_index("quantity").loc["attention_high_step"]
    assert np.isnan(attention["effect"]) and attention["remark"] == "undefined for cnn"
    alone = compare([calibrated("cnn", 0.6), calibrated("vit", 0.7), fourier("ViT", "vit")])
    assert alone.provenance["left_out"] == {"vit": ["fourier"]}
    assert "Measured of one of them alone: fourier (vit)." in figures.sentences(alone)[0]
    with pytest.raises(ValueError, match="Nothing to compare: cnn has calibration, vit has fourier"):
        compare([calibrated("cnn", 0.6), fourier("ViT", "vit")])


def eigenvalues(name: str, batches, **settings) -> Measurement:
    values = np.asarray(batches, dtype=float)
    number, rank = np.indices(values.shape)
    where = {"batch": number.ravel(), "rank": rank.ravel(), "eigenvalue": values.ravel(), "residual": 0.0}
    summary = {
        "metric": ["nep", "ape"],
        "value": [(values < 0).mean(), values[values > 0].mean()],
        "low": nan,
        "high": nan,
    }
    tables = {"table": pd.DataFrame({"model": name, **where}), "summary": pd.DataFrame({"model": name, **summary})}
    facts = {"instrument": "hessian", "model": {"name": name}, "data": {"name": "d"}, "settings": {"k": 5, **settings}}
    return Measurement(instrument="hessian", tables=tables, provenances=(facts,))


@pytest.fixture
def sharp() -> tuple[Measurement, Measurement]:
    """Batches that are sharp for one are sharp for the other."""
    draws = np.random.default_rng(0)
    common = np.exp(draws.normal(size=(12, 1)))
    first, second = (common * draws.normal(loc, 1, size=(12, 5)) for loc in (2.0, 1.0))
    return eigenvalues("a", 10 * first), eigenvalues("b", 10 * second)


def test_hessians_of_the_same_batches_are_paired_batch_by_batch(sharp):
    a, b = sharp
    table = compare([a, b]).table.set_index("quantity")
    shares = [one.table.assign(n=one.table["eigenvalue"] < 0).groupby("batch")["n"].mean() for one in (a, b)]
    pairs = ttest_rel(shares[1], shares[0])  # with as many eigenvalues in each batch the jackknife is Student's
    found = table.loc["nep"]
    assert (found["low"], found["high"]) == pytest.approx(tuple(pairs.confidence_interval(0.95)))
    assert found["unit"] == "12 batches, paired"

    def ape(one: Measurement, without: int = -1) -> float:
        values = one.table.loc[one.table["batch"] != without, "eigenvalue"]
        return log(values[values > 0].mean())

    left_out = np.array([ape(b, k) - ape(a, k) for k in range(12)])
    error = sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    estimate = over_batches(b, a)["ape"]
    assert (estimate.value, estimate.error) == pytest.approx((ape(b) - ape(a), error))
    assert table.loc["ape", "effect"] == pytest.approx(np.exp(ape(b) - ape(a)))
    alone = [
        abs(np.diff(over_batches(one, eigenvalues("flat", np.ones((12, 5))))["ape"].interval())[0]) for one in sharp
    ]
    assert abs(np.diff(estimate.interval())[0]) < min(alone)  # what both share is no error of their difference


@pytest.mark.parametrize("count", [5, 6, 10, 12])
def test_batches_that_all_differ_by_the_same_have_no_spread_to_judge_by(count: int):
    """Of rounding alone an error of 1e-17 would come, and a p-value of 1e-164."""
    a, b = (eigenvalues(name, [[first, 1, 1, 1, 1]] * count) for name, first in (("a", 1.0), ("b", -1.0)))
    found = row([a, b], "nep")
    assert found["effect"] == pytest.approx(0.2) and np.isnan(found[["low", "high", "p"]].astype(float)).all()
    assert found["remark"] == "batches do not differ, so there is no spread to judge by" and found["better"] == "–"


def test_of_a_log_and_a_calibration_the_measured_accuracy_is_compared():
    logs = [
        replace(one, provenances=({**one.provenance, "recipe": {"seed": seed}},))
        for name, accuracy in (("a", 0.9), ("b", 0.1))
        for seed in (1, 2, 3)
        for one in [training(f"{name} {seed - 1}")]
        if one.table.__setitem__("test_accuracy", accuracy + seed / 100) is None
    ]
    measured = [*group("a", [0.5, 0.52, 0.51], (1, 2, 3)), *group("b", [0.7, 0.73, 0.72], (1, 2, 3))]
    for order in ([*logs, *measured], [*measured, *logs]):
        found = row(order, "accuracy", "a", "b")
        assert found["instrument"] == "calibration" and found["effect"] == pytest.approx(0.2066667)


def test_hessians_of_other_batches_are_not_paired(sharp):
    a, b = sharp
    other = replace(b, provenances=({**b.provenance, "settings": {"k": 5, "seed": 1}},))
    assert over_batches(other, a) == {}
    found = row([a, other], "nep")
    assert np.isnan(found["low"]) and found["remark"] == "other settings: seed null, 1; other batches, or too few"
    fewer = b.table[b.table["batch"] < 4]
    assert over_batches(replace(b, tables={**b.tables, "table": fewer}), a) == {}


def test_certain_eigenvalues_are_counted_as_the_instrument_counts():
    a, b = hessian("ResNet", "a"), hessian("ViT", "b")
    sure = [replace(one, provenances=({**one.provenance, "settings": {"negative": "certain"}},)) for one in (a, b)]
    found = over_batches(sure[1], sure[0])
    stated = [one.tables["summary"].set_index("metric")["value"] for one in (a, b)]
    assert found["nep"].value == pytest.approx(stated[1]["nep"] - stated[0]["nep"])
    assert found["ape"].value == pytest.approx(log(stated[1]["ape"] / stated[0]["ape"]))


def test_networks_are_groups_and_single_models():
    measured = [*group("cnn", A, range(4)), calibrated("vit", 0.7), calibrated("one", 0.5, group="lonely", seed=0)]
    found = networks(measured)
    assert [(one.name, one.called) for one in found] == [("cnn", "cnn (4 runs)"), ("vit", "vit"), ("one", "one")]
    with pytest.raises(ValueError, match="compare takes two networks, got cnn, vit, one"):
        compare(measured)
    with pytest.raises(ValueError, match="No network 'cmn'. Did you mean cnn"):
        compare(measured, "cmn", "vit")
    assert row(measured, "accuracy", "cnn 0", "cnn 1")["effect"] == pytest.approx(A[1] - A[0])
    with pytest.raises(ValueError, match="measured twice by calibration"):
        networks([*measured, measured[0]])


def test_the_seed_of_a_run_is_read_from_its_log_as_well():
    logs = [
        replace(training(f"cnn {k}"), provenances=({**training(f"cnn {k}").provenance, "recipe": {"seed": k}},))
        for k in range(4)
    ]
    (cnn,) = networks([*group("cnn", A, [None] * 4), *logs])
    assert cnn.seeds == {f"cnn {k}": k for k in range(4)} and cnn.seeds_known


def test_a_comparison_is_a_measurement(tmp_path: Path):
    found = compare([calibrated("cnn", 0.6, error=0.01), calibrated("vit", 0.7, error=0.01)])
    (again,) = [Measurement.load(path.parent) for path in found.save(tmp_path).rglob("provenance.json")]
    pd.testing.assert_frame_equal(again.table, found.table, check_dtype=False)
    figures.exhibit("comparison").check(again)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for one in (*group("cnn", A, range(4)), *group("vit net", B, range(4)), calibrated("a/b", 0.5, error=0.1)):
        one.save(tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("cnn", "vit net", "vit net (4 runs) − cnn (4 runs)"),
        ("cnn 0", "a/b", "a/b − cnn 0"),
        ("cnn 0", "a_b", "a/b − cnn 0"),
        ("cnn_?", "vit_net_*", "vit_net_* (4 runs) − cnn_? (4 runs)"),
    ],
)
def test_the_command_takes_what_lies_in_the_folder(results: Path, capsys, a, b, says):
    assert run(["compare", f"{results}/{a}" if "/" not in a else a, f"{results / b.replace('/', '_')}"]) == 0
    said = capsys.readouterr().out
    assert says in said and "Accuracy" in said


def test_the_command_writes_what_the_endings_say(results: Path, tmp_path: Path, capsys):
    files = [tmp_path / f"c{ending}" for ending in (".csv", ".tex", ".md", ".svg", ".html")]
    outs = [part for file in (*files, results) for part in ("--out", f"{file}")]
    assert run(["compare", f"plain={results}/cnn", f"mixed={results}/vit net", *outs]) == 0
    assert all(file.stat().st_size > 500 for file in files)
    table = pd.read_csv(files[0])
    assert table["a"].unique() == ["plain (4 runs)"] and len(table) == 4
    assert r"\toprule" in files[1].read_text() and files[1].read_text().isascii()
    assert files[2].read_text().count("\n") == 2 + len(table)
    page = files[4].read_text()
    assert page.index("Comparison") < page.index("Calibration") and "mixed (4 runs) is better" in page
    assert any(results.glob("*/comparison"))
    assert run(["report", f"{results}", "--out", f"{tmp_path / 'all.html'}"]) == 0
    assert "In what do the two networks differ" in (tmp_path / "all.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{out}/cmn", "{out}/cnn"], "There is no network 'cmn' in"),
        (["{out}", "{out}/cnn"], "expected one network"),
        (["nowhere/cnn", "{out}/cnn"], "There is no folder nowhere"),
        (["{out}/cnn", "{out}/cnn"], "A and B are both"),
        (["{out}/cnn", "{out}/a_b", "--out", "{out}/x.docx"], "expected a folder, or a file that ends in .html"),
    ],
)
def test_wrong_calls_of_the_command(results: Path, capsys, arguments, says):
    assert run(["compare", *(argument.format(out=results) for argument in arguments)]) == 2
    assert says in capsys.readouterr().err


def test_networks_of_one_name_in_two_folders_bear_their_places(tmp_path: Path, capsys):
    for folder, accuracy in (("first", 0.5), ("second", 0.6)):
        calibrated("net", accuracy, error=0.01).save(tmp_path / folder)
    assert run(["compare", f"{tmp_path}/first", f"{tmp_path}/second", "--out", f"{tmp_path}/x.html"]) == 0
    assert f"net [{tmp_path}/second] − net [{tmp_path}/first]" in capsys.readouterr().out


def test_words_say_shares_in_per_cent_and_ratios_as_such():
    words = in_words(several("comparison", "B − A").table)
    assert list(words.columns)[:3] == ["number", "A", "B"]
    assert words.iloc[0].tolist()[1:6] == ["60.0%", "70.0%", "+10 pp", "+4 to +16", "5 seeds, paired"]
    assert words.iloc[3].tolist()[1:5] == ["500", "50", "× 0.1", "0.05 to 0.2"]
    assert words.iloc[4]["A"] == "" and words.iloc[4]["difference"] == ""


def test_an_error_over_a_few_directions_has_few_degrees_of_freedom():
    """Welch's, from the standard errors and how many directions each is over: as of the rises themselves."""
    draws = np.random.default_rng(0)
    rises = {"a": draws.normal(3, 1, 6), "b": draws.normal(5, 2, 10)}
    measured = []
    for name, values in rises.items():
        one = MAKERS["landscape"](name)
        flat = one.tables["flatness"].assign(
            nll_rise=values.mean(), nll_standard_error=values.std(ddof=1) / sqrt(len(values)), finite=len(values)
        )
        measured.append(replace(one, tables={**one.tables, "flatness": flat}))
    found = row(measured, "rise_nll")
    welch = ttest_ind(rises["b"], rises["a"], equal_var=False)
    assert (found["low"], found["high"]) == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert found["p"] == pytest.approx(welch.pvalue) and found["unit"] == "directions, unpaired"
