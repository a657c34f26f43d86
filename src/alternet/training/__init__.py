"""Training by recipe: `Recipe.load("paper")`, `train(...)`, and what a run leaves behind."""

from alternet.runs import Row, TrainingRun
from alternet.training.loop import train
from alternet.training.recipe import Recipe, known_recipes
from alternet.training.train_data import TrainData

__all__ = ["Recipe", "Row", "TrainData", "TrainingRun", "known_recipes", "train"]
