"""A folder that transformers wrote, looked at before transformers reads it: plain files, and weights that fit in it."""

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from alternet.errors import shortened
from alternet.files import open_file, read_json
from alternet.subject.weight_checks import require_sound
from alternet.subject.weight_facts import MOST_CLASSES

READ = (".json", ".safetensors", ".bin")
"""How the files end that transformers reads for a network of images."""

WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")

WHOLE = ("I", "U", "B")
"""How the kinds of numbers begin in a safetensors file that are none of weights: integers and truths; BF16 is one."""


def require_sound_folder(folder: Path) -> int:
    """Refuse a folder with anything but plain files in it, or with weights that a weight file may not hold.

    Returns:
        Bytes of its weights.

    Raises:
        ValueError: There is such a thing in it.
        OSError: A file of it cannot be read.
    """
    size = 0
    for file in sorted(file for file in folder.iterdir() if file.suffix in READ):
        try:
            open_file(file).close()  # transformers would wait for a pipe
            if file.name == "config.json" or file.name.endswith(".index.json"):
                _require_within(folder, read_json(file))
            if WEIGHTS.fullmatch(file.name):
                require_sound(file)
                size += file.stat().st_size
                if file.suffix == ".safetensors":
                    _require_real(file)
        except (ValueError, OSError, SafetensorError) as error:
            raise ValueError(
                f"{file} cannot be taken for a part of a saved model: {error}. Save the model again, or give another."
            ) from error
    return size


def _require_within(folder: Path, content: object) -> None:
    """Refuse a description that is none, or names files elsewhere."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds {shortened(content, 100)}, expected facts by name")
    labels = content.get("num_labels")  # of which transformers makes a list of names
    if isinstance(labels, int) and labels > MOST_CLASSES:
        raise ValueError(f"it states {shortened(labels, 100)} classes, expected at most {MOST_CLASSES}")
    files = content.get("weight_map") or {}
    named = set(map(str, files.values())) if isinstance(files, dict) else {str(files)}
    if strange := sorted(name for name in named if Path(name).name != name or not (folder / name).is_file()):
        raise ValueError(f"it names {shortened(strange[0], 100)}, which is no file beside it")


def _require_real(file: Path) -> None:
    """Refuse weights that are integers, which would be taken for others without a word."""
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            kind = opened.get_slice(name).get_dtype()
            if name.rpartition(".")[2] in ("weight", "bias") and kind.startswith(WHOLE) and kind != "BF16":
                raise ValueError(f"{name} is {kind}, expected floating-point numbers")
