"""Models of transformers: what they were saved as, with the normalisation of their image processor."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from alternet.errors import first_line
from alternet.hub import one_try
from alternet.subject.declared import tower_of
from alternet.subject.saved_folder import require_sound_folder
from alternet.subject.timm_models import Built, Side, unreachable
from alternet.subject.weight_checks import no_larger_than, note_infinite, note_missing, note_unread
from alternet.subject.weights import path_of


def from_transformers(name: str, img_size: Side, num_classes: int | None, given: Mapping[str, Any]) -> Built:
    """A model of transformers, by its id on the hub or its folder, as what it was saved as."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("hf: models need transformers. Install it with: pip install 'alternet[hf]'") from error
    if "@" in name and not path_of(name).is_dir():
        raise ValueError(f"hf:{name}: a transformers id brings its own weights; write hf:{name.split('@')[0]}.")
    if given:
        raise ValueError(f"hf: models are built as their configuration says, got {', '.join(given)}. Leave it out.")
    local = path_of(name).is_dir()
    held = require_sound_folder(path_of(name)) if local else 0
    options: dict[str, Any] = {"num_labels": num_classes, "ignore_mismatched_sizes": True} if num_classes else {}
    safe = {"trust_remote_code": False}  # where nothing is said, transformers asks at a terminal
    try:
        with _quietly(local), one_try(asked=not local), _as_described(held, name) if local else nullcontext():
            config = transformers.AutoConfig.from_pretrained(name, **safe)
            kind, own = ("AutoModel", {}) if num_classes == 0 else _kind_of_transformer(config, options)
            model, told = getattr(transformers, kind).from_pretrained(name, output_loading_info=True, **safe, **own)
            mean, std = _processed(transformers.AutoImageProcessor, name)
    except (OSError, ValueError) as error:
        raise ValueError(unreachable(f"hf:{name}", error)) from error
    note_infinite(model.state_dict())
    if getattr(model, "main_input_name", "pixel_values") != "pixel_values" and not tower_of(model):
        raise ValueError(f"hf:{name} takes {model.main_input_name}, expected a network for images.")
    weights = {"from": "hub", "id": name, "revision": getattr(model.config, "_commit_hash", None)}
    mismatched = (key if isinstance(key, str) else key[0] for key in told.get("mismatched_keys", ()))
    # without a classifier nothing reads what pools the features
    unused = () if kind == CLASSIFIER else ("pooler.",)
    if drawn := sorted(key for key in {*told.get("missing_keys", ()), *mismatched} if not key.startswith(unused)):
        weights["drawn"] = drawn
        note_missing([key for key in drawn if key in told.get("missing_keys", ())], f"hf:{name}")
    # what is taken without its head, or with another, leaves that out
    note_unread(sorted(told.get("unexpected_keys", ())) if kind == CLASSIFIER and not options else (), f"hf:{name}")
    if mean is None:
        return model, {"origin": {"weights": weights}}
    return model, {"mean": mean, "std": std, "origin": {"weights": weights, "normalisation": "its image processor"}}


CLASSIFIER = "AutoModelForImageClassification"


@contextmanager
def _quietly(local: bool) -> Iterator[None]:
    """Let transformers neither draw bars over files that lie here nor list what we say in a line of our own."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _as_described(held: int, name: str) -> Iterator[None]:
    """Let no network be built beyond the bytes of its weights; what a description is not good for is an error."""
    with no_larger_than(held, f"hf:{name}"):
        try:
            yield
        except (OSError, ValueError):
            raise
        except Exception as error:  # transformers looks at no part of a configuration before it uses it
            raise ValueError(f"it cannot be built as its configuration says: {first_line(error)}") from error


def _kind_of_transformer(config: Any, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class of transformers that a model was saved as, so that no head is drawn that it does not have."""
    saved_as = " ".join(getattr(config, "architectures", None) or (CLASSIFIER,))
    if options or "ForImageClassification" in saved_as:
        return CLASSIFIER, dict(options)
    if "ForSemanticSegmentation" in saved_as:
        return "AutoModelForSemanticSegmentation", {}
    if config.model_type == "vit_mae":  # as it is, it hides patches at random and shuffles the others
        return "ViTModel", {"add_pooling_layer": False}
    return "AutoModel", {}


def _processed(processors: Any, name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | tuple[None, None]:
    """Mean and std of a transformers' image processor, if there is one and they are known."""
    try:
        processor = processors.from_pretrained(name, trust_remote_code=False)
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    except (OSError, ValueError, AttributeError, TypeError, ImportError):
        return None, None
    return (mean, std) if getattr(processor, "do_normalize", True) else ((0.0,) * len(mean), (1.0,) * len(std))
