"""What a matrix of similarities says of a network's stages."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def block_structure(cka: ArrayLike, stages: Sequence[int]) -> float:
    """How much more alike units of one stage are than units of two, at equal distance in depth.

    Near units are more alike than far ones in any network, and those of one stage are nearer; so pairs are compared at
    each distance alone, and the differences averaged over the distances at which there are both. A network of one stage
    cut anywhere has none, or less than none.

    Args:
        cka: Similarity of every pair of units, [unit, unit]; undefined ones are nan.
        stages: Stage of every unit.

    Returns:
        The mean difference; nan where no distance has both sorts of pairs.

    Examples:
        >>> similar = [[1, 0.9, 0.5, 0.4], [0.9, 1, 0.6, 0.5], [0.5, 0.6, 1, 0.9], [0.4, 0.5, 0.9, 1]]
        >>> round(block_structure(similar, [0, 0, 1, 1]), 3)
        0.3
    """
    values, stage = np.asarray(cka, dtype=float), np.asarray(stages)
    unit = np.arange(len(stage))
    distance, same = np.abs(unit[:, None] - unit), stage[:, None] == stage
    differences = []
    for apart in range(1, len(stage)):
        here = (distance == apart) & ~np.isnan(values)
        if (here & same).any() and (here & ~same).any():
            differences.append(values[here & same].mean() - values[here & ~same].mean())
    return float(np.mean(differences)) if differences else float("nan")
