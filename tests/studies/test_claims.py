"""Claims: what the published numbers say of each is pinned, and what measured ones say follows from them alone."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alternet.cli import run
from alternet.instruments import figures
from alternet.instruments.verdicts import placed
from alternet.measurement import Measurement
from alternet.studies.claim import Claim, Reading, above, as_measurement, below, judge_claims, smaller
from alternet.studies.claims import CLAIMS
from alternet.studies.evidence import QUANTITIES, checked, gather_evidence, published, write_evidence

ELSEWHERE = {"SAM", "shape", "smoothing", "static"}
"""Comparisons that are no figure of the paper."""

CONTRADICTED = {
    ("attention-low-pass", "PiT"),
    ("mlp-high-pass", "ViT"),
    ("attention-averages", "Swin"),  # raises it in 8 of 12 units
    ("attention-averages", "Swin, most units"),
    ("attention-at-ends", "PiT, end − start"),
    ("small-patches", "smallest − next"),  # C.3
    ("longer-training", "ResNet, test error"),  # C.2, past 300 epochs
}
UNDECIDED = {("attention-low-pass-units", "PiT")}  # 6 of 12
NOT_PUBLISHED = {
    ("sam-smoothing", "SAM, NEP"),
    ("sam-smoothing", "SAM, APE"),
    ("sam-smoothing", "smoothing, NEP"),
    ("kernel-robust", "5 × 5 − 3 × 3"),
    ("shape-bias", "ViT − ResNet"),
    ("shape-bias", "AlterNet − ResNet"),
    ("data-specific", "MSA − static"),
}


def verdicts(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(row.claim, row.case): row.verdict for row in table.itertuples()}


@cache
def judged_published() -> pd.DataFrame:
    return judge_claims(CLAIMS, published())


def rows(arm: str, quantity: str, values, *, figure: str = "F", x=(np.nan,), errors=np.nan) -> pd.DataFrame:
    """Evidence of several seeds, [seed, x]."""
    values = np.reshape(values, (-1, len(x)))
    seeds, places = np.indices(values.shape)
    found = {"figure": figure, "arm": arm, "quantity": quantity, "x": np.asarray(x)[places.ravel()]}
    return pd.DataFrame({**found, "seed": seeds.ravel(), "value": values.ravel(), "standard_error": errors})


def one(case, *parts: pd.DataFrame) -> pd.Series:
    table = judge_claims([Claim("c", "feature maps", "t", "s", (case,))], checked(pd.concat(parts)))
    return table.iloc[0]


def test_every_published_verdict_is_the_one_that_the_numbers_give():
    found = verdicts(judged_published())
    assert len(CLAIMS) == 29 and len(found) == 81
    special = dict.fromkeys(CONTRADICTED, "contradicted (one run)") | dict.fromkeys(UNDECIDED, "undecided (one run)")
    special |= dict.fromkeys(NOT_PUBLISHED, "not published")
    assert found == {key: special.get(key, "supported (one run)") for key in found}
    assert set(special) <= set(found)


def test_the_counts_of_units_are_those_of_the_paper():
    """Attention lowers the high band in 9, 6 and 8 of 12 units, and the variance in 12, 10 and 4."""
    table = judged_published().set_index(["claim", "case"])["effect"] * 12
    arms = ("ViT", "PiT", "Swin")
    assert [round(table["attention-low-pass-units", arm]) for arm in arms] == [9, 6, 8]
    assert [round(table["attention-averages", f"{arm}, most units"]) for arm in arms] == [12, 10, 4]
    assert [round(table["mlp-high-pass", f"{arm}, most units"]) for arm in arms] == [8, 10, 10]


def test_published_effects_are_those_of_the_paper():
    effects = judged_published().set_index(["claim", "case"])["effect"]
    assert effects["attention-flattens", "ViT / ResNet, APE, early"] == pytest.approx(47.2 / 560)
    assert effects["heads-convexify", "APE, exponent"] == pytest.approx(-0.539, abs=1e-3)
    assert effects["width-convexifies", "APE, exponent"] == pytest.approx(-0.658, abs=1e-3)
    assert effects["alternet-small-data", "AlterNet − ResNet, accuracy"] == pytest.approx(0.0154)
    assert effects["longer-training", "ResNet, test error"] == pytest.approx(0.2032 - 0.1776)
    assert effects["gap-accurate", "GAP − CLS"] == pytest.approx(0.027)
    low = np.mean([-5.5 + 5.01, -12.07 + 8.84, -14.93 + 12.72]) / 100
    assert effects["noise-by-frequency", "ViT − ResNet, low"] == pytest.approx(low)


def test_published_numbers_have_neither_intervals_nor_p_values():
    table = judged_published()
    assert table[["low", "high", "p", "p_holm"]].isna().all().all()


@cache
def repeated(seeds: int, noise: float) -> pd.DataFrame:
    """The published numbers as if measured over seeds that hardly differ."""
    generator = np.random.default_rng(0)
    parts = []
    for seed in range(seeds):
        part = published().assign(seed=seed)
        part["value"] += noise * generator.normal(size=len(part)) * part["value"].abs()
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_the_same_numbers_measured_over_seeds_give_the_same_verdicts_with_intervals():
    table = judge_claims(CLAIMS, repeated(4, 1e-6))
    found = verdicts(table)
    for key, verdict in verdicts(judged_published()).items():
        if key in UNDECIDED:
            continue
        if key in NOT_PUBLISHED:
            assert found[key] == "not measured"
        elif not found[key].endswith("(no interval)"):  # ResNet's NEP of 0 has no spread, its difference to ViT has
            assert found[key] == verdict.partition(" (")[0]
    tested = table["low"].notna()
    assert tested.sum() == 74 and (table.loc[tested, "unit"].str.startswith("4 seeds")).all()
    assert (table.loc[tested, "p_holm"] >= table.loc[tested, "p"]).all()
    inside = table[tested]
    assert ((inside["low"] <= inside["effect"]) & (inside["effect"] <= inside["high"])).all()


def test_noise_makes_verdicts_undecided():
    counts = Counter(judge_claims(CLAIMS, repeated(3, 3.0))["verdict"])
    assert counts["undecided"] > 50


def test_the_order_of_rows_does_not_matter():
    shuffled = repeated(3, 0.1).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(judge_claims(CLAIMS, shuffled), judge_claims(CLAIMS, repeated(3, 0.1)))


def test_published_rows_beside_measured_ones_are_not_judged():
    both = pd.concat([published(), repeated(3, 0.1)])
    pd.testing.assert_frame_equal(judge_claims(CLAIMS, both), judge_claims(CLAIMS, repeated(3, 0.1)))


def test_of_one_run_with_standard_errors_the_interval_is_over_images():
    case = below("x", "F", Reading("ViT", "attention_high_step"))
    found = one(case, rows("ViT", "attention_high_step", [-0.3], errors=0.1))
    assert (found.verdict, found.unit) == ("supported", "images (one run)")
    assert (found.low, found.high) == pytest.approx((-0.496, -0.104), abs=1e-3)
    assert one(case, rows("ViT", "attention_high_step", [-0.3], errors=0.2)).verdict == "undecided"


@pytest.mark.parametrize(
    ("summary", "known"),
    [
        ("first", lambda x, y: y[0]),
        ("second", lambda x, y: y[1]),
        ("middle", lambda x, y: y[2]),
        ("last", lambda x, y: y[-1]),
        ("edge", lambda x, y: y[-1]),
        ("low", lambda x, y: (y[0] + y[1]) / 2),
        ("high", lambda x, y: (y[3] + y[4]) / 2),
        ("per doubling", lambda x, y: np.polyfit(np.log2(x), y, 1)[0]),
        ("exponent", lambda x, y: np.polyfit(np.log(x), np.log(y), 1)[0]),
    ],
)
def test_summaries_of_a_series(summary, known):
    x, y = np.array([0.1, 0.2, 0.5, 0.8, 1.0]), np.array([3.0, 2.5, 4.0, 1.0, 0.7])
    found = one(
        above("c", "F", Reading("ViT", "ape", summary)), rows("ViT", "ape", y, x=x).sample(frac=1, random_state=1)
    )
    assert found.effect == pytest.approx(known(x, y))


def test_the_slope_over_the_training_nll_is_that_of_a_line():
    x, error, nll = (0.1, 0.5, 1.0), [0.9, 0.5, 0.4], [3.5, 2.9, 2.6]
    parts = rows("ViT", "test_error", error, x=x), rows("ViT", "nll_train", nll, x=x)
    found = one(above("c", "F", Reading("ViT", "test_error", "per nat")), *parts)
    assert found.effect == pytest.approx(np.polyfit(nll, error, 1)[0])
    apart = [part.assign(arm=["A", "B", "C"], x=np.nan) for part in parts]
    over_arms = one(above("c", "F", Reading("*", "test_error", "per nat")), *apart)
    assert over_arms.effect == pytest.approx(found.effect)


def test_errors_of_one_network_add_up_as_if_all_erred_alike():
    parts = rows("ViT", "noise_drop", [-0.2, -0.4, -0.1], x=(0.1, 0.3, 0.9), errors=[0.01, 0.03, 0.5])
    found = one(below("c", "F", Reading("ViT", "noise_drop", "low")), parts)
    assert found.high - found.effect == pytest.approx(1.959964 * 0.02)


def test_a_ratio_has_an_interval_in_the_logarithm():
    """Every seed a factor of 2 apart, once more and once less: the geometric mean."""
    less = rows("ResNet", "ape", [10, 20, 40])
    found = one(
        smaller("c", "F", Reading("ViT", "ape"), Reading("ResNet", "ape")), rows("ViT", "ape", [5, 5, 40]), less
    )
    assert found.effect == pytest.approx((0.5 * 0.25 * 1) ** (1 / 3))
    assert found.low * found.high == pytest.approx(found.effect**2)
    assert found.verdict == "undecided"


def test_runs_that_lack_a_number_are_counted_and_left_out():
    values = rows("ViT", "nep", [[0.1, 0.2, 0.3], [0.2, 0.4, 0.5], [0.3, 0.7, 0.8]], x=(1, 2, 4))
    case = above("c", "F", Reading("ViT", "nep", "per doubling"))
    assert (one(case, values).unit, one(case, values).left_out) == ("3 seeds", 0)
    unfinished = one(case, values.iloc[:-1])
    assert (unfinished.unit, unfinished.left_out) == ("2 seeds", 1)
    undefined = values.assign(value=values["value"].where(values["seed"] != 1))
    assert one(case, undefined).left_out == 1
    assert one(case, values.assign(value=np.nan)).verdict == "undefined"
    assert one(case, rows("PiT", "nep", [0.1])).verdict == "not measured"


def test_the_study_of_a_second_data_set_stands_for_the_papers():
    x, names = (np.nan,), ["A", "B", "C"]
    parts = [
        rows(arm, quantity, [value], x=x, figure="C.1")
        for quantity, values in {"test_error": (0.3, 0.2, 0.1), "nll_train": (3, 2, 1.5)}.items()
        for arm, value in zip(names, values, strict=True)
    ]
    table = judge_claims(CLAIMS, checked(pd.concat(parts))).set_index(["claim", "case"])["verdict"]
    assert table["no-overfitting", "networks, second data set"] == "supported (one run)"
    assert table["no-overfitting", "networks"] == table["no-overfitting", "networks, ImageNet"] == "not measured"


def test_one_arm_alone_is_no_comparison():
    case = above("c", "F", Reading("ViT", "nep"), Reading("ResNet", "nep"))
    assert one(case, rows("ViT", "nep", [0.1, 0.2])).verdict == "not measured"
    assert one(case, rows("ResNet", "nep", [0.1, 0.2])).verdict == "not measured"
    assert (
        one(case, rows("ViT", "nep", [0.1, 0.2]), rows("ResNet", "nep", [0.1, 0.2], figure="G")).verdict
        == "not measured"
    )


def test_a_series_where_one_number_is_expected_is_refused():
    case = above("c", "F", Reading("ViT", "nep"))
    with pytest.raises(ValueError, match="Figure F has 2 values of nep of ViT in one run, expected one"):
        one(case, rows("ViT", "nep", [0.1, 0.2], x=(1, 2)))


def test_claims_speak_of_known_quantities_and_figures():
    known = set(published()["figure"]) | ELSEWHERE
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    for claim in CLAIMS:
        assert len({case.name for case in claim.cases}) == len(claim.cases)
        for case in claim.cases:
            assert case.figure in known
            assert {reading.quantity for reading in (case.of, case.less) if reading} <= set(QUANTITIES)


def test_verdicts_are_kept_drawn_and_read_again(tmp_path: Path):
    evidence = repeated(3, 0.2)
    made = as_measurement(judge_claims(CLAIMS[:6], evidence), "measured", evidence)
    made.save(tmp_path)
    again = Measurement.load(tmp_path / "measured" / "claims")
    assert verdicts(again.table) == verdicts(made.table)
    assert figures.sentences(again) == figures.sentences(made)
    assert figures.sentences(made)[0].startswith("measured: ")
    assert "Contradicted: attention-low-pass (PiT); mlp-high-pass (ViT); " in figures.sentences(made)[0]


def test_rows_of_the_drawing_lie_on_the_side_of_their_verdict():
    for row in judge_claims(CLAIMS, repeated(4, 0.05)).to_dict("records"):
        if row["verdict"] not in ("supported", "contradicted", "undecided"):
            continue
        place = placed(row)
        assert place.low <= place.value <= place.high and max(map(abs, place)) == pytest.approx(1)
        side = "supported" if place.low > 0 else "contradicted" if place.high < 0 else "undecided"
        assert side == row["verdict"], row


def test_the_command_judges_both_and_writes_what_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_evidence(tmp_path / "study" / "evidence.csv", repeated(3, 0.1))
    assert run(["claims", str(tmp_path / "study"), "--published", "--csv", str(tmp_path / "c.csv")]) == 0
    said = capsys.readouterr().out
    counts = "66 supported (one run), 7 contradicted (one run), 1 undecided (one run), 7 not published"
    assert f"published: {counts}." in said
    assert all(f"{claim.text} ({claim.source}) [{claim.name}]" in said for claim in CLAIMS)
    assert "measured: " in said and "│   AlterNet − ResNet, accuracy" in said and "…" not in said
    assert pd.read_csv(tmp_path / "c.csv")["model"].tolist() == ["measured"] * 81 + ["published"] * 81


def test_the_command_draws_and_keeps_verdicts_for_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alternet.studies.claims.CLAIMS", CLAIMS[:2])
    drawing, out = tmp_path / "c.svg", tmp_path / "out"
    assert run(["claims", "--published", "--figure", str(drawing), "--out", str(out)]) == 0
    assert "<svg" in drawing.read_text(encoding="utf-8")
    assert run(["report", str(out), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Attention lowers the amplitude of high frequencies" in page
    assert "published: 4 supported (one run), 1 contradicted (one run), 1 undecided (one run)." in page


def test_parts_of_a_study_are_gathered_once(tmp_path: Path):
    whole = repeated(2, 0.1)
    whole = whole[whole["figure"].isin(["8", "12b"])]
    for figure, part in whole.groupby("figure"):
        write_evidence(tmp_path / "figures" / str(figure) / "evidence.csv", part)
    order = ["figure", "arm", "quantity", "x", "seed"]
    for paths in ([tmp_path], [tmp_path, tmp_path], sorted(tmp_path.rglob("*.csv"))):
        found = gather_evidence(paths).sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(found, whole.sort_values(order, ignore_index=True))


def test_the_page_runs_as_it_stands(capsys: pytest.CaptureFixture):
    page = (Path(__file__).parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, {})
    said = capsys.readouterr().out
    assert "small-patches" in said and "supported (one run)" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no evidence in"),
        ("figure,arm\n8,ViT\n", "there is no column quantity"),
        (
            "figure,arm,quantity,x,seed,value,standard_error\n8,ViT,attention_high_stp,,0,1,\n",
            "Did you mean attention_hi",
        ),
        ("figure,arm,quantity,x,seed,value,standard_error\n8,ViT,nep,,0,x,\n", "row 1: value is 'x'"),
    ],
)
def test_what_is_no_evidence_ends_the_command_in_one_line(tmp_path: Path, capsys, content: str | None, said: str):
    if content is not None:
        (tmp_path / "evidence.csv").write_text(content, encoding="utf-8")
    assert run(["claims", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_nothing_to_judge_and_contradicting_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run(["claims"]) == 2
    assert "name folders that alternet reproduce wrote, or give --published" in capsys.readouterr().err
    for name, noise in (("a", 0.1), ("b", 0.2)):
        write_evidence(tmp_path / name / "evidence.csv", repeated(2, noise))
    assert run(["claims", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "says again what" in capsys.readouterr().err
