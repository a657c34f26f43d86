"""Recipes: the shipped ones hold the published settings, and a wrong file gets one clear line."""

from pathlib import Path

import pytest
import torch

from alternet.data import PAPER_CIFAR, Augmentation, Batches
from alternet.settings import meaning, names
from alternet.training.recipe import SHIPPED, Recipe, known_recipes

AUTHORS = {"opt": "adamw", "lr": 1.25e-4, "weight_decay": 0.05, "filter_bias_and_bn": False, "sched": "cosine"}
AUTHORS |= {"epochs": 300, "warmup_epochs": 5, "warmup_prefix": True, "warmup_lr": 0.0, "min_lr": 0.0}
AUTHORS |= {"drop_path": 0.1, "hflip": 0.5, "amp_dtype": "float32"}
MIXED = {"mixup": 1.0, "cutmix": 0.8, "mixup_prob": 1.0, "mixup_switch_prob": 0.5, "smoothing": 0.1}
PLAIN = {"aa": None, "mixup": 0.0, "cutmix": 0.0, "smoothing": 0.0, "reprob": 0.0, "clip_grad": None}
SHIFTED = {"crop": "pad", "padding": 4}
PUBLISHED = {
    "paper": AUTHORS
    | MIXED
    | SHIFTED
    | {"batch_size": 96, "aa": "rand-m9-n2-mstd1.0", "reprob": 0.0, "clip_grad": 5.0},
    "paper-imagenet": AUTHORS
    | MIXED
    | {"batch_size": 128, "aa": "rand-m9-n2-mstd0.5", "reprob": 0.25, "remode": "const", "clip_grad": None}
    | {"crop": "resize", "scale": (0.08, 1.0)},
    "weak": AUTHORS | PLAIN | SHIFTED | {"batch_size": 96},
    "weak-sgd": PLAIN
    | SHIFTED
    | {"opt": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "filter_bias_and_bn": False}
    | {"batch_size": 128, "epochs": 200, "warmup_epochs": 1, "warmup_prefix": True, "hflip": 0.5, "drop_path": 0.0}
    | {"sched": "multistep", "decay_milestones": (60, 120, 160), "decay_rate": 0.2},
    "weak-sgd-imagenet": PLAIN
    | {"opt": "momentum", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "filter_bias_and_bn": False}
    | {"batch_size": 256, "epochs": 90, "total_epochs": 90, "hflip": 0.5, "crop": "resize", "scale": (0.08, 1.0)}
    | {"sched": "multistep", "decay_milestones": (30, 60, 80), "decay_rate": 0.1, "drop_path": 0.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_settings(name: str) -> None:
    recipe = Recipe.load(name)
    assert {option: getattr(recipe, option) for option in PUBLISHED[name]} == PUBLISHED[name]


def test_every_shipped_recipe_parses_and_says_how_to_run_it() -> None:
    assert set(known_recipes()) == {*PUBLISHED, "quick", "buildup"}
    for name, sentence in known_recipes().items():
        text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        assert sentence.endswith(".")
        assert text[1].startswith("# ") and f"--recipe {name} " in text[1]
        assert text[2].startswith("# Expect ")
        assert Recipe.load(name).total_epochs > 0


def test_a_file_is_read_and_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 1\nepochs: 3\naa: null\ndecay_milestones: [1, 2]\n")
    recipe = Recipe.load(path)
    assert (recipe.lr, type(recipe.lr), recipe.decay_milestones) == (1.0, float, (1, 2))
    assert Recipe(**recipe.as_dict()) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate: 1.0", "no setting 'learning_rate'"),
        ("batchsize: 3", "Did you mean batch_size"),
        ("lr: .nan", "finite"),
        ("epochs: 2.5", "epochs=2.5, expected an integer"),
        ("epochs: true", "epochs=True, expected an integer"),
        ("epochs: 0", "a number of at least 1"),
        ("model_ema: 1", "model_ema=1, expected true or false"),
        ("smoothing: 1.5", "a number of at most 1"),
        ("momentum: 1.0", "a number below 1"),
        ("aa: random", "no augmentation policy"),
        ("lr: 0", "a number above 0"),
        ("sched: cosinus", "one of 'cosine', 'multistep', 'step'"),
        ("opt: adamv", "Did you mean adam"),
        ("decay_milestones: 60", "decay_milestones=60, expected a list"),
        ("decay_milestones: [a]", "expected an integer"),
        ("scale: [0.5]", "scale=[0.5], expected more values"),
        ("epochs: 2\nwarmup_epochs: 3", "more than all 2 epochs"),
        ("- lr", "must hold options"),
        ("lr: [", "is not YAML"),
        ("lr: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_wrong_file_gets_one_clear_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        Recipe.load(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_wrong_name_is_answered_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean paper"):
        Recipe.load("papre")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text in UTF-8: byte 0 is 0xff"):
        Recipe.load(tmp_path / "binary.yaml")


def test_settings_change_some_options_and_keep_the_rest() -> None:
    changed = Recipe.load("paper").with_settings({"epochs": 2, "scale": [0.5, 1.0]})
    assert (changed.epochs, changed.scale, changed.lr) == (2, (0.5, 1.0), 1.25e-4)
    with pytest.raises(ValueError, match="Did you mean epochs"):
        changed.with_settings({"epoch": 3})
    with pytest.raises(ValueError, match="lr='high', expected a number"):
        changed.with_settings({"lr": "high"})


def test_a_number_may_be_written_with_an_exponent_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("lr: 1e-3\nscale: [1e-1, 1]\nweight_decay: '0.5'")
    recipe = Recipe.load(tmp_path / "mine.yaml")
    assert (recipe.lr, recipe.scale, recipe.weight_decay) == (0.001, (0.1, 1.0), 0.5)
    texts = {"lr": "1e-4", "decay_milestones": "[3, 5]", "aa": "null", "clip_grad": "5", "model_ema": "true"}
    changed = Recipe.load("paper").with_settings(texts)
    values = (changed.lr, changed.decay_milestones, changed.aa, changed.clip_grad, changed.model_ema)
    assert values == (0.0001, (3, 5), None, 5.0, True)


def test_a_recipe_is_an_augmentation_and_no_more_than_that_in_a_fingerprint() -> None:
    """The values are those of version 0.1.0, so stored measurements stay valid."""
    images = Batches.of((torch.arange(1152) / 1152).view(6, 3, 8, 8), torch.arange(6) % 3)
    recipe = Recipe.load("paper")
    assert len(recipe.facts) == 14
    plain = Augmentation.of(recipe.as_dict())
    assert type(plain) is Augmentation and plain.facts == recipe.facts
    for augment in (recipe, plain, PAPER_CIFAR):
        assert images.frozen(augment, seed=1).fingerprint == "db24b98abbd8c2b9"


def test_every_option_says_what_it_means() -> None:
    assert all(meaning(Recipe, name).endswith(".") for name in names(Recipe))
