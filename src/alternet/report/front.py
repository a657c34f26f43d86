"""Front: the table that answers first: models and groups of runs against the key numbers of all instruments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, log10, nan
from statistics import mean, median, stdev

from matplotlib.lines import Line2D

from alternet.instruments import figures
from alternet.instruments.key_number import TOPICS, KeyNumber, interval
from alternet.measurement import Measurement
from alternet.plotting.legend import Entry
from alternet.plotting.style import model_styles, short
from alternet.report.differences import differences
from alternet.report.inline import sign

NETWORKS = "networks"
"""Where the size of a network is said: the list of networks, in place of an instrument."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number in the table: as a text, with its interval, the number itself, and where its figure is."""

    text: str
    interval: str
    number: KeyNumber
    link: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Column:
    """A key number; `differs` where it was not measured alike for all, so that none is marked as the best."""

    title: str
    says: str
    better: str
    differs: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model, a group of runs, or one run `of` such a group; `models` are its places among the models of the page."""

    name: str
    runs: int
    of: str
    models: list[int]
    sign: str
    cells: list[Cell | None]


@dataclass(frozen=True, kw_only=True)
class Front:
    """The table; `topics` are the heads over so many columns each."""

    topics: list[tuple[str, int]]
    columns: list[Column]
    rows: list[Row]


Numbers = Mapping[str, KeyNumber]
"""A key number by model or row."""


def front(measurements: Sequence[Measurement], names: Sequence[str], links: Mapping[str, str]) -> Front | None:
    """The key numbers of all models, a row a model or group of runs, a column a number that some of them have.

    Args:
        measurements: One an instrument, each run by itself, models marked.
        names: All models of the page, groups as they are drawn.
        links: Where the figure of an instrument is.
    """
    groups = {run: group for one in measurements for group, runs in one.groups.items() for run in runs}
    members: dict[str, list[str]] = {}
    for name in dict.fromkeys(
        name for one in sorted(measurements, key=lambda m: -len(m.models)) for name in one.models
    ):
        members.setdefault(groups.get(name, name), []).append(name)
    found = _found(measurements)
    kept = [row for row, runs in members.items() if any(run in numbers for run in runs for _, numbers in found)]
    if not found:
        return None

    lines = [(row, run) for row in kept for run in ("", *(members[row] if _grouped(row, members[row]) else ()))]
    cells: dict[tuple[str, str], list[Cell | None]] = {line: [] for line in lines}
    columns = []
    for measurement, numbers in found:
        instrument = measurement.instrument if measurement else NETWORKS
        some = next(iter(numbers.values()))
        differs = measurement is not None and bool(differences(measurement, ("data", "images"), ("settings",)))
        columns.append((some.topic, Column(title=some.title, says=some.says, better=some.better, differs=differs)))
        summed = {row: over_runs([numbers[run] for run in members[row] if run in numbers]) for row in kept}
        of_rows = {row: number for row, number in summed.items() if number is not None}
        marked = "" if differs else best(of_rows)
        decimals = digits([*of_rows.values()])
        for row, run in lines:
            number = numbers.get(run) if run else of_rows.get(row)
            best_of = bool(marked) and (row, run) == (marked, "")
            cells[row, run].append(None if number is None else _cell(number, decimals, links[instrument], best_of))
    return Front(
        topics=[(topic, count) for topic in TOPICS if (count := sum(one == topic for one, _ in columns))],
        columns=[column for _, column in columns],
        rows=[_row(line, members[line[0]], names, cells[line], number) for number, line in enumerate(lines)],
    )


def _grouped(row: str, runs: Sequence[str]) -> bool:
    return [*runs] != [row]


def _found(measurements: Sequence[Measurement]) -> list[tuple[Measurement | None, Numbers]]:
    """Every key number by model, in the order of topics; of instruments that say the same one that says it of most."""
    by_title: dict[str, list[tuple[Measurement | None, dict[str, KeyNumber]]]] = {}
    for measurement in measurements:
        here: dict[str, dict[str, KeyNumber]] = {}
        for model in measurement.models:
            for number in figures.key_numbers(measurement.of(model)):
                here.setdefault(number.title, {})[model] = number
        for title, numbers in here.items():
            by_title.setdefault(title, []).append((measurement, numbers))
    if sizes := _sizes(measurements):
        by_title["Parameters"] = [(None, sizes)]
    chosen = [max(reversed(several), key=lambda one: len(one[1])) for several in by_title.values()]
    return sorted(chosen, key=lambda one: TOPICS.index(next(iter(one[1].values())).topic))


def _sizes(measurements: Sequence[Measurement]) -> dict[str, KeyNumber]:
    counts = {p["model"]["name"]: p["model"].get("parameters") for one in measurements for p in one.provenances}
    return {
        name: KeyNumber(value=count, title="Parameters", says="numbers that training sets", topic="cost")
        for name, count in counts.items()
        if isinstance(count, int)
    }


def over_runs(runs: Sequence[KeyNumber]) -> KeyNumber | None:
    """The mean over runs with Student's interval of it; of a single run what that says, of none nothing.

    Examples:
        >>> facts = {"title": "NLL", "says": "", "topic": "robustness"}
        >>> both = over_runs([KeyNumber(value=value, **facts) for value in (1.0, 3.0)])
        >>> round(both.low, 1), both.value, round(both.high, 1)
        (-10.7, 2.0, 14.7)
    """
    if len(runs) < 2:
        return runs[0] if runs else None
    values = [run.value for run in runs]
    middle, error = mean(values), stdev(values) / len(values) ** 0.5
    return replace(runs[0], value=middle, **{"low": nan, "high": nan} | interval(middle, error, len(values) - 1))


def best(numbers: Numbers) -> str:
    """The row that leads every other by more than the difference may be off; empty where none does."""
    for name, number in numbers.items():
        others = [other for key, other in numbers.items() if key != name]
        if others and all(number.leads(other) for other in others):
            return name
    return ""


def digits(numbers: Sequence[KeyNumber]) -> int | None:
    """Decimals that show two digits of the typical error of a column; None where no error is known.

    Examples:
        >>> facts = {"title": "NLL", "says": "", "topic": "robustness"}
        >>> digits([KeyNumber(value=1.0, low=0.988, high=1.012, **facts)])
        3
    """
    halves = [(100 if one.percent else 1) * (one.high - one.low) / 2 for one in numbers if one.known]
    return min(max(0, 1 - floor(log10(median(halves)) + 1e-9)), 4) if halves else None


def _cell(number: KeyNumber, decimals: int | None, link: str, marked: bool) -> Cell:
    reach = ""
    if number.known:
        low, high = _formatted(number, number.low, decimals), _formatted(number, number.high, decimals)
        reach = f"{low} to {high}" if low.startswith("−") else f"{low}–{high}"
    text = _formatted(number, number.value, decimals) + (" %" if number.percent else "")
    return Cell(text=text, interval=reach, number=number, link=link, best=marked)


def _formatted(number: KeyNumber, value: float, decimals: int | None) -> str:
    value = 100 * value if number.percent else value
    if abs(value) >= 1e5:
        return f"{value / 1e6:.3g} M"
    if decimals is None:
        return f"{value:.1f}" if number.percent else short(value).replace("-", "−")
    return f"{value:,.{decimals}f}".replace("-", "−")


def _row(
    line: tuple[str, str], runs: Sequence[str], names: Sequence[str], cells: list[Cell | None], number: int
) -> Row:
    """A line of the table: a row, or one of its runs."""
    row, run = line
    grouped = _grouped(row, runs) and not run
    drawn = {f"{row} ({count} runs)" for count in range(2, len(runs) + 1)}  # of some a run may not be measured
    whose = {*drawn, *runs} if grouped else {run or row}
    models = [place for place, one in enumerate(names) if one in whose]
    svg = ""
    if models and len(names) > 1:
        ((_, look),) = model_styles((names[models[0]],), points=True).items()
        svg = sign(Entry(Line2D([], [], **look), row), names, f"t{number}").svg
    name, of = (run, row) if run else (row, "")
    return Row(name=name, runs=len(runs) if grouped else 0, of=of, models=models, sign=svg, cells=cells)
