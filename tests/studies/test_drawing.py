"""The drawings of studies: every number where it belongs, ours beside the paper's, without torch."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from alternet.plotting import style
from alternet.plotting.panel import Points
from alternet.plotting.style import Drawing
from alternet.studies import Show, Study, drawing
from alternet.studies.declaration import Arm, Training
from alternet.studies.evidence import COLUMNS, PUBLISHED_SEED

ARMS = tuple(Arm(name, Training(network=name)) for name in ("ResNet", "ViT"))


def rows(quantity: str, values: dict[str, list[float]], *, x: float = np.nan, seed: int = 0, error: float = np.nan):
    found = [
        ("1", arm, quantity, x, seed + k, value, error) for arm, of in values.items() for k, value in enumerate(of)
    ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def study(*shows: Show) -> Study:
    return Study(figure="1", title="", arms=ARMS, shows=shows)


def drawn(show: Show, evidence: pd.DataFrame) -> dict[str, dict[str, list[tuple[float, ...]]]]:
    """By title of the panel and by arm, where its places lie."""
    with style.context():
        return {
            panel.title: {
                found.name: [tuple(box[:2]) for box in found.boxes.round(6).tolist()]
                for found in panel.draw(Drawing().subplots())
                if isinstance(found, Points)
            }
            for panel in drawing.panels(study(show), evidence, "ours")
        }


def test_ours_are_means_over_seeds_beside_the_paper_s():
    own = pd.concat(
        [rows("nep", {"ResNet": [0.0, 0.2], "ViT": [0.4, 0.6]}), rows("ape", {"ResNet": [1, 2], "ViT": [3, 4]})]
    )
    paper = pd.concat(
        [rows(quantity, {"ViT": [value]}, seed=PUBLISHED_SEED) for quantity, value in (("nep", 0.1), ("ape", 47.0))]
    )
    found = drawn(Show("nep", over="ape"), pd.concat([own, paper]))
    title = "Negative eigenvalue proportion against Average positive eigenvalue"
    assert list(found) == [f"{title}: the paper", f"{title}: ours"]
    assert found[f"{title}: the paper"] == {"ViT": [(47.0, 0.1)]}
    assert found[f"{title}: ours"] == {"ResNet": [(1.5, 0.1)], "ViT": [(3.5, 0.5)]}


def test_curves_and_levels():
    curve = pd.concat([rows("noise_drop", {"ResNet": [-x], "ViT": [-2 * x]}, x=x) for x in (0.3, 0.1)])
    (found,) = drawn(Show("noise_drop", along="frequency"), curve).values()
    assert found == {"ResNet": [(0.1, -0.1), (0.3, -0.3)], "ViT": [(0.1, -0.2), (0.3, -0.6)]}
    (found,) = drawn(Show("accuracy"), rows("accuracy", {"ResNet": [0.5], "ViT": [0.6]})).values()
    assert found == {"ResNet": [(0.5, 0.0)], "ViT": [(0.6, 1.0)]}


def test_an_error_is_over_seeds_where_there_are_several_and_over_images_of_one():
    one = drawing.summarised(rows("nep", {"ViT": [0.5]}, error=0.03))
    three = drawing.summarised(rows("nep", {"ViT": [0.1, 0.2, 0.6]}, error=0.03))
    assert one["error"].tolist() == [0.03]
    assert three["error"].tolist() == [pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3))]
    assert "one seed" in drawing.sentences(rows("nep", {"ViT": [0.5]}))[0]
    assert "means over 3 seeds" in drawing.sentences(rows("nep", {"ViT": [0.1, 0.2, 0.6]}))[0]


def test_what_was_not_published_has_no_panel_of_the_paper():
    assert [*drawn(Show("nep"), rows("nep", {"ViT": [0.5]}))] == ["Negative eigenvalue proportion: ours"]
    assert not drawn(Show("ape"), rows("nep", {"ViT": [0.5]}))


def test_units_are_boxes_in_forward_order():
    units = pd.DataFrame(
        [
            ("a", 0, "stem", "stem", 0, 8, 32, 32),
            ("a", 1, "b.0", "conv", 0, 8, 32, 32),
            ("a", 2, "b.1", "msa", 1, 16, 16, 16),
        ],
        columns=["arm", "unit", "tap", "kind", "stage", "channels", "height", "width"],
    )
    with style.context():
        (found,) = drawing.units_panel(units.sample(frac=1, random_state=1), "").draw(Drawing().subplots())
    assert isinstance(found, Points)
    left = found.boxes[:, 0]
    assert (np.diff(left) > 0).all()
    assert left[2] - left[1] > left[1] - left[0]  # a gap where the map becomes smaller
    assert found.texts[2] == "b.1: attention\n16 × 16 × 16"
    assert [entry.text for entry in drawing.units_legend(units)] == ["stem", "attention", "convolution"]


def test_drawing_needs_no_torch():
    code = "import sys, alternet.studies.drawing; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
