"""Instruments during training: the training is not changed, and each key number stands against the epoch."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.figures.crafted import calibration, hessian, several

import alternet as an
from alternet.errors import Doubt
from alternet.instruments import figures
from alternet.instruments.epoch_log import over_epochs, sentences
from alternet.report import render
from alternet.report.gather import gather

RECIPE = an.Recipe(epochs=2, lr=1e-3, batch_size=4, seed=1, drop_path=0.1)


def trained(out: Path, *callbacks: an.Measure) -> an.training.TrainingRun:
    return an.train("test_resnet", "digits", RECIPE, out, device="cpu", limit=8, callbacks=callbacks)


@pytest.mark.slow
def test_what_is_measured_changes_no_bit_and_is_logged_and_shown(tmp_path: Path):
    plain = trained(tmp_path / "plain")
    watch = an.Measure([an.Variance(), an.Calibration()], an.batches("digits", limit=4, img_size=8), name="net")
    run = trained(tmp_path / "watched", watch)
    before, after = (load_file(one.weights) for one in (plain, run))
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert sorted(path.name for path in (run.folder / "measured").glob("net_*")) == [
        f"net_epoch-{epoch:04d}" for epoch in range(3)
    ]

    events = EventAccumulator(str(run.folder / "events")).Reload()
    assert [one.step for one in events.Scalars("calibration/accuracy")] == [0, 1, 2]
    last = an.Calibration().measure(an.load(run.name, device="cpu"), watch.data).table.set_index("metric")["value"]
    assert events.Scalars("calibration/nll")[-1].value == pytest.approx(last["nll"], rel=1e-6)

    measurements, _ = gather([run.folder])
    (over,) = (one for one in measurements if one.instrument == "epochs")
    assert over.models == ("net",) and over.table["epoch"].unique().tolist() == [0, 1, 2]
    page = render([run.folder], tmp_path / "report.html").read_text()
    assert "In the course of training" in page and "calibration: accuracy" in page


@pytest.mark.slow
def test_an_instrument_that_fails_costs_the_training_nothing(tmp_path: Path):
    watch = an.Measure([an.Calibration(), an.Variance()], an.Batches.of(torch.rand(2, 3, 8, 8)), every=2)
    with pytest.warns(
        Doubt, match=r"calibration of network@epoch-000\d failed, and the training goes on: .* needs labels"
    ):
        run = trained(tmp_path, watch)
    assert run.finished
    kept = sorted(path.name for path in (run.folder / "measured").glob("network*"))
    assert kept == ["network_epoch-0000", "network_epoch-0002"]


def test_key_numbers_of_snapshots_are_drawn_against_the_epoch():
    runs = ["a@init", "a@epoch-0002", "a@epoch-0010 (random weights)", "b@epoch-0001", "c"]
    measured = an.Measurement.concat(calibration("ViT", name) for name in runs)
    found = {name: figures.numbers(measured.of(name)) for name in measured.models}
    over = over_epochs([(measured, found)])
    assert over is not None and over.models == ("a",)  # of the others there is only one epoch, or none
    assert over.table["epoch"].unique().tolist() == [0, 2, 10]
    assert len(figures.panels(over)) == over.table["number"].nunique() == 3
    assert "calibration: accuracy" in sentences(over)[0] and figures.draw(over).axes
    assert over_epochs([(several("variance", "ViT"), {"ViT": {"x": 1.0}})]) is None


def test_every_instrument_of_the_paper_states_key_numbers():
    values = {row["metric"]: row["value"] for _, row in hessian("ViT").tables["summary"].iterrows()}
    assert figures.numbers(hessian("ViT")) == {
        name: values[name] for name in ("nep", "ape") if values[name] == values[name]
    }
    for instrument in ("fourier", "variance", "landscape", "calibration"):
        found = figures.numbers(several(instrument, "ViT"))
        assert found and all(isinstance(value, float) for value in found.values()), instrument


def test_transformers_calls_it_at_the_end_of_an_epoch(tmp_path: Path):
    pytest.importorskip("transformers", reason="needs the extra hf")
    watch = an.Measure(
        [an.Variance()], an.batches("digits", limit=4, img_size=32), every=2, facts={"input_size": (3, 32, 32)}
    )
    callback = watch.transformers()
    args = SimpleNamespace(output_dir=str(tmp_path), num_train_epochs=3.0)
    model = an.load("test_resnet").model
    for epoch in (1.0, 2.0, 3.0):
        state = SimpleNamespace(epoch=epoch, global_step=int(epoch), log_history=[])
        callback.on_epoch_end(args, state, None, model=model)
        assert bool(state.log_history) == (epoch > 1), epoch
    assert any(key.startswith("variance/step of") for key in state.log_history[0])
    assert len(list((tmp_path / "measured").glob("network_*"))) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning has advice for so small a training
def test_lightning_calls_it_at_the_end_of_an_epoch(tmp_path: Path):
    lightning = pytest.importorskip("pytorch_lightning", reason="needs the optional package lightning")

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = an.load("test_resnet", num_classes=2, device="cpu").model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net(images)

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    images, targets = torch.rand(4, 3, 32, 32), torch.arange(4) % 2
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, targets), batch_size=2)
    watch = an.Measure([an.Variance()], an.batches((images, targets)), facts={"input_size": (3, 32, 32)})
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=2, default_root_dir=tmp_path, callbacks=[watch.lightning()], **options)
    trainer.fit(Lit(), loader)
    assert any(key.startswith("variance/") for key in trainer.logged_metrics)
    assert len(list((tmp_path / "measured").glob("network_*"))) == 2
