"""Results: from what a plan left on the disk to evidence, and to figures and a report of it."""

from collections.abc import Iterable, Sequence
from math import isnan, nan
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from alternet.instruments import figures
from alternet.measurement import PROVENANCE, Measurement
from alternet.plotting import style
from alternet.plotting.panel import sheet
from alternet.plotting.style import cast, save
from alternet.report.contents import Study as Shown
from alternet.report.render import write
from alternet.runs import TrainingRun
from alternet.storage import write_atomically, write_json
from alternet.studies import drawing
from alternet.studies.declaration import Study, Training
from alternet.studies.evidence import COLUMNS, PUBLISHED_SEED, checked, published, write_evidence
from alternet.studies.origin import origin
from alternet.studies.plan import Plan, Wanted, trained
from alternet.studies.readings import rows
from alternet.studies.training_job import without_path
from alternet.studies.units import units_of

FIGURES = "figures"
EVIDENCE = "evidence.csv"
ENDINGS = ("svg", "pdf", "png")


class Collected(NamedTuple):
    """What there is of a plan.

    Attributes:
        evidence: All rows, of all studies.
        missing: A line about everything that is not there, in the order of the plan.
    """

    evidence: pd.DataFrame
    missing: list[str]


def collected(plan: Plan) -> Collected:
    """Read the evidence that a plan's trainings and measurements give; what is not finished is named."""
    found: list[tuple[object, ...]] = []
    missing: dict[str, None] = {}
    for one in plan.wanted:
        if not trained(one.training):
            missing[f"The training {one.training.folder} is not finished."] = None
            continue
        try:
            if one.measurement is not None and not one.measurement.finished:
                missing[f"The measurement {one.measurement.folder} is not finished."] = None
                continue
            tables = {} if one.measurement is None else one.measurement.result.tables
        except ValueError as error:
            missing[str(error)] = None
            continue
        x = one.arm.x if isnan(one.reading.x) else one.reading.x
        found += [
            (one.study.figure, one.arm.name, row.quantity, row.x, one.seed, row.value, row.standard_error)
            for row in rows(one.reading.how, tables, None if one.training.given else _log(one.training.result), x)
        ]
    table = pd.DataFrame(found, columns=list(COLUMNS))
    # Two readings may give one quantity, as the log (of all test images) and a corruption (of some) the accuracy: the
    # study's first one with a standard error stands.
    known = table.sort_values("standard_error", kind="stable", key=lambda column: column.isna())
    return Collected(checked(known.drop_duplicates(list(COLUMNS[:5])).sort_index()), list(missing))


def _log(run: TrainingRun) -> pd.DataFrame:
    tested = run.facts.get("test") or {}
    return run.log.assign(test_images=tested.get("images", nan))  # runs of version 0.1.0 do not say how many


def put_out(plan: Plan) -> Collected:
    """Write the evidence, where it comes from, the figures and the report of what there is.

    Returns:
        What there is, and what is missing.
    """
    results = collected(plan)
    write_evidence(plan.out / EVIDENCE, results.evidence)
    write_json(plan.out / PROVENANCE, origin(plan))
    shown = []
    for study in plan.studies:
        own = results.evidence[results.evidence["figure"] == study.figure]
        folder = plan.out / FIGURES / study.figure
        if study.units:
            shown.append(_of_units(plan, study, folder))
        elif len(own):
            write_evidence(folder / EVIDENCE, own)
            shown.append(_of_evidence(plan, study, own, folder))
    measurements = _of_networks(plan.wanted)
    if shown:
        write(measurements, results.missing, plan.out / "report.html", studies=shown)
    return results


def of_evidence(study: Study, own: pd.DataFrame, ours: str) -> Shown:
    """A study from its evidence alone, beside what was published.

    Args:
        study: What is compared, and its panels.
        own: The evidence of it that was measured, which may be none.
        ours: What stands behind the title of our panels, as `smoke, photos`.

    Examples:
        >>> from alternet.studies.reproduce import studies_named
        >>> from alternet.studies.scale import SMOKE
        >>> (study,) = studies_named(["5a"], SMOKE)
        >>> [panel.title for panel in of_evidence(study, published().iloc[:0], "").panels]
        ['Test error against NLL on augmented training data: the paper']
    """
    names = list(dict.fromkeys(arm.name for arm in study.arms))
    paper = published()
    paper = paper[(paper["figure"] == (study.published or study.figure)) & paper["arm"].isin(names)]
    evidence = pd.concat([own, paper.assign(figure=study.figure)], ignore_index=True)
    with cast(names), style.context():
        return Shown(
            figure=study.figure,
            title=study.title,
            arms=names,
            panels=drawing.panels(study, evidence, ours),
            entries=drawing.legend(evidence),
            sentences=drawing.sentences(evidence),
            note=study.note,
            tables={"evidence": evidence},
        )


def of_units(study: Study, units: pd.DataFrame) -> Shown:
    """A study of what networks are made of, from the table of their units."""
    with style.context():
        return Shown(
            figure=study.figure,
            title=study.title,
            arms=list(dict.fromkeys(units["arm"])),
            panels=[drawing.units_panel(units, study.title)],
            entries=drawing.units_legend(units),
            sentences=[
                "A box is a unit in forward order, a gap stands where the map becomes smaller; below is its side."
            ],
            note=study.note,
            tables={"units": units},
        )


def figure_of(shown: Shown) -> Figure | None:
    """All panels of a study on one sheet."""
    with cast(shown.arms), style.context():
        if not shown.panels:
            return None
        if "units" in shown.tables:
            return sheet(shown.panels, shown.entries, columns=6)  # kinds of units have short names
        sides = (shown.tables["evidence"]["seed"] == PUBLISHED_SEED).nunique()  # the paper left, ours right
        return sheet(shown.panels, shown.entries, columns=4, most=2 if sides == 2 else 3)


def _of_evidence(plan: Plan, study: Study, own: pd.DataFrame, folder: Path) -> Shown:
    data = dict.fromkeys(without_path(plan.training(arm.of, 0).data) for arm in study.arms)
    shown = of_evidence(study, own, f"{plan.scale.name}, {', '.join(data)}")
    if (figure := figure_of(shown)) is not None:
        _saved(figure, folder, study.figure)
    for instrument in study.exhibits:
        if measurements := _labelled(one for one in plan.wanted if one.study is study and _is_of(one, instrument)):
            with cast(shown.arms):
                _saved(figures.draw(Measurement.concat(measurements)), folder, f"{study.figure}-{instrument}")
    return shown


def _of_units(plan: Plan, study: Study, folder: Path) -> Shown:
    units = units_of(plan, study)
    write_atomically(folder / "units.csv", units.to_csv(index=False, lineterminator="\n"))
    shown = of_units(study, units)
    if (figure := figure_of(shown)) is not None:
        _saved(figure, folder, study.figure)
    return shown


def _saved(figure: Figure, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:
        save(figure, folder / f"{name}.{ending}")


def _is_of(one: Wanted, instrument: str) -> bool:
    return one.measurement is not None and one.measurement.instrument.spec.name == instrument


def _labelled(wanted: Iterable[Wanted]) -> list[Measurement]:
    """What was measured with the first seed, under the names of the arms."""
    wanted = list(wanted)
    first = min((one.seed for one in wanted), default=0)
    chosen = [one for one in wanted if one.seed == first and one.measurement is not None and _there(one)]
    moments = {one.measurement.snapshot for one in chosen if one.measurement is not None}
    found: dict[str, Measurement] = {}
    for one in chosen:
        assert one.measurement is not None
        place = "" if isnan(one.arm.x) else f", {one.arm.x:g}"
        label = one.arm.name + place + (f" ({one.measurement.snapshot})" if len(moments) > 1 else "")
        measurement = one.measurement.result
        found.setdefault(label, measurement.renamed({measurement.models[0]: label}))
    return list(found.values())


def _there(one: Wanted) -> bool:
    try:
        return trained(one.training) and (one.measurement is None or one.measurement.finished)
    except ValueError:
        return False


def _of_networks(wanted: Sequence[Wanted]) -> list[Measurement]:
    """For the report: one measurement an instrument, of every network that is trained as usual."""
    usual = [one for one in wanted if one.arm.of == Training(network=one.arm.name) and isnan(one.arm.x)]
    by_instrument: dict[str, dict[str, Wanted]] = {}
    for one in usual:
        if one.measurement is not None:
            by_instrument.setdefault(one.measurement.instrument.spec.name, {}).setdefault(one.arm.name, one)
    parts = (_labelled(found.values()) for found in by_instrument.values())
    return [Measurement.concat(part) for part in parts if part]
