"""Plans: what is needed once is planned once, and an address says what decides the numbers and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.studies.tiny_studies import HONEST, VARIED, VIT

from alternet.instruments.calibration import Calibration
from alternet.instruments.landscape import Landscape
from alternet.studies import Arm, Measuring, Reading, Study, Training
from alternet.studies.evidence import QUANTITIES
from alternet.studies.figures import FIGURES
from alternet.studies.figures.titles import TITLES
from alternet.studies.measuring_job import MeasuringJob
from alternet.studies.plan import Plan
from alternet.studies.readings import READINGS
from alternet.studies.reproduce import studies_named
from alternet.studies.scale import CIFAR, IMAGENET, SCALES, SMOKE


def plan(*studies: Study, **more) -> Plan:
    return Plan(studies=studies, scale=SMOKE, out=Path("out"), **more)


def measured(made: Plan) -> list[str]:
    return [one.folder.name for job in made.jobs for one in job.measurements]


def test_what_two_studies_need_is_planned_once():
    both = plan(HONEST, VARIED)
    assert len(plan(HONEST).jobs) == 1
    assert len(plan(VARIED).jobs) == 2
    assert len(both.jobs) == 2
    assert len(measured(both)) == len(set(measured(both))) == 4  # two calibrations, two variances
    assert set(measured(plan(HONEST))) < set(measured(plan(VARIED)))
    assert {job.folder for job in both.jobs} == {job.folder for job in plan(VARIED, HONEST).jobs}


def test_every_seed_is_a_training_of_its_own():
    jobs = plan(HONEST, seeds=range(3)).jobs
    assert [job.training.recipe.seed for job in jobs] == [0, 1, 2]
    assert len({job.folder for job in jobs}) == 3
    later = plan(HONEST, seeds=range(1, 3)).jobs
    assert [job.folder for job in later] == [job.folder for job in jobs[1:]]


def test_the_paper_s_networks_are_shared_between_its_figures():
    made = plan(*studies_named(["1c", "2b", "9"], SMOKE))
    models = [job.training.model for job in made.jobs]
    assert models.count("paper_resnet_18") == models.count("vit_mini") == 1


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"data": "photos"}, False),
        ({"limit": 65}, False),
        ({"snapshot": "warmup"}, False),
        ({"instrument": Calibration(bins=11)}, False),
        ({"instrument": Calibration(bins=10)}, True),  # the default, said
    ],
)
def test_an_address_hangs_on_what_decides_the_numbers(change, same):
    training = plan(HONEST).training(VIT, 0)
    first = MeasuringJob(training=training, instrument=Calibration(), data="digits", limit=64)
    assert (replace(first, **change).folder == first.folder) is same


def test_where_data_lie_and_what_an_arm_is_called_are_no_part_of_an_address():
    named = replace(HONEST, arms=(Arm("another name", VIT),), figure="another")
    assert measured(plan(named)) == measured(plan(HONEST))
    here, there = (plan(*studies_named(["5a"], CIFAR), data={"photos": place}) for place in ("photos", "photos:/data"))
    assert [job.folder.name for job in here.jobs] == [job.folder.name for job in there.jobs]


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_figure_is_declared_at_every_scale(scale):
    assert list(FIGURES) == list(TITLES)
    studies = studies_named(["all"], scale)
    assert [study.figure for study in studies] == list(TITLES)
    for study in studies:
        assert study.units or (study.readings and study.shows), study.figure
        assert {show.y for show in study.shows} <= set(QUANTITIES)
        assert {reading.how for reading in study.readings} <= set(READINGS)
        measured_with = {reading.of.instrument.spec.name for reading in study.readings if reading.of}
        assert set(study.exhibits) <= measured_with, study.figure
    assert Plan(studies=studies, scale=scale, out=Path("out")).jobs


def test_measurements_ask_for_snapshots_that_are_kept():
    for scale in SCALES.values():
        made = Plan(studies=studies_named(["all"], scale), scale=scale, out=Path("out"))
        for job in made.jobs:
            recipe = job.training.recipe
            for name in {one.snapshot for one in job.measurements} - {"last", "warmup", "init"}:
                assert int(name.removeprefix("epoch-")) % recipe.snapshot_every == 0
            assert recipe.warmup_epochs or "warmup" not in {one.snapshot for one in job.measurements}


def test_published_corruptions_are_taken_where_they_lie():
    made = Plan(studies=studies_named(["12b"], CIFAR), scale=CIFAR, out=Path("out"), data={"corrupted": "corrupted:/c"})
    found = [one.instrument for job in made.jobs for one in job.measurements]
    assert {instrument.published for instrument in found} == {"/c"}


def test_a_figure_of_several_parts_is_all_of_them():
    assert [study.figure for study in studies_named(["C.1", "5"], SMOKE)] == ["C.1a", "C.1b", "5a", "5b"]


def test_published_weights_are_measured_and_not_trained():
    made = Plan(studies=studies_named(["E.1", "C.4"], IMAGENET), scale=IMAGENET, out=Path("out"), seeds=range(2))
    (swin,) = (job for job in made.jobs if job.training.model.startswith("swin"))
    assert swin.training.given
    names = [one.instrument.spec.name for one in swin.measurements]
    assert "calibration" in names  # in place of a log
    assert all(one.snapshot == "last" for one in swin.measurements)
    assert not swin.finished


def test_a_study_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"Study 'none' has no arm"):
        Study(figure="none", title="", arms=())
    with pytest.raises(ValueError, match=r"several arms ViT at one x"):
        Study(figure="twice", title="", arms=(Arm("ViT", VIT), Arm("ViT", VIT)))
    with pytest.raises(ValueError, match=r"for Swin, but its arms are ViT"):
        Study(figure="odd", title="", arms=(Arm("ViT", VIT),), readings=(Reading(only=("Swin",)),))


def test_a_recipe_that_there_is_not_is_refused():
    odd = replace(HONEST, arms=(Arm("ViT", Training(network="ViT", recipe="strng")),))
    with pytest.raises(ValueError, match="There is no recipe 'strng'"):
        _ = plan(odd).jobs


def test_a_landscape_of_another_size_is_another_measurement():
    training = plan(HONEST).training(VIT, 0)
    folders = {
        plan().measurement(Measuring(instrument=Landscape(points=points)), training).folder for points in (11, 21)
    }
    assert len(folders) == 2
