"""When a machine cannot give what a training needs: memory, or the processes that prepare its images."""

from collections.abc import Iterator
from contextlib import contextmanager

from alternet.memory import short_of_memory
from alternet.patience import patience
from alternet.training.recipe import Recipe

LOST, IN_A_WORKER = ("DataLoader worker (pid", "DataLoader timed out"), "in DataLoader worker process"


@contextmanager
def shortage_told(recipe: Recipe, workers: int, epoch: int) -> Iterator[None]:
    """Say in one line what was lacking, what to set, and what is kept.

    Args:
        recipe: How it is trained.
        workers: Processes that prepare the images.
        epoch: The epoch that is trained meanwhile, counted from 0.

    Raises:
        MemoryError: There is not enough memory.
        ChildProcessError: A process that prepared images was lost.

    Examples:
        >>> with shortage_told(Recipe(), 2, epoch=0):
        ...     raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
        Traceback (most recent call last):
        ChildProcessError: A process that prepares images was lost in epoch 1 (DataLoader worker (pid(s) 7) exited...
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        reason = next((line.strip(" .") for line in reversed(str(error).splitlines()) if line.strip()), "")[:160]
        lacking = short_of_memory(error)
        again = kept(epoch) + (", and the same command goes on from there" if epoch else "")
        if any(said in text for said in LOST) or (lacking and IN_A_WORKER in text):
            what = "had not enough memory" if lacking else "was lost"
            slow = f", raise --timeout, now {patience()} seconds, if images come slowly" if LOST[1] in text else ""
            raise ChildProcessError(
                f"A process that prepares images {what} in epoch {epoch + 1} ({reason}). Set fewer workers, now "
                f"{workers} (with 0 this process prepares them itself), or free memory{slow}: {again}."
            ) from error
        if lacking:
            raise MemoryError(
                f"Out of memory in epoch {epoch + 1} ({reason or type(error).__name__}). In another folder, raise "
                f"grad_accum_steps, now {recipe.grad_accum_steps}, which computes the {recipe.batch_size} images of a "
                f"step (batch_size) in parts, set amp_dtype: bfloat16, or lower batch_size; or free memory: {again}."
            ) from error
        raise


def kept(epoch: int) -> str:
    """What is left of a training that stops in an epoch, counted from 0."""
    return "the checkpoint of the epoch before is kept" if epoch else "no epoch was finished before"
