"""The model-index: what was measured of each model, as the Hugging Face Hub reads it in a model card."""

from collections.abc import Iterable
from typing import Any

import yaml
from huggingface_hub.repocard_data import eval_results_to_model_index

from alternet.measurement import Measurement
from alternet.sharing.card import indexed
from alternet.sharing.results import numbers
from alternet.shown import as_text


def model_index(measurements: Iterable[Measurement]) -> str:
    """The results of all models as YAML, a `model-index` with an entry a model; of calibration and corruption.

    Args:
        measurements: Of one or more models each.

    Examples:
        >>> model_index([]).strip()
        'model-index: []'
    """
    results: dict[str, list[Any]] = {}
    for one in (measurement.of(model) for measurement in measurements for model in measurement.models):
        for number in numbers(one):
            results.setdefault(as_text(one.models[0]), []).append(indexed(number))
    entries = [entry for name, found in results.items() for entry in eval_results_to_model_index(name, found)]
    return yaml.safe_dump({"model-index": entries}, sort_keys=False, allow_unicode=True)
