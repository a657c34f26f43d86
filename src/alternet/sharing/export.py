"""Export: a model becomes a folder that timm loads and the Hugging Face Hub takes, whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch

import alternet.models  # noqa: F401 - registers our models in timm
from alternet import __version__
from alternet.data.image_batches import Batches
from alternet.errors import in_one_line
from alternet.files import read_json
from alternet.runs import TrainingRun
from alternet.seeding import random_state_kept
from alternet.sharing.card import Card
from alternet.sharing.config import configuration
from alternet.sharing.onnx_file import require_onnx, write_onnx
from alternet.sharing.results import Result, of_measurements, of_run
from alternet.storage import on_disk, sha256_of, sole_writer, versions, write_atomically, write_json
from alternet.subject.recalibration import recalibrate
from alternet.subject.subject import Subject, logits_of
from alternet.subject.weight_facts import CONFIG, OURS, folder_facts
from alternet.training.checkpoint import write_weights

WEIGHTS, CARD, ONNX = "model.safetensors", "README.md", "model.onnx"
FILES = (WEIGHTS, CONFIG, CARD, ONNX, f"{ONNX}.data")
"""All that a folder of ours can hold."""


def export(
    subject: Subject,
    to: str | Path,
    *,
    measured: Sequence[str | Path] = (),
    on: Batches | None = None,
    onnx: bool = False,
) -> list[str]:
    """Write a model as the Hugging Face Hub and timm expect it; nothing is uploaded.

    The folder holds `model.safetensors`, timm's `config.json`, and a model card `README.md` with what was measured, and
    is loaded again by `timm.create_model("local-dir:FOLDER", pretrained=True)`, after `import alternet` if the network
    is ours or a transplant. That is tried before anything is left there.

    Args:
        subject: The model, loaded by name with `alternet.load`; it stays as it is.
        to: The folder. One that holds these weights already is written anew, any other that is not empty is refused.
        measured: Folders that `alternet measure` wrote: what is of exactly these weights stands in the card.
        on: Images to estimate the batch statistics behind transplanted attention on, as `alternet.recalibrate` does.
        onnx: Also write `model.onnx`, checked with onnxruntime; needs the extra `onnx`.

    Returns:
        What is worth saying, in sentences.

    Raises:
        ValueError: The weights are random, timm does not build the network, no measurement is of these weights, the
            folder holds something else, or the ONNX file gives other logits.

    Examples:
        >>> from alternet.subject.loading import load
        >>> folder = getfixture("tmp_path") / "mine"
        >>> export(load("test_vit"), folder)
        Traceback (most recent call last):
        ValueError: test_vit has random weights. Name a file, NAME@FILE, or a run, run:DIR.
    """
    folder, notes = Path(to), []
    if subject.origin["weights"].get("from") == "random":
        raise ValueError(f"{subject.name} has random weights. Name a file, NAME@FILE, or a run, run:DIR.")
    if onnx:
        require_onnx()
    if on is not None:
        subject = _recalibrated(subject, on)
    config = configuration(subject)
    name = folder.resolve().name
    found, sentences, others = of_measurements([Path(one) for one in measured], subject.weights_sha256, name)
    if others:
        notes.append(f"Left out, as of other weights: {', '.join(others[:4])}{', ...' if others[4:] else ''}.")
    _require_place(folder, subject.weights_sha256)
    with _staged(folder) as place:
        facts = {key: config["pretrained_cfg"][key] for key in ("input_size", "mean", "std")}
        header = {
            "model": config["architecture"],
            **{key: config[key] for key in ("model_args", "num_classes")},
            **facts,
        }
        write_weights(place / WEIGHTS, subject.model.state_dict(), header)
        story, made = _story(subject), ", ".join(f"{package} {version}" for package, version in versions().items())
        checked = write_onnx(subject, place / ONNX) if onnx else None
        card = Card(
            name=name,
            config=config,
            parameters=sum(p.numel() for p in subject.model.parameters()),
            origin=[*story, f"Exported with {made}."],
            base=str(subject.origin["weights"].get("id") or ""),
            license=_license(subject),
            attention=[graft["module"] for graft in config["model_args"].get("plan", ())],
            results=_together(list(_of_training(subject)), found),
            sentences=sentences,
            onnx=str(checked or ""),
        )
        text = str(card)
        write_atomically(place / CARD, text)
        mine = {
            "version": __version__,
            "weights_sha256": subject.weights_sha256,
            "file_sha256": sha256_of(place / WEIGHTS),
            "card_sha256": _digest(text.encode()),
            "origin": story,
            "drawn": list(subject.origin["weights"].get("drawn") or ()),
            "seed": subject.origin["weights"].get("seed"),
        }
        write_json(place / CONFIG, {**config, OURS: mine})
        _require_same_logits(place, subject)
    return [*notes, *([str(checked)] if checked else [])]


def _recalibrated(subject: Subject, on: Batches) -> Subject:
    """The same network with its batch statistics estimated again, in a copy."""
    own = replace(subject, model=deepcopy(subject.model))
    if not (layers := recalibrate(own, on)):
        raise ValueError(f"{subject.name} has no batch statistics to estimate again. Export it without --recalibrate.")
    how = {"data": on.name, "split": on.split, "images": on.images, "fingerprint": on.fingerprint, "layers": layers}
    return replace(own, origin={**own.origin, "recalibrated": how})


def _story(subject: Subject) -> list[str]:
    """Where the weights come from, in sentences; of files their names alone, since folders are the user's own."""
    origin = subject.origin
    weights = origin["weights"]
    file, digest = Path(str(weights.get("file", ""))).name, str(weights.get("sha256", ""))[:16]
    told = {
        "hub": f"Published weights: {weights.get('id') or weights.get('url')}, revision {weights.get('revision')}.",
        "file": f"The file {file} (SHA-256 {digest}…).",
        "folder": f"The file {file} of a folder in timm's layout (SHA-256 {digest}…).",
        "run": f"The file {file} (SHA-256 {digest}…) of a training run.",
    }
    story = [told.get(str(weights.get("from")), f"{weights}.")]
    if subject.history is not None:
        story.append(_training(TrainingRun(subject.history).facts))
    before = folder_facts(Path(str(weights.get("file", "")))) if weights.get("from") == "folder" else {}
    story += [f"That folder says: {one}" for one in before.get("origin") or () if isinstance(one, str)]
    if drawn := weights.get("drawn"):
        story.append(
            f"Not trained: the weights of {', '.join(map(str, drawn))} are random, from seed {weights.get('seed')}. "
            "Train on before you use it."
        )
    if how := origin.get("recalibrated"):
        story.append(
            f"Batch statistics were estimated again (normalisations: {how['layers']}) on {how['images']} images of "
            f"{how['data']} ({how['split']}, fingerprint {how['fingerprint']})."
        )
    return story


def _training(facts: dict[str, Any]) -> str:
    """How a run was trained, in a sentence."""
    recipe, data = facts.get("recipe") or {}, facts.get("data") or {}
    shown = ("opt", "lr", "weight_decay", "batch_size", "epochs", "warmup_epochs", "seed")
    options = ", ".join(f"{key}={recipe[key]}" for key in shown if key in recipe)
    by = ", ".join(f"{name} {version}" for name, version in (facts.get("versions") or {}).items())
    return f"Trained on {data.get('name')} (fingerprint {data.get('fingerprint')}) with {options}, by {by}."


def _license(subject: Subject) -> str:
    """That of published weights; of all others it is for their owner to say."""
    cfg = getattr(subject.model, "pretrained_cfg", None) or {}
    return str(cfg.get("license") or "") if subject.origin["weights"].get("from") == "hub" else ""


def _of_training(subject: Subject) -> Iterator[Result]:
    """What the run measured, if the weights are just as it left them."""
    weights, origin = subject.origin["weights"], subject.origin
    changed = origin.get("plan") or origin.get("recalibrated") or weights.get("drawn")
    if subject.history is None or weights.get("from") != "run" or changed:
        return
    run = TrainingRun(subject.history)
    for name, file in run.kept.items():
        if str(file) == weights.get("file"):
            yield from of_run(run, name)


def _together(noted: list[Result], measured: list[Result]) -> list[Result]:
    """All numbers; what the run noted is left out where the same was measured afterwards."""
    known = {one.fingerprint for one in measured if one.metric == "accuracy"}
    return [*(one for one in noted if one.fingerprint.rpartition("-")[2] not in known), *measured]


def _require_place(folder: Path, weights: str) -> None:
    """Refuse a folder that holds anything but an export of these weights whose card nobody has edited."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder for --to.")
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if held and (reason := _strange(held) or _other(folder, weights)):
        raise ValueError(f"{folder} holds {reason}. Give another folder for --to, or empty that one.")


def _strange(held: Sequence[str]) -> str:
    names = [name for name in held if name not in FILES]
    return f"{', '.join(names[:3])}{', ...' if names[3:] else ''}"


def _other(folder: Path, weights: str) -> str:
    """In what a folder with the files of an export is none of these weights as it was written."""
    try:
        before = read_json(folder / CONFIG)[OURS]
        if before["weights_sha256"] != weights:
            return "an export of other weights"
        return "" if before["card_sha256"] == sha256_of(folder / CARD) else f"a {CARD} that was edited"
    except (OSError, ValueError, KeyError, TypeError):
        return "files that no export wrote"


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is meant, which takes its place when it is complete.

    Raises:
        ValueError: Somebody else is writing the same export.
    """
    folder = folder.resolve()
    spare = folder.parent / f".{folder.name}.export"
    place, old = spare / "new", spare / "old"
    with sole_writer(spare):
        try:
            _put_back(old, folder)  # by who was killed here
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            yield place
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                os.replace(folder, old)
            os.replace(place, folder)
            on_disk(folder.parent)
        finally:
            _put_back(old, folder)
            shutil.rmtree(spare, ignore_errors=True)


def _put_back(old: Path, folder: Path) -> None:
    if old.exists() and not folder.exists():
        os.replace(old, folder)


def _require_same_logits(place: Path, subject: Subject) -> None:
    """Load the folder as anybody will, and compare, on the CPU, where the same network gives the same bits."""
    images = subject.normalise(subject.example()).cpu()
    try:
        with random_state_kept(), torch.no_grad():
            again = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
            same = torch.equal(logits_of(again(images)), logits_of(deepcopy(subject.model).cpu().eval()(images)))
    except Exception as error:
        raise ValueError(
            f"timm does not load {subject.name} again ({in_one_line(error)}), so it was not exported."
        ) from error
    if not same:
        raise ValueError(f"{subject.name}, loaded again by timm, gives other logits, so it was not exported.")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
