"""Evidence: one table for what was measured and what was published; what is none is refused in one line."""

import importlib.util
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alternet.studies.evidence import COLUMNS, PUBLISHED_SEED, as_csv, checked, published, read_evidence
from alternet.studies.similarity import block_structure

ROOT = Path(__file__).parents[2]
ROW = {"figure": "5a", "arm": "ViT", "quantity": "accuracy", "x": "", "seed": "0", "value": "0.5", "standard_error": ""}


def script():
    spec = importlib.util.spec_from_file_location("published_numbers", ROOT / "scripts" / "published.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(**changes: str) -> StringIO:
    row = ROW | changes
    return StringIO(",".join(row) + "\n" + ",".join(row.values()) + "\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantity": "acuracy"}, "unknown quantity 'acuracy'. Did you mean accuracy"),
        ({"value": "high"}, "row 1: value is 'high', expected a finite number"),
        ({"value": "inf"}, "row 1: value is 'inf'"),
        ({"x": "wide"}, "row 1: x is 'wide'"),
        ({"standard_error": "-1"}, "standard error is negative"),
        ({"arm": ""}, "no figure or no arm"),
    ],
)
def test_what_is_no_evidence_is_refused_in_one_line(changes: dict[str, str], said: str):
    with pytest.raises(ValueError, match=said) as refused:
        read_evidence(text(**changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "figure,arm\n5a,ViT\n", '"5a,ViT\n', "\x00\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str):
    file = tmp_path / "evidence.csv"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="evidence"):
        read_evidence(file)
    with pytest.raises(ValueError, match="cannot be read as evidence"):
        read_evidence(tmp_path / "absent.csv")


def test_the_same_number_twice_is_refused():
    rows = pd.DataFrame([ROW, ROW | {"value": "0.6"}])
    with pytest.raises(ValueError, match="row 2 says again what accuracy of ViT is in figure 5a, seed 0"):
        checked(rows)


def test_what_is_written_is_read_again(tmp_path: Path):
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"figure": "5b", "arm": "ViT (6 %), of all", "quantity": "nep", "x": generator.normal(size=6)})
    rows = rows.assign(seed=[0, 0, 1, 1, 2, PUBLISHED_SEED], value=generator.normal(size=6), standard_error=np.nan)
    rows.loc[3, "standard_error"] = 1 / 3
    rows.loc[4, "value"] = np.nan  # measured, and undefined
    (tmp_path / "evidence.csv").write_text(as_csv(rows), encoding="utf-8")
    pd.testing.assert_frame_equal(read_evidence(tmp_path / "evidence.csv"), rows)
    assert list(rows) == list(COLUMNS)


def test_the_packaged_table_is_that_of_the_script():
    assert as_csv(published()) == as_csv(script().table()), "run python scripts/published.py"


def test_the_published_table_holds_the_numbers_of_the_paper():
    table = published().set_index(["figure", "arm", "quantity", "x"])["value"]
    scalar = table[table.index.get_level_values("x").isna()].droplevel("x")
    assert scalar["12b", "AlterNet", "corruption_accuracy"] == 0.6667
    assert scalar["5a", "ResNeXt", "nll_train"] == 2.097
    assert scalar["12a", "AlterNet (2.1, 2.3, 2.5, 3.1, 3.3)", "accuracy"] == 0.8319
    assert table["C.5", "ViT", "nep", 6.0] == 0.049
    assert table["5b", "ViT", "test_error", 1 / 64] == 0.8988
    assert table["1a", "ViT", "rise_loss", 1.0] == pytest.approx(12.4, abs=0.05)
    assert table["1a", "ResNet", "rise_loss", 0.5] == pytest.approx(7.7, abs=0.05)
    assert (published()["seed"] == PUBLISHED_SEED).all()
    assert published()["standard_error"].isna().all()


def test_shares_of_units_are_the_counts_of_the_figures():
    table = published().set_index(["arm", "quantity"])["value"].sort_index()
    for quantity, counts in {
        "attention_high_lowered": {"ViT": 9, "PiT": 6, "Swin": 8},
        "mlp_high_raised": {"ViT": 8, "PiT": 10, "Swin": 10},
        "attention_variance_lowered": {"ViT": 12, "PiT": 10, "Swin": 4},
        "mlp_variance_raised": {"ViT": 8, "PiT": 12, "Swin": 12},
    }.items():
        assert {arm: round(table.loc[(arm, quantity)].item() * 12) for arm in counts} == counts


def test_block_structure_sees_blocks_and_not_distance():
    """Similarity that falls with distance alone has none, however it is cut; blocks have their height."""
    unit = np.arange(12)
    faded = np.exp(-np.abs(unit[:, None] - unit) / 3)
    stages = unit // 4
    assert block_structure(faded, stages.tolist()) == pytest.approx(0, abs=1e-12)
    blocks = faded + 0.1 * (stages[:, None] == stages)
    assert block_structure(blocks, stages.tolist()) == pytest.approx(0.1)
    assert np.isnan(block_structure(faded, [0] * 12))


def test_block_structure_is_that_of_a_loop_over_pairs():
    cka = np.random.default_rng(0).uniform(size=(7, 7))
    cka[2, 5] = np.nan
    stages, means = [0, 0, 1, 1, 1, 2, 2], []
    for distance in range(1, 7):
        pairs = [(i, j) for i in range(7) for j in range(7) if abs(i - j) == distance and cka[i, j] == cka[i, j]]
        same = [cka[i, j] for i, j in pairs if stages[i] == stages[j]]
        other = [cka[i, j] for i, j in pairs if stages[i] != stages[j]]
        if same and other:
            means.append(np.mean(same) - np.mean(other))
    assert block_structure(cka, stages) == pytest.approx(np.mean(means))
