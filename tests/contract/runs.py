"""Training runs made of given weights, for instruments that need a run's history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from alternet.subject.subject import Subject
from alternet.training.recipe import Recipe


def write_run(folder: Path, path: Sequence[Mapping[str, Tensor]], *, every: int = 10) -> Path:
    """The folder that training leaves, as far as a path needs it: snapshots, then the final weights."""
    (folder / "snapshots").mkdir(parents=True)
    index = []
    for number, state in enumerate(path[:-1]):
        file = f"epoch-{number:04d}.safetensors"
        save_file(dict(state), folder / "snapshots" / file)
        index.append({"file": file, "epoch": number, "step": every * number})
    (folder / "snapshots" / "snapshots.json").write_text(json.dumps(index))
    save_file(dict(path[-1]), folder / "weights.safetensors")
    recipe = Recipe(weight_decay=0.1, filter_bias_and_bn=False, hflip=0.5, mixup=0.5, smoothing=0.1)
    (folder / "run.json").write_text(json.dumps({"recipe": recipe.as_dict(), "finished": True}))
    (folder / "log.csv").write_text(f"epoch,step\n{len(path) - 1},{every * (len(path) - 1)}\n")
    return folder


def with_history(subject: Subject, folder: Path) -> Subject:
    """The subject at the end of a run of four snapshots that began at other random weights; it stays as it is."""
    state = {name: tensor.detach().clone() for name, tensor in subject.model.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    path = []
    for far in (1.0, 0.6, 0.3, 0.0):
        moved = {
            name: parameter.detach()
            + far * torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter)
            for name, parameter in subject.model.named_parameters()
        }
        path.append({name: tensor.clone() for name, tensor in (state | moved).items()})
    return replace(subject, history=write_run(folder, path))
