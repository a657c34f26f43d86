"""Shape bias: readers of one cue, scipy's interval, a loop over images, ImageNet's categories, and names not known."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from timm.data.imagenet_info import ImageNetInfo
from torch import nn

from alternet.data import batches
from alternet.data.image_batches import Batches
from alternet.instruments.shape_bias import ShapeBias
from alternet.instruments.shape_bias.entry_level import CATEGORIES
from alternet.instruments.shape_bias.measure import cue_pairs, decisions, vocabulary
from alternet.student import wilson
from alternet.subject.subject import Subject

CUES = ["bird", "cat", "dog"]
PAIRS = ["bird-cat", "cat-dog", "dog-bird", "dog-cat", "dog-dog"]


class Reads(nn.Module):
    """Decides for the class number that stands in the first pixel (shape) or in the second (texture)."""

    def __init__(self, pixel, classes=3):
        super().__init__()
        self.pixel, self.classes = pixel, classes

    def forward(self, x):
        return nn.functional.one_hot((255 * x[:, 0, 0, self.pixel]).round().long(), self.classes).float()


class Random(nn.Module):
    """Answers that are fixed by what it sees and mean nothing."""

    def forward(self, x):
        seeds = (1e4 * x.flatten(1).mean(1)).long().tolist()
        return torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def subject(model):
    return Subject(model, name="net")


def conflict(targets, names=CUES, pairs=PAIRS, batch_size=4):
    """Images [1, 2, 2] whose first two pixels name the classes of shape and texture."""
    images = torch.rand(len(targets), 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for image, target in zip(images, targets, strict=True):
        for pixel, cue in enumerate(pairs[target].split("-")):
            image[0, 0, pixel] = names.index(cue) / 255
    return Batches.of(images, torch.tensor(targets), classes=pairs, batch_size=batch_size)


TARGETS = [0, 0, 1, 2, 3, 3, 3, 4, 4, 1, 0]


@pytest.mark.parametrize(("pixel", "expected"), [(0, 1.0), (1, 0.0)])
def test_a_reader_of_one_cue_goes_by_it_always(pixel, expected):
    m = ShapeBias().measure(subject(Reads(pixel)), conflict(TARGETS))
    assert m.table["images"].tolist() == [3, 2, 1, 3]
    column, other = ("chose_shape", "chose_texture") if pixel == 0 else ("chose_texture", "chose_shape")
    assert m.table[column].tolist() == [3, 2, 1, 3]
    assert m.table[other].tolist() == [0, 0, 0, 0]
    bias = m.tables["bias"]
    assert bias["shape"].tolist() == ["all", "bird", "cat", "dog"]
    assert bias["shape_bias"].tolist() == [expected] * 4
    assert bias["images"].tolist() == bias["decisions"].tolist() == [9, 3, 2, 4]  # dog-dog is in no conflict


def test_a_loop_over_images():
    targets = [k % 5 for k in range(200)]
    data = conflict(targets)
    m = ShapeBias().measure(subject(Random()), data)
    images = torch.cat([x for x, _ in data])
    answers = [CUES[k] for k in Random()(images).argmax(1).tolist()]
    for row in m.table.itertuples():
        mine = [a for a, t in zip(answers, targets, strict=True) if PAIRS[t] == f"{row.shape}-{row.texture}"]
        assert (row.images, row.chose_shape, row.chose_texture) == (
            len(mine),
            mine.count(row.shape),
            mine.count(row.texture),
        )
    for row in m.tables["bias"].itertuples():
        part = m.table[m.table["shape"].isin([row.shape] if row.shape != "all" else CUES)]
        made, shape = part["chose_shape"].sum() + part["chose_texture"].sum(), part["chose_shape"].sum()
        assert row.shape_bias == pytest.approx(shape / made)
        assert (row.low, row.high) == wilson(shape, made)


@pytest.mark.parametrize(("shape", "made"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 31), (500, 1200)])
def test_the_interval_ends_where_the_share_is_just_believable(shape, made):
    """At an end p of Wilson's interval the share lies z standard errors of p away."""
    low, high = wilson(shape, made)
    assert 0 <= low <= shape / made <= high <= 1
    for p in (low, high):
        reach = NormalDist().inv_cdf(0.975) * (p * (1 - p) / made) ** 0.5
        assert abs(shape / made - p) == pytest.approx(reach, abs=1e-9)


def test_without_a_decision_nothing_is_known():
    pairs = ["bird-cat", "cat-bird"]
    m = ShapeBias(classes="bird,cat,dog").measure(
        subject(nn.Sequential(nn.Flatten(), Always(2))), conflict([0, 1, 0], pairs=pairs)
    )
    row = m.tables["bias"].iloc[0]
    assert (row["decisions"], row["low"], row["high"]) == (0, 0.0, 1.0)
    assert np.isnan(row["shape_bias"])


class Always(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return nn.functional.one_hot(torch.full((len(x),), self.answer), 3).float()


def test_the_models_classes_may_be_more_and_in_another_order():
    names = ["dog", "cat", "fish", "bird"]
    data = conflict(TARGETS, names=names)
    m = ShapeBias(classes="dog, cat,fish,bird").measure(subject(Reads(0, classes=4)), data)
    assert m.tables["bias"]["shape_bias"].tolist() == [1.0] * 4
    with pytest.raises(ValueError, match=r"What the 4 classes .* not known: the cues have 3 .*--set \"classes=cat,dog"):
        ShapeBias().measure(subject(Reads(0, classes=4)), data)


@pytest.mark.parametrize(
    ("classes", "outputs", "message"),
    [
        ("cat,dog", 3, "got 2 different classes, but the model has 3"),
        ("cat,dog,dog", 3, "got 2 different classes, but the model has 3"),
        ("cat,dog,fish", 3, "The model has no class bird; it knows cat, dog, fish"),
    ],
)
def test_names_that_do_not_fit_are_refused(classes, outputs, message):
    with pytest.raises(ValueError, match=message):
        vocabulary(classes, CUES, outputs)


def test_a_cue_that_imagenets_categories_lack_is_named():
    with pytest.raises(ValueError, match="no class zebra; it knows airplane, bear"):
        vocabulary("auto", ["cat", "zebra"], 1000)


def test_the_sixteen_categories_are_groups_of_imagenets_classes():
    info = ImageNetInfo("imagenet-1k")
    numbers = [number for group in CATEGORIES.values() for number in group]
    assert len(CATEGORIES) == 16 and len(numbers) == len(set(numbers)) == 207
    assert max(numbers) < 1000
    synset = {name: [int(info.index_to_label_name(n)[1:]) for n in group] for name, group in CATEGORIES.items()}
    between = {
        "dog": (2085620, 2113978),
        "bird": (1503061, 2058221),
        "bear": (2131653, 2134418),
        "cat": (2121620, 2126465),
    }
    for name, (first, last) in between.items():  # WordNet numbers a family of animals together
        assert all(first <= number <= last for number in synset[name])
    words = {
        "airplane": "airliner",
        "clock": "clock",
        "bottle": ("bottle", "jug"),
        "keyboard": "keyboard",
        "knife": "cleaver",
    }
    for name, expected in words.items():
        for number in CATEGORIES[name]:
            description = info.index_to_description(number)
            assert any(word in description for word in ([expected] if isinstance(expected, str) else expected))


def test_a_category_has_the_mean_probability_of_its_classes():
    logits = torch.full((2, 1000), -20.0)
    logits[0, list(CATEGORIES["dog"])] = 1.0  # more mass in all, less in each
    logits[0, 404] = 2.0
    logits[1, 294] = 3.0  # a quarter of its probability is the mean of the four bears
    logits[1, 404] = 2.0
    names = list(CATEGORIES)
    assert [names[k] for k in decisions(logits, list(CATEGORIES.values()))] == ["airplane", "airplane"]
    logits[1, 294] = 3.5
    assert names[decisions(logits, list(CATEGORIES.values()))[1]] == "bear"


def test_an_imagenet_model_is_asked_by_its_categories():
    class Imagenet(nn.Module):
        def forward(self, x):
            animal = torch.tensor([15, 283, 200])[(255 * x[:, 0, 0, 0]).round().long()]
            return 9 * nn.functional.one_hot(animal, 1000).float()

    m = ShapeBias().measure(subject(Imagenet()), conflict(TARGETS))
    assert m.tables["bias"]["shape_bias"].tolist() == [1.0] * 4


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat-dog", "x-y-z"), ("-dog", "a-b"), ()])
def test_classes_that_are_no_pairs_are_refused(names):
    with pytest.raises(ValueError, match="needs classes called shape-texture"):
        cue_pairs(names)


def test_data_without_conflict_is_refused():
    with pytest.raises(ValueError, match="no image whose shape and texture are of different classes"):
        ShapeBias().measure(subject(Always(0)), conflict([4, 4]))
    with pytest.raises(ValueError, match="there is 'astronaut'"):
        ShapeBias().measure(subject(Always(0)), batches("photos", limit=2))
