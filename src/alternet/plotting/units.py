"""Units: what each unit of a network changes in a quantity, counted by kind and put into a sentence."""

import pandas as pd

from alternet.kinds import KINDS, kind_of


def changes(points: pd.DataFrame, value: str) -> pd.Series:
    """By how much each unit changes a quantity: its value less that of the unit before it in forward order.

    Args:
        points: One row a unit: `model`, `unit` and the value.
        value: Name of the column.

    Returns:
        One number a row, aligned with `points`; NaN for the first unit of a model and wherever a value is missing.

    Examples:
        >>> points = pd.DataFrame({"model": "a", "unit": [1, 0, 2], "variance": [3.0, 1.0, 2.5]})
        >>> changes(points, "variance").tolist()
        [2.0, nan, -0.5]
    """
    ordered = points.sort_values("unit", kind="stable")
    return ordered.groupby("model", sort=False)[value].diff().reindex(points.index)


def tally(points: pd.DataFrame, value: str, *, quantity: str) -> str:
    """How many units of one model lower (attention) or raise (all others) a quantity, by kind, and how many clearly.

    Args:
        points: The rows of one model, one a unit: `model`, `unit`, `kind` and the value; perhaps the interval of each
            step, `step_low` and `step_high`.
        value: Name of the column.
        quantity: The quantity in words, with its article.

    Examples:
        >>> points = pd.DataFrame(
        ...     {"model": "a", "unit": range(4), "kind": ["stem", "msa", "mlp", "msa"], "x": [1.0, 0.5, 0.7, 0.9]}
        ... )
        >>> tally(points, "x", quantity="the variance")
        'attention lowers the variance in 1 of 2 units (median change −0.15); MLPs raise it in 1 of 1 unit (+0.20)'
    """
    steps = points.assign(change=changes(points, value))
    steps = steps[steps["unit"] > steps["unit"].min()]
    kinds = [kind for kind in dict.fromkeys((*KINDS, *steps["kind"])) if (steps["kind"] == kind).any()]
    clauses = [] if "msa" in kinds else ["no attention"]
    for kind in kinds:
        change = steps.loc[steps["kind"] == kind, "change"]
        it, known = kind_of(kind), change.dropna()
        if known.empty:
            clauses.append(f"{it.plural}: no value to compare in {counted(len(change), 'unit')}")
            continue
        verb = ("lower" if it.lowers else "raise") + ("s" if it.singular else "")
        hits = int((known < 0).sum() if it.lowers else (known > 0).sum())
        median = signed(float(known.median()))
        median = median if quantity == "it" else f"median change {median}"
        clear = _clear(steps.loc[change.index], lowers=it.lowers)
        clause = f"{it.plural} {verb} {quantity} in {hits} of {counted(len(known), 'unit')}{clear} ({median})"
        lost = len(change) - len(known)
        clauses.append(f"{clause}, with no value to compare in {lost} more" if lost else clause)
        quantity = "it"  # its name once is enough
    return "; ".join(clauses) if kinds else "only one unit, so nothing to compare"


def too_few(points: pd.DataFrame) -> list[str]:
    """That there are too few images to say which steps are clear, if so; nothing of results without intervals.

    Args:
        points: The rows of all models, one a unit.
    """
    if "step_low" not in points or len(points) == points["model"].nunique():
        return []
    if points["step_low"].isna().all():
        return ["There are too few images for intervals of these steps."]
    return []


def _clear(steps: pd.DataFrame, *, lowers: bool) -> str:
    if "step_low" not in steps or steps["step_low"].isna().all():
        return ""
    return f", clearly in {int((steps['step_high'] < 0).sum() if lowers else (steps['step_low'] > 0).sum())}"


def signed(number: float) -> str:
    """A number to two digits with its sign, the minus as a minus.

    Examples:
        >>> signed(-0.1), signed(0.00123), signed(123.4), signed(0.0)
        ('−0.10', '+0.0012', '+123', '0')
    """
    if number == 0:
        return "0"
    text = f"{number:+,.0f}" if abs(number) >= 99.5 else f"{number:+#.2g}".removesuffix(".")
    return text.replace("-", "−")


def counted(count: int, thing: str) -> str:
    """So many things, in words.

    Examples:
        >>> counted(1, "unit"), counted(2, "unit")
        ('1 unit', '2 units')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
