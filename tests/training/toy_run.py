"""A training of the toy problem as a program, to be killed or started by torchrun: `toy_run OUT kill|share|whole`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.training.toy import ToyTrainSet, pictures, toy
from torch import Tensor

from alternet.data.image_batches import Batches
from alternet.distributed import rank
from alternet.training import Recipe, TrainData, TrainingRun, train

KILLED = Recipe(
    lr=3e-3, epochs=4, warmup_epochs=1, batch_size=16, drop_path=0.3, model_ema=True, channels_last=True, seed=5
)
SHARED = Recipe(opt="momentum", lr=0.05, epochs=2, batch_size=16, clip_grad=1.0, model_ema=True, model_ema_decay=0.5)

WHOLE = SHARED.with_settings(
    {
        "hflip": 0.5,
        "crop": "pad",
        "mixup": 1.0,
        "cutmix": 1.0,
        "smoothing": 0.1,
        "reprob": 0.5,
        "remode": "pixel",
        "sync_bn": True,
        "global_batch": True,
        "grad_accum_steps": 2,
        "sam": "asam",
    }
)
"""All that can make two processes learn what one learns, in a network with batch norm."""


class Stuck(ToyTrainSet):
    """Training images that tell when the third epoch is half over, and then never end."""

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        if tuple(seed[1:3]) == (2, 2):
            print("in the middle", flush=True)  # noqa: T201 - the test waits for it
            time.sleep(60)
        return super().batch(numbers, seed)


class Plain(ToyTrainSet):
    """TrainSet without noise, that note which of them each process took."""

    notes: Path | None = None

    def batch(self, numbers: Sequence[int], seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        if self.notes is not None:
            with (self.notes / f"taken.{rank()}").open("a") as file:
                file.writelines(f"{seed[1]} {seed[2]} {number}\n" for number in numbers)
        return self.images[list(numbers)], self.classes[list(numbers)]


def whole(out: Path, recipe: Recipe) -> TrainingRun:
    """Train a network with batch norm on images that are varied and mixed."""
    data = TrainData.of(Batches.of(*pictures(64, 0)), Batches.of(*pictures(45, 1), batch_size=10), recipe)
    return train("test_resnet", data, recipe, out, device="cpu")


if __name__ == "__main__":
    out, what = Path(sys.argv[1]), sys.argv[2]
    if what == "kill":
        data = toy(KILLED, train_images=Stuck(*pictures(64, 0)))
        train("test_vit", data, KILLED, out, device="cpu", model_args={"patch_size": 4})
    elif what == "whole":
        whole(out / "run", WHOLE)
    else:
        train_images = Plain(*pictures(64, 0))
        train_images.notes = out
        from alternet.distributed import local_device, processes

        with processes(local_device("cpu")):
            train(
                "test_vit",
                toy(SHARED, train_images=train_images),
                SHARED,
                out / "run",
                device="cpu",
                model_args={"patch_size": 4},
            )
