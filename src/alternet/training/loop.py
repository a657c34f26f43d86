"""`train`: a model, data and a recipe become a folder with trained weights, a log, and snapshots on the way."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from alternet.data import batches
from alternet.distributed import gather, local_device, processes, rank, together
from alternet.progress import track
from alternet.runs import CHECKPOINT, Row, TrainingRun
from alternet.seeding import derived_seed, random_state_kept
from alternet.storage import sole_writer
from alternet.subject.creating import create_for_data
from alternet.training.checkpoint import read_checkpoint
from alternet.training.epoch import evaluate, train_epoch
from alternet.training.recipe import Recipe
from alternet.training.run_writer import RunWriter, told
from alternet.training.train_data import TrainData
from alternet.training.trainer import Trainer

Report = Callable[[Row], None]


def train(  # noqa: PLR0913 - one verb with the facts of one run; the settings proper are the recipe's
    model: str,
    data: str | TrainData,
    recipe: Recipe,
    out: str | Path,
    *,
    img_size: int | None = None,
    device: str | torch.device | None = None,
    model_args: Mapping[str, Any] | None = None,
    workers: int = 0,
    report: Report | None = None,
) -> TrainingRun:
    """Train a model by a recipe, or go on where an interrupted call with the same `out` stopped.

    After every epoch the model is tested and a checkpoint is written. On a CPU a run that was killed and started again
    ends with the same bits as one that was not. A finished run is taken up as it is. Under `torchrun` the processes
    share every batch; `docs/training.md` says what each file of `out` holds.

    Args:
        model: A timm name, ours included. The weights begin random, from the recipe's seed.
        data: A name or path as `alternet.batches` takes it, or a `TrainData` made of two splits (`TrainData.of`).
        recipe: How to train.
        out: Folder of the run.
        img_size: Side of the images; by default the data's own. For a name or path, as `workers`.
        device: Where to train; by default a GPU if there is one.
        model_args: More keyword arguments of the model, for example `{"window_size": 4}`.
        workers: Processes that prepare images beside the training.
        report: Called with the row of the log after every epoch, in the first process.

    Raises:
        ValueError: The model, data and recipe do not fit, `out` holds the training of something else, or is being
            written by somebody else.
        FloatingPointError: The loss or a weight is not finite any more. The last good checkpoint is kept.
        OSError: `out` cannot be written. The last checkpoint is intact.

    Examples:
        >>> run = train("test_vit", "digits", Recipe(epochs=1, lr=1e-3), getfixture("tmp_path"), device="cpu")
        >>> list(run.log.columns[:5])
        ['epoch', 'step', 'lr', 'train_loss', 'test_accuracy']
    """
    folder, run, target = Path(out), TrainingRun(Path(out)), local_device(None if device is None else str(device))
    with processes(target), random_state_kept(), _resumable(folder), ExitStack() as alone:
        images = _train_data(data, recipe, img_size, workers)
        own = {"drop_path_rate": recipe.drop_path} if recipe.drop_path > 0 else {}
        own |= model_args or {}
        network, name, arguments = create_for_data(model, images.input_size, len(images.classes), own, seed=recipe.seed)
        identity = _identity(name, arguments, images, recipe)

        def begin() -> None:
            if rank() == 0 and not run.finished:
                with told(folder):
                    alone.enter_context(sole_writer(folder))

        together(begin)
        # a run that is older than this option goes on, since it decides what is kept and not what is trained
        run.require_same(identity, Recipe().as_dict() | {"snapshot_warmup": recipe.snapshot_warmup})
        if not run.finished:
            gather(None)  # every process has looked before the first one writes
            trainer = Trainer(
                model=network,
                recipe=recipe,
                device=target,
                steps_per_epoch=len(images),
                mean=images.mean,
                std=images.std,
            )
            _run(trainer, images, folder, identity, report)
            gather(None)
    return run


def _train_data(data: str | TrainData, recipe: Recipe, img_size: int | None, workers: int) -> TrainData:
    if not isinstance(data, TrainData):
        options = {"batch_size": recipe.batch_size, "img_size": img_size, "workers": workers}
        return TrainData.of(batches(data, split="train", **options), batches(data, split="test", **options), recipe)
    if (data.batch_size, data.seed) != (recipe.batch_size, recipe.seed):
        raise ValueError(
            f"The data was made with batch_size {data.batch_size} and seed {data.seed}, the recipe says "
            f"{recipe.batch_size} and {recipe.seed}. Make it of the same recipe: TrainData.of(train, test, recipe)."
        )
    return data


def _run(trainer: Trainer, images: TrainData, folder: Path, identity: Mapping[str, Any], report: Report | None) -> None:
    rows = _resume(trainer, folder)
    with RunWriter(folder, identity, rows, _about(images)) if rank() == 0 else nullcontext() as writer:
        if writer is not None and not rows:
            writer.keep_start(trainer)
        for epoch in range(len(rows), trainer.recipe.total_epochs):
            rows.append(_epoch(trainer, images, epoch, rows))
            if writer is not None:
                writer.keep_epoch(trainer, rows)
            if report is not None and rank() == 0:
                report(rows[-1])
        skipped = sorted({name for part in gather(images.skipped) for name in part})
        if writer is not None:
            writer.finish(trainer, rows, skipped)


def _epoch(trainer: Trainer, images: TrainData, epoch: int, rows: list[Row]) -> Row:
    begun = time.perf_counter()
    loss_before = f" · loss {rows[-1]['train_loss']:.3f}" if rows else ""
    label = f"epoch {epoch + 1}/{trainer.recipe.total_epochs}{loss_before}"
    # for dropout and stochastic depth; anew in every epoch, so that a run that goes on draws the same
    torch.manual_seed(derived_seed(trainer.recipe.seed, "model", epoch, rank()))
    batches = images.epoch(epoch)
    batches = track(batches, label=label, total=len(images)) if rank() == 0 else batches
    loss, speed, waited = train_epoch(trainer, batches)
    tests = {name: evaluate(net, trainer, images.test()) for name, net in trainer.networks().items()}
    averaged = tests.get("ema", (None, None))
    return Row(
        epoch=epoch + 1,
        step=trainer.steps,
        lr=trainer.lr,
        train_loss=loss,
        test_accuracy=tests["model"][0],
        test_nll=tests["model"][1],
        ema_test_accuracy=averaged[0],
        ema_test_nll=averaged[1],
        seconds=round(time.perf_counter() - begun, 3),
        data_seconds=round(waited, 3),
        images_per_second=round(speed, 1),
    )


def _resume(trainer: Trainer, folder: Path) -> list[Row]:
    """The rows of the epochs already done, with the trainer as it was after them; what was read is free again then."""
    path = folder / CHECKPOINT
    if not path.exists():
        return []
    state = read_checkpoint(path)
    trainer.load(state)
    gather(None)  # nobody writes while another still reads
    return [Row(**row) for row in state["rows"]]


def _identity(model: str, arguments: Mapping[str, Any], images: TrainData, recipe: Recipe) -> dict[str, Any]:
    """What decides the trained weights, and what is needed to load them."""
    return {
        "model": model,
        "model_args": {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()},
        "num_classes": len(images.classes),
        "input_size": list(images.input_size),
        "mean": list(images.mean),
        "std": list(images.std),
        "data": {"name": images.name, "fingerprint": images.fingerprint},
        "recipe": recipe.as_dict(),
    }


def _about(images: TrainData) -> dict[str, Any]:
    """What whoever is given the weights wants to know, and what does not decide them."""
    test = images.test_images
    how = {"split": test.split, "images": test.images, "preparation": test.preparation}
    return {"classes": list(images.classes), "test": how}


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell whoever presses Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        line = f"Stopped; finished epochs are kept. Start again with the same folder {folder} to go on."
        raise KeyboardInterrupt(line) from None
