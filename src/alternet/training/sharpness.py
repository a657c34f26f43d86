"""Sharpness-aware minimisation: pytorch_optimizer's SAM and ASAM around an optimiser of timm's."""

from typing import Any

from torch.optim import Optimizer

from alternet.training.recipe import Recipe

RHO = {"sam": 0.05, "asam": 0.5}
"""Radii that the papers settle on: Foret et al. (2021, section 3), Kwon et al. (2021, section 5)."""


def make_sam(optimizer: Optimizer, recipe: Recipe) -> Any:
    """SAM or ASAM over an optimiser, which it shares its state with.

    `first_step` moves every weight by rho g / |g|, or by rho w² g / |w g|, g being the gradient of the whole batch;
    `second_step` moves it back and lets the optimiser step by the gradient that was found there.

    Raises:
        ValueError: pytorch_optimizer is not installed.
    """
    try:
        from pytorch_optimizer import SAM
    except ImportError as error:
        raise ValueError(
            f"sam: {recipe.sam} needs pytorch_optimizer. Install it with: pip install 'alternet[sam]'"
        ) from error
    return SAM(
        optimizer.param_groups,
        lambda *_, **__: optimizer,  # pyright: ignore[reportArgumentType] - it asks for a class to make one of
        rho=recipe.sam_rho or RHO[recipe.sam],
        adaptive=recipe.sam == "asam",
    )
