"""The model card: where weights come from, how they are used, and what was measured of them, as the Hub reads it.

Names and labels come from outside. They are written as one line of plain text, in which nothing is markup.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from alternet.sharing.config import is_ours
from alternet.sharing.results import Result
from alternet.shown import as_markdown, as_text

SHOWN = 50
"""Classes that a card names; all of them stand in `config.json`."""

PAPER = """```bibtex
@inproceedings{park2022how,
  title={How Do Vision Transformers Work?},
  author={Namuk Park and Songkuk Kim},
  booktitle={International Conference on Learning Representations},
  year={2022}
}
```"""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Attributes:
        name: What the model is called.
        config: timm's `config.json` of it.
        parameters: How many numbers it has learnt.
        origin: Where its weights come from, in sentences.
        base: Where on the Hub its weights come from, if from there.
        license: Licence of the weights, where it is known.
        attention: Paths of the modules where attention was put into another network.
        results: What was measured.
        sentences: What else was found, in words.
        onnx: What was found when the ONNX file was checked, in a sentence.
    """

    name: str
    config: dict[str, Any]
    parameters: int
    origin: Sequence[str]
    base: str = ""
    license: str = ""
    attention: Sequence[str] = ()
    results: Sequence[Result] = ()
    sentences: Sequence[str] = ()
    onnx: str = ""

    def __str__(self) -> str:
        """The text of `README.md`, with the data ahead that the Hub reads."""
        data = ModelCardData(
            model_name=as_text(self.name),
            library_name="timm",
            pipeline_tag="image-classification",
            tags=["image-classification", "timm", "alternet", *(["onnx"] if self.onnx else [])],
            base_model=as_text(self.base) or None,
            license=as_text(self.license) or None,
            eval_results=[indexed(result) for result in self.results] or None,
        )
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{self.text}"))

    @property
    def text(self) -> str:
        """The text without the data."""
        cfg, name = self.config["pretrained_cfg"], self.config["architecture"]
        attends = (
            [f"Attention was put in the place of {', '.join(map(code, self.attention))}."] if self.attention else []
        )
        labels = self.config.get("label_names", ())
        classes = (
            [f"Classes: {', '.join(map(as_markdown, labels[:SHOWN]))}{', ...' if labels[SHOWN:] else '.'}"]
            if labels
            else []
        )
        size = " × ".join(map(str, cfg["input_size"]))
        seen = f"Images of {size}, channel means {_row(cfg['mean'])}, standard deviations {_row(cfg['std'])}."
        measured = [_table(self.results)] if self.results else []
        parts = [
            f"# {as_markdown(self.name)}",
            f"{code(name)} with {self.parameters:,} parameters that tells {self.config['num_classes']} classes apart.",
            *attends,
            *classes,
            "## Where the weights come from",
            *map(as_markdown, self.origin),
            "## Use",
            _usage(ours=is_ours(name)),
            seen,
            *(["## ONNX", as_markdown(self.onnx)] if self.onnx else []),
            *(["## Measured"] if self.results or self.sentences else []),
            *measured,
            *("- " + as_markdown(sentence) for sentence in self.sentences),
            *(["Measured with alternet."] if self.results else []),
            *(["## Source", PAPER] if is_ours(name) else []),
        ]
        return "\n\n".join(parts) + "\n"


def code(words: object) -> str:
    """A name as code, where it is one that Markdown cannot misread."""
    line = as_text(words)
    return f"`{line}`" if re.fullmatch(r"[\w.+:/=-]+", line) else as_markdown(line)


def _usage(*, ours: bool) -> str:
    mine = "import alternet  # which knows the network\n" if ours else ""
    return f"""```python
import timm
{mine}
model = timm.create_model("hf-hub:USER/NAME", pretrained=True).eval()  # or "local-dir:FOLDER"
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
```

`alternet measure fourier -m local-dir:FOLDER --data DATA --out OUT` looks inside it."""


def _row(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _table(results: Iterable[Result]) -> str:
    head = ["what", "value", "± one standard error", "data", "images", "settings"]
    rows = []
    for one in results:
        settings = ", ".join(f"{key}={value}" for key, value in one.settings.items() if value not in ("", None))
        data = f"{one.data} ({one.split})" if one.split else one.data
        error = "not known" if one.error is None else f"{one.error:.2g}"
        cells = (one.says, f"{one.value:.4f}", error, data, "not known" if one.images is None else one.images, settings)
        rows.append([as_markdown(cell) for cell in cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def indexed(result: Result) -> EvalResult:
    """A result as an entry of a `model-index`."""
    facts = {"images": result.images, "fingerprint": as_text(result.fingerprint)}
    how = {"standard_error": result.error, **{key: _plain(value) for key, value in result.settings.items()}}
    return EvalResult(
        task_type="image-classification",
        dataset_type=re.sub(r"[^\w.-]", "-", as_text(result.data), flags=re.ASCII) or "data",
        dataset_name=as_text(result.data) or "data",
        dataset_split=as_text(result.split) or None,
        dataset_args={key: value for key, value in facts.items() if value is not None},
        metric_type=result.metric,
        metric_name=result.says,
        metric_value=result.value,
        metric_args={key: value for key, value in how.items() if value not in ("", None)} or None,
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float) else as_text(value)
