"""Published landscapes: the raw numbers that the paper's authors released, as a measurement like any other."""

import io
from math import isfinite
from pathlib import Path

import pandas as pd

from alternet.files import read_file
from alternet.loss.flatness import COLUMNS, Heights, Ray, flatness
from alternet.measurement import EXACT, Measurement

COLUMN = {"x": 0, "y": 1, "l2": 3, "nll": 4, "accuracy": 7}
"""Places in a line of the file, which has no header; the others hold metrics that a landscape does not show."""

WEIGHT_DECAY = 0.05
IMAGES = 9984


def published_landscape(file: str | Path, model: str) -> Measurement:
    r"""Read a `*_losslandscape.csv` of xxxnell/how-do-vits-work.

    The L2 in it is the sum of norms over all parameters, directions are normalised over the first axis, and the
    augmentation was drawn anew for every point: the values `paper` of the settings of `Landscape`. Points whose NLL is
    infinite are undefined. Flatness is taken along the two axes, too few for a standard error.

    Args:
        file: The CSV file, without a header, 19 columns.
        model: How figures shall call the network.

    Raises:
        ValueError: The file cannot be read as such a landscape.

    Examples:
        >>> folder = getfixture("tmp_path")
        >>> lines = [f"{x},{y},0,100,{2 + x * x + y * y},0,0,0.5{',0' * 11}" for y in (-1, 0, 1) for x in (-1, 0, 1)]
        >>> _ = (folder / "net_losslandscape.csv").write_text("\n".join(lines))
        >>> published_landscape(folder / "net_losslandscape.csv", "net").table["loss"].tolist()
        [9.0, 8.0, 9.0, 8.0, 7.0, 8.0, 9.0, 8.0, 9.0]
    """
    try:
        raw = pd.read_csv(io.BytesIO(read_file(Path(file))), header=None, **EXACT).astype(float)
        table = pd.DataFrame({name: raw[place] for name, place in COLUMN.items()})
        nll = table["nll"].where(table["nll"].map(isfinite))
        table = table.assign(model=model, nll=nll, loss=nll + WEIGHT_DECAY * table["l2"])
        rows = flatness(*_rays(table))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file} cannot be read as a released landscape ({error}): expected lines of x, y, l1, l2, NLL and more, "
            "with a point at x = y = 0."
        ) from error
    settings = {"directions": "random", "normalisation": "paper", "l2": "paper", "redraw": "paper"}
    provenance = {
        "instrument": "landscape",
        "settings": settings | {"weight_decay": WEIGHT_DECAY, "augment": "paper"},
        "model": {"name": model, "class": "as released"},
        "data": {"name": "cifar100, as released", "fingerprint": Path(file).name},
        "images": IMAGES,
        "origin": {"weights": {"from": "xxxnell/how-do-vits-work, Apache-2.0"}},
    }
    flat = pd.DataFrame([(model, *row) for row in rows], columns=["model", *COLUMNS])
    return Measurement(
        instrument="landscape",
        tables={"table": table[["model", "x", "y", "nll", "l2", "loss", "accuracy"]], "flatness": flat},
        provenances=(provenance,),
    )


def _rays(table: pd.DataFrame) -> tuple[Heights, list[Ray]]:
    points: dict[tuple[float, float], Heights] = {}
    # Rounded, since r and -r are looked up below, and in the file they differ in their last digits.
    for x, y, loss, nll in table[["x", "y", "loss", "nll"]].to_numpy(float).round(9).tolist():
        points[x, y] = (loss, nll) if isfinite(loss) else (None, None)
    radii = sorted(x for x, y in points if y == 0 and x > 0)
    along_x = [Ray(r, points[r, 0.0], points[-r, 0.0]) for r in radii]
    along_y = [Ray(r, points[0.0, r], points[0.0, -r]) for r in radii]
    return points[0.0, 0.0], [*along_x, *along_y]
