"""Tables to take away: a table of texts as CSV, LaTeX (booktabs) or Markdown."""

import re
from pathlib import Path

import pandas as pd

from alternet.shown import as_markdown as escaped
from alternet.storage import write_atomically

ENDINGS = (".csv", ".tex", ".md")

SIGNS = {
    **{"−": "$-$", "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\to$"},
    **{"Δ": r"$\Delta$", "λ": r"$\lambda$", "π": r"$\pi$", "²": "$^2$", "–": "--", "…": r"\dots{}", "₁": "$_1$"},
}
"""What pdflatex does not set by itself."""


def as_latex(table: pd.DataFrame) -> str:
    r"""A tabular with the rules of booktabs; the first column is words, the others stand on the right.

    Examples:
        >>> print(as_latex(pd.DataFrame({"model": ["a_b"], "Δ": ["−0.5 %"]})).strip())
        \begin{tabular}{lr}
        \toprule
        model & $\Delta$ \\
        \midrule
        a\_b & $-$0.5 \% \\
        \bottomrule
        \end{tabular}
    """
    styled = table.style.hide(axis="index").format(escape="latex", na_rep="").format_index(escape="latex", axis=1)
    text = styled.to_latex(hrules=True, column_format="l" + "r" * (len(table.columns) - 1))
    return re.sub("|".join(SIGNS), lambda found: SIGNS[found[0]], text)


def as_markdown(table: pd.DataFrame) -> str:
    r"""A table of GitHub's Markdown, in which no cell is markup.

    Examples:
        >>> print(as_markdown(pd.DataFrame({"model": ["a|b"], "accuracy": ["50%"]})).strip())
        | model   |   accuracy |
        |:--------|-----------:|
        | a\|b    |        50% |
    """
    plain = table.rename(columns=escaped).map(escaped)
    align = ["left", *["right"] * (len(table.columns) - 1)]
    return plain.to_markdown(index=False, colalign=align, disable_numparse=True) + "\n"


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as its file's ending says.

    Raises:
        ValueError: The ending is none of `ENDINGS`.
    """
    if path.suffix == ".csv":
        text = table.to_csv(index=False, lineterminator="\n")
    elif path.suffix == ".tex":
        text = as_latex(table)
    elif path.suffix == ".md":
        text = as_markdown(table)
    else:
        raise ValueError(f"Cannot write a table as {path.name!r}: its name must end in {', '.join(ENDINGS)}.")
    write_atomically(path, text)
    return path
