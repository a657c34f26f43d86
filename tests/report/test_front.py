"""The first table: which numbers, over what, which is the best, and where each leads."""

from dataclasses import replace
from math import inf, nan, sqrt

import pandas as pd
import pytest
from tests.figures.crafted import (
    MAKERS,
    STEP_ERROR,
    calibration,
    claims,
    corruption,
    fourier,
    hessian,
    landscape,
    shape_bias,
    training,
    variance,
)
from tests.report.page import Page

from alternet.instruments import figures
from alternet.instruments.key_number import KeyNumber, Topic, interval
from alternet.measurement import Measurement
from alternet.report.contents import Study, contents
from alternet.report.front import Front, Row, best, over_runs
from alternet.report.render import html as to_html


def number(value: float, low: float = nan, high: float = nan, *, better="higher", topic: Topic = "cost") -> KeyNumber:
    return KeyNumber(value=value, low=low, high=high, better=better, title="Speed", says="", topic=topic)


def front_of(*measurements: Measurement) -> Front:
    shown = contents(measurements, ()).front
    assert shown is not None
    return shown


def column(shown: Front, title: str) -> dict[str, tuple[str, str, bool, str]]:
    """The cells of a column by row: text, interval, whether it is marked, and where it leads."""
    place = [column.title for column in shown.columns].index(title)
    cells = {row.name: row.cells[place] for row in shown.rows}
    return {name: (cell.text, cell.interval, cell.best, cell.link) for name, cell in cells.items() if cell}


def scored(name: str, accuracy: float, error: float, **facts: object) -> Measurement:
    one = calibration("ViT", name)
    table = one.table.assign(value=[accuracy, 1.0, 0.1], standard_error=[error, nan, nan])
    return replace(one, tables={**one.tables, "table": table}, provenances=({**one.provenance, **facts},))


@pytest.mark.parametrize(
    ("one", "other", "leads"),
    [
        # apart by 5, each off by 3: √18 = 4.2 is less than that; off by 4 is √32 = 5.7
        (number(80, 77, 83), number(75, 72, 78), True),
        (number(80, 76, 84), number(75, 71, 79), False),
        # of an interval that is not symmetric the side towards the other counts
        (number(80, 76, 99), number(75, 60, 77), True),
        (number(80, 60, 84), number(75, 73, 79), False),
        (number(75, 72, 78, better="lower"), number(80, 77, 83, better="lower"), True),
        (number(75, 72, 78), number(80, 77, 83), False),
        # without an interval, or where no end is the better one, nothing leads
        (number(80), number(10, 9, 11), False),
        (number(80, 79, 81), number(10), False),
        (number(80, 79, 81, better=""), number(10, 9, 11, better=""), False),
    ],
)
def test_a_number_leads_where_the_difference_is_larger_than_its_error(one: KeyNumber, other: KeyNumber, leads: bool):
    assert one.leads(other) is leads


def test_the_best_leads_every_other():
    numbers = {"a": number(80, 77, 83), "b": number(75, 72, 78), "c": number(79, 70, 88)}
    assert best(numbers) == ""
    assert best({name: numbers[name] for name in "ab"}) == "a"
    assert best({"a": numbers["a"]}) == ""


def test_over_runs_it_is_the_mean_with_student_s_interval():
    runs = [number(value, value - 9, value + 9) for value in (1.0, 2.0, 6.0)]
    summed = over_runs(runs)
    assert summed is not None and summed.value == 3
    half = 4.302653 * sqrt(7 / 3)  # variance of 1, 2, 6 is 7
    assert (summed.low, summed.high) == pytest.approx((3 - half, 3 + half), rel=1e-6)
    assert over_runs(runs[:1]) is runs[0] and over_runs([]) is None
    assert not over_runs([runs[0], runs[0]]).known  # runs that do not differ show no spread to judge by


def test_an_interval_needs_an_error():
    assert interval(0.5, 0.01) == pytest.approx({"low": 0.5 - 0.0195996, "high": 0.5 + 0.0195996}, abs=1e-6)
    assert interval(0.5, 0.01, 2)["high"] == pytest.approx(0.5 + 0.04302653, abs=1e-6)
    assert interval(0.5, nan) == interval(0.5, 0.0) == interval(0.5, inf) == interval(0.5, 0.01, 0) == {}


def test_every_number_comes_from_its_instrument_and_leads_to_its_figure():
    makers = (calibration, corruption, shape_bias, fourier, hessian, training)
    made = [Measurement.concat([make("ViT"), make("ResNet")]) for make in makers]
    made.append(Measurement.concat([landscape("ViT"), landscape("ResNet")]))
    shown = contents(made, ())
    links = {section.instrument: f"section-{number}" for number, section in enumerate(shown.sections, start=1)}
    front = shown.front
    assert front is not None
    titles = [one.title for one in front.columns]
    assert titles == [
        *("Accuracy", "NLL", "ECE"),
        *("Shape bias", "Corrupted"),
        "Attention low-pass",
        *("NEP", "APE", "NLL rise, r = 1"),
        "Parameters",
    ]
    assert front.topics == [
        ("accuracy and calibration", 3),
        ("robustness", 2),
        ("feature maps", 1),
        ("loss landscape", 3),
        ("cost", 1),
    ]
    # by closed forms of the crafted numbers
    share, images, z = 897 / 1080, 1080, 1.95996
    centre, half = share + z**2 / images / 2, z * (share * (1 - share) / images + (z / images / 2) ** 2) ** 0.5
    low, high = (100 * (centre + side * half) / (1 + z**2 / images) for side in (-1, 1))  # Wilson (1927)
    assert column(front, "Accuracy")["ViT"] == ("83.0 %", f"{low:.1f}–{high:.1f}", False, links["calibration"])
    assert column(front, "NLL")["ResNet"] == ("1.23", "", False, links["calibration"])
    half = 1.95996 * 0.01
    mean = 0.66 - 0.02 * 2.5 * 3
    assert column(front, "Corrupted")["ViT"] == (
        f"{100 * mean:.1f} %",
        f"{100 * (mean - half):.1f}–{100 * (mean + half):.1f}",
        False,
        links["corruption"],
    )
    assert column(front, "Shape bias")["ViT"] == ("48 %", "38–58", False, links["shape_bias"])
    assert column(front, "NLL rise, r = 1")["ViT"][0] == "3.00"
    assert column(front, "NLL rise, r = 1")["ViT"][1] == f"{3 - 2.262157 * 0.1:.2f}–{3 + 2.262157 * 0.1:.2f}"
    assert column(front, "NLL rise, r = 1")["ViT"][2:] == (True, links["landscape"])
    summary = hessian("ViT").tables["summary"].set_index("metric")
    assert float(column(front, "APE")["ViT"][0]) == pytest.approx(summary.at["ape", "value"], rel=0.02)
    assert column(front, "Parameters")["ViT"] == ("25.6 M", "", False, "networks")


def test_the_share_of_attention_that_is_low_pass_is_that_of_the_sentence():
    top = fourier("ViT").table.query("frequency == 1").sort_values("unit")
    step = top["delta_log_amplitude"].diff()[(top["kind"] == "msa").to_numpy()]
    lowers, clearly, may = (step < 0).mean(), (step < -2 * STEP_ERROR).mean(), (step <= 2 * STEP_ERROR).mean()
    (one,) = figures.key_numbers(fourier("ViT"))
    assert (one.value, one.low, one.high) == pytest.approx((lowers, clearly, may))
    assert f"in {(step < 0).sum()} of {len(step)} units" in figures.sentences(fourier("ViT"))[0]
    assert not figures.key_numbers(fourier("ResNet"))  # which has no attention
    old = fourier("ViT")
    bare = old.table.drop(columns=[name for name in old.table if name.startswith("step")])
    (one,) = figures.key_numbers(replace(old, tables={"table": bare}))
    assert one.value == pytest.approx(lowers) and not one.known


def test_a_group_is_a_row_of_its_own_before_its_runs():
    runs = [scored(f"a-{seed}", value, 0.02, group="a") for seed, value in enumerate((0.5, 0.6, 0.7))]
    shown = front_of(Measurement.concat([scored("b", 0.55, 0.01), *runs]))
    assert [(row.name, row.runs, row.of) for row in shown.rows] == [
        ("b", 0, ""),
        ("a", 3, ""),
        *((f"a-{seed}", 0, "a") for seed in range(3)),
    ]
    half = 4.302653 * 0.1 / sqrt(3)
    assert column(shown, "Accuracy")["a"][:2] == ("60 %", f"{60 - 100 * half:.0f}–{60 + 100 * half:.0f}")
    assert column(shown, "Accuracy")["a-1"][0] == "60 %"
    assert not any(marked for *_, marked, _ in column(shown, "Accuracy").values())
    row = {row.name: row for row in shown.rows}
    assert row["a"].models == [1] and row["b"].models == [0] and row["a-1"].models == []
    assert row["a"].sign and row["b"].sign


def test_a_group_is_whole_where_not_all_of_its_runs_were_measured():
    def of_group(one: Measurement) -> Measurement:
        return replace(one, provenances=({**one.provenance, "group": "a"},))

    runs = [of_group(hessian("ViT", f"a-{seed}")) for seed in range(3)]
    some = [of_group(calibration("ViT", f"a-{seed}")) for seed in range(2)]
    shown = contents([Measurement.concat(runs), Measurement.concat(some)], ())
    assert shown.front is not None
    (group,) = [row for row in shown.front.rows if row.runs]
    assert (
        isinstance(group, Row) and group.runs == 3 and len(group.models) == 4
    )  # three of eigenvalues, one mean of two


@pytest.mark.parametrize(
    "facts",
    [{"data": {"name": "digits", "fingerprint": "ef" * 16}}, {"settings": {"bins": 15}}, {"images": 64}],
)
def test_nothing_is_marked_where_models_were_not_measured_alike(facts: dict):
    alike = front_of(Measurement.concat([scored("a", 0.9, 0.01), scored("b", 0.5, 0.01)]))
    assert [marked for *_, marked, _ in column(alike, "Accuracy").values()] == [True, False]
    differ = front_of(Measurement.concat([scored("a", 0.9, 0.01), scored("b", 0.5, 0.01, **facts)]))
    assert [marked for *_, marked, _ in column(differ, "Accuracy").values()] == [False, False]
    assert [one.differs for one in differ.columns if one.title == "Accuracy"] == [True]


def test_a_column_is_of_the_instrument_that_measured_most_networks():
    trained = Measurement.concat([training("a"), training("b")])
    links = {"training": "section-1", "calibration": "section-2"}
    both = column(front_of(trained, scored("a", 0.9, 0.01)), "Accuracy")
    assert {name: cell[0] for name, cell in both.items()} == {"a": "61.0 %", "b": "61.0 %"}
    assert {cell[3] for cell in both.values()} == {links["training"]}
    measured = Measurement.concat([scored("a", 0.9, 0.01), scored("b", 0.8, 0.01)])
    assert {cell[3] for cell in column(front_of(trained, measured), "Accuracy").values()} == {links["calibration"]}


def test_what_nothing_measured_has_no_column_and_what_says_nothing_no_table():
    titles = [one.title for one in front_of(variance("ViT")).columns]
    assert titles == ["Parameters"]
    table = pd.DataFrame({"model": ["a"], "radius": [1.0]})
    bare = Measurement(instrument="radius", tables={"table": table}, provenances=({"model": {"name": "a"}},))
    assert contents([bare], ()).front is None
    timed = training("a")
    timed = replace(timed, tables={"table": timed.table.assign(images_per_second=[100.0, 300.0, 200.0])})
    assert column(front_of(timed), "Images a second")["a"][0] == "200"


def test_claims_stand_below_with_the_verdict_on_each_case():
    shown = contents([claims("measured"), variance("ViT")], ())
    assert [claim.text for claim in shown.claims] == [
        *("Attention averages", "Attention flattens", "On par with Swin"),
        "Shape-biased",  # of which nothing was measured
    ]
    averages = shown.claims[0]
    assert [(case.name, case.verdict, case.sign) for case in averages.cases] == [
        ("ViT", "supported", "✓"),
        ("PiT", "undecided", "○"),
        ("Swin", "contradicted (one run)", "✗"),
    ]
    assert averages.cases[0].numbers == "−0.05 (−0.08 to −0.02)"
    assert shown.headline == "How ViT works inside"  # evidence is no network
    page = Page()
    page.feed(to_html(shown))
    assert page.text.index("Key numbers") < page.text.index("Attention averages") < page.text.index("Settings and prov")


def test_key_numbers_of_every_instrument_are_numbers_of_the_log_as_well():
    for name, make in MAKERS.items():
        made, exhibit = make("ViT"), figures.FIGURES[name]
        stated = exhibit.numbers(made) if exhibit.numbers else {}
        assert figures.numbers(made).keys() <= stated.keys()
        assert len({one.title for one in figures.key_numbers(made)}) == len(figures.key_numbers(made))


def test_figures_of_studies_stand_ahead_of_what_numbers_lead_to():
    study = Study(
        figure="8", title="Where", arms=("ViT",), panels=(), entries=(), sentences=("One seed.",), note="", tables={}
    )
    shown = contents([scored("ViT", 0.5, 0.01)], (), studies=[study])
    assert shown.front is not None
    assert column(shown.front, "Accuracy")["ViT"][3] == "section-2"
    assert [section.instrument for section in shown.sections] == ["figure 8", "calibration"]
    assert (shown.headline, shown.sections[0].called) == ("Figures 8", "")
    many = [replace(study, figure=str(number), arms=("ViT", f"{number}")) for number in range(7)]
    shown = contents([scored("ViT", 0.5, 0.01)], (), studies=many)
    assert shown.headline == "7 figures of 8 networks"
    assert [section.called for section in shown.sections] == [*"0123456", ""]
