"""Training by recipe: `Recipe.load("paper")`, `train(...)`, and what a run leaves behind."""

from alternet.runs import Row, TrainingRun
from alternet.training.feed import Feed
from alternet.training.loop import train
from alternet.training.recipe import Recipe, known_recipes

__all__ = ["Feed", "Recipe", "Row", "TrainingRun", "known_recipes", "train"]
