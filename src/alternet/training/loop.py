"""`train`: a model, data and a recipe become a folder with trained weights, a log, and snapshots on the way."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from alternet.distributed import gather, local_device, processes, rank, together
from alternet.errors import damage
from alternet.progress import track
from alternet.runs import CHECKPOINT, Row, TrainingRun
from alternet.seeding import derived_seed, random_state_kept
from alternet.storage import sole_writer, tidy
from alternet.subject.starting import Start, as_json, start, taken_up
from alternet.training.callback import Callback, Moment
from alternet.training.checkpoint import read_checkpoint
from alternet.training.epoch import evaluate, train_epoch
from alternet.training.growing import epochs_before, goes_on
from alternet.training.recipe import Recipe
from alternet.training.run_writer import RunWriter, disk_errors_told
from alternet.training.shortage import shortage_told
from alternet.training.train_data import TrainData
from alternet.training.trainer import Trainer

Report = Callable[[Row], None]
Say = Callable[[str], None]


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
    limit: int | None = None,
    callbacks: Sequence[Callback] = (),
    report: Report | None = None,
    say: Say | None = None,
) -> TrainingRun:
    """Train a model by a recipe, or go on where an interrupted call with the same `out` stopped.

    After every epoch the model is tested and a checkpoint is written. On a CPU a run that was killed and started again
    ends with the same bits as one that was not. A finished run is taken up as it is; where the recipe has more `epochs`
    than it had, the run goes on. Under `torchrun` the processes share every batch; `docs/training.md` says what each
    file of `out` holds.

    Args:
        model: `NAME[@WEIGHTS]` as `alternet.load` takes it, NAME of timm or ours, or `run:DIR[@SNAPSHOT]`, or one of
            these with attention put into it, `MODEL+msa(...)`. Without weights they are random, from the recipe's seed;
            where they tell another number of classes apart, the head is.
        data: A name or path as `alternet.batches` takes it, or a `TrainData` made of two splits (`TrainData.of`).
        recipe: How to train.
        out: Folder of the run.
        img_size: Side of the images; by default the data's own. For a name or path, as `workers`.
        device: Where to train; by default a GPU if there is one.
        model_args: More keyword arguments of the model, for example `{"window_size": 4}`. With `{"in_chans": 1}` the
            images of a name or path are grey.
        workers: Processes that prepare images beside the training.
        limit: Train and test on fixed subsets of so many images, of a name or path.
        callbacks: Called with the network before the first epoch and after each, in every process, such as
            `alternet.Measure`; what they return goes to TensorBoard. They decide no weight, and a call may have others.
        report: Called with the row of the log after every epoch, in the first process.
        say: Called there before the first epoch with what one should know of the start, sentence by sentence: a head
            that is drawn anew, the normalisation that weights bring, what is frozen or held out.

    Raises:
        ValueError: The model, data and recipe do not fit, `out` holds the training of something else, or is being
            written by somebody else.
        FloatingPointError: The loss or a weight is not finite any more. The last good checkpoint is kept.
        TypeError: `model` is no name.
        MemoryError: There is not enough memory, on the device or beside it. The last checkpoint is kept.
        ChildProcessError: A process that prepared images was lost. The last checkpoint is kept.
        OSError: `out` cannot be written. The last checkpoint is intact.

    Examples:
        >>> run = train("test_vit", "digits", Recipe(epochs=1, lr=1e-3), getfixture("tmp_path"), device="cpu")
        >>> list(run.log.columns[:5])
        ['epoch', 'step', 'lr', 'train_loss', 'test_accuracy']
    """
    if not isinstance(model, str):
        raise TypeError(
            f"train takes a name, by which run:DIR builds the model again, got {type(model).__name__}. Register a "
            "function that makes yours, @timm.models.register_model, and give its name: docs/bring-your-own.md."
        )
    options = {"img_size": img_size, "colour": (model_args or {}).get("in_chans") != 1, "workers": workers}
    options["limit"] = limit
    folder, run, target = Path(out), TrainingRun(Path(out)), local_device(None if device is None else str(device))
    with processes(target), random_state_kept(), _resumable(folder), ExitStack() as alone:
        images = TrainData.named(data, recipe, **options) if isinstance(data, str) else _fitting(data, recipe)
        own = {"drop_path_rate": recipe.drop_path} if recipe.drop_path > 0 else {}
        own |= model_args or {}
        begun = taken_up(run, model, own)
        begun = begun or start(model, images.input_size, len(images.classes), own, seed=recipe.seed)
        identity = _identity(begun, images, recipe)

        shorter = epochs_before(run, recipe)
        complete = run.finished and not shorter
        together(partial(_to_itself, folder, alone, complete))
        # a run that is older than this option goes on, since it decides what is kept and not what is trained
        older = Recipe().as_dict() | {"snapshot_warmup": recipe.snapshot_warmup}
        run.require_same(identity | {"recipe": identity["recipe"] | shorter}, older)
        if not complete:
            with shortage_told(recipe, images.workers, epoch=0):
                trainer = Trainer(
                    model=begun.model,
                    recipe=recipe,
                    device=target,
                    steps_per_epoch=len(images),
                    mean=begun.mean or images.mean,
                    std=begun.std or images.std,
                )
            rows = _resume(trainer, folder)
            grew = [{**shorter, "done": len(rows)}] if shorter and rows else []
            facts = {"parameters": trainer.parameters, **_about(images), "grown": [*run.grown, *grew]}
            if begun.origin is not None:
                facts["origin"] = begun.origin
            if say is not None and rank() == 0:
                for line in (*images.said, *begun.said, *trainer.said, *(goes_on(part, recipe) for part in grew)):
                    say(line)
            gather(None)  # every process has looked before the first one writes
            look = partial(_shown, callbacks, trainer, images, folder)
            _run(trainer, images, rows, partial(RunWriter, folder, identity, facts, rows), report, look)
            gather(None)
    return run


def _to_itself(folder: Path, alone: ExitStack, complete: bool) -> None:
    """Have the first process keep all others out of a folder, or leave it tidy where nothing is to be written."""
    if rank() == 0 and complete:
        tidy(folder)
    elif rank() == 0:
        with disk_errors_told(folder):
            alone.enter_context(sole_writer(folder))


def _fitting(data: TrainData, recipe: Recipe) -> TrainData:
    for fact in ("batch_size", "seed", "global_batch", "subset", "validation"):
        if (ours := getattr(data, fact)) != (theirs := getattr(recipe, fact)):
            raise ValueError(
                f"The data was made with {fact} {ours}, the recipe says {theirs}. Make it of the same recipe: "
                "TrainData.of(train, test, recipe)."
            )
    return data


def _shown(
    callbacks: Sequence[Callback], trainer: Trainer, images: TrainData, folder: Path, epoch: int
) -> dict[str, float]:
    """What the callbacks say of the network after so many epochs; random draws go on as if nobody had looked."""
    if not callbacks:
        return {}
    facts = {"input_size": images.input_size, "mean": trainer.mean, "std": trainer.std}
    network = list(trainer.networks().values())[-1] if epoch else trainer.model
    moment = Moment(model=network, epoch=epoch, epochs=trainer.recipe.total_epochs, folder=folder, **facts)
    with random_state_kept():
        return {name: value for callback in callbacks for name, value in callback(moment).items()}


def _run(
    trainer: Trainer,
    images: TrainData,
    rows: list[Row],
    write: Callable[[], RunWriter],
    report: Report | None,
    look: Callable[[int], Mapping[str, float]],
) -> None:
    with write() if rank() == 0 else nullcontext() as writer:
        if writer is not None:
            writer.keep_start(trainer, len(rows))
        if not rows and (numbers := look(0)) and writer is not None:
            writer.log.note(numbers, 0)
        for epoch in range(len(rows), trainer.recipe.total_epochs):
            with shortage_told(trainer.recipe, images.workers, epoch):
                rows.append(_epoch(trainer, images, epoch, rows))
            if writer is not None:
                writer.keep_epoch(trainer, rows)
            if (numbers := look(epoch + 1)) and writer is not None:
                writer.log.note(numbers, epoch + 1)
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
        **{
            f"{images.tested}_accuracy": tests["model"][0],
            f"{images.tested}_nll": tests["model"][1],
            f"ema_{images.tested}_accuracy": averaged[0],
            f"ema_{images.tested}_nll": averaged[1],
        },
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
    try:
        trainer.load(state)
        return [Row(**row) for row in state["rows"]]
    except torch.OutOfMemoryError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ) as error:  # torch says misfits in its own way
        raise ValueError(
            f"{path} is no checkpoint of this training ({damage(error)[:200]}). Delete it to train again "
            "from the start."
        ) from error


def _identity(begun: Start, images: TrainData, recipe: Recipe) -> dict[str, Any]:
    """What decides the trained weights, and what is needed to load them."""
    return {
        "model": begun.name,
        "model_args": as_json(begun.arguments),
        "num_classes": len(images.classes),
        "input_size": list(images.input_size),
        "mean": list(begun.mean or images.mean),
        "std": list(begun.std or images.std),
        "data": {"name": images.name, "fingerprint": images.fingerprint, **images.shares},
        "recipe": recipe.as_dict(),
        "start": begun.identity,
    }


def _about(images: TrainData) -> dict[str, Any]:
    """What whoever is given the weights wants to know, and what does not decide them."""
    tested = images.test_images
    how = {"split": tested.split, "images": tested.images, "preparation": tested.preparation}
    return {"classes": list(images.classes), images.tested: how}


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Tell whoever presses Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        line = f"Stopped; finished epochs are kept. Start again with the same folder {folder} to go on."
        raise KeyboardInterrupt(line) from None
