"""Bad input gives one clear line and the right exit code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alternet.cli import run
from alternet.measurement import find_measurements

pytestmark = pytest.mark.slow

MEASURE = ["measure", "variance", "-m", "test_resnet", "--data", "digits", "--limit", "4", "--img-size", "32"]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    err = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in err if line.startswith("alternet: ")]
    assert len(lines) == 1 and lines[0] == err[-1], err
    assert "Traceback" not in "".join(err)
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mesure"], "No such command 'mesure'"),
        (["measure", "variance"], "Missing option"),
        (["measure", "fuorier", *MEASURE[2:], "--out", "o"], "Did you mean fourier"),
        (["measure", "variance", "-m", "resnet5O", "--data", "digits", "--out", "o"], "Did you mean .*resnet50"),
        (["measure", "variance", "-m", "test_vit", "--data", "photso", "--out", "o"], "photos"),
        ([*MEASURE, "--out", "o", "--set", "bins"], "--set takes KEY=VALUE"),
        ([*MEASURE, "--out", "o", "--set", "bims=3"], "no setting 'bims'"),
        (["measure", "similarity", *MEASURE[2:], "--out", "o", "--set", "other=resnet5O"], "Did you mean .*resnet50"),
        ([*MEASURE, "--out", "o", "--device", "gpu"], "Device 'gpu' cannot be used"),
        ([*MEASURE, "--out", "o", "--device", "meta"], "Device 'meta' cannot be used"),
        ([*MEASURE, "--out", "o", "--seed", f"{2**70}"], "--seed"),
        ([*MEASURE, "--out", "o", "--limit", "0"], r"--limit.*\. See: alternet measure --help"),
        ([*MEASURE, "--out", "o", "--workers", "many"], "--workers got 'many', expected auto or a number"),
        ([*MEASURE, "--out", "o", "--cache", "much"], "--cache got 'much', expected a size such as"),
        ([*MEASURE, "--out", "o", "--precision", "half"], "precision got 'half', expected float32, tf32, bfloat16"),
        (["taps", "-m", "tv:resnet5O"], "Did you mean .*resnet50"),
        (["report", "nowhere", "--out", "r.html"], "no folder nowhere"),
        (["report", ".", "--out", "r.pdf"], "HTML file"),
        (["report", ".", "--out", "r.html"], "Nothing to report"),
        (["train", "-m", "test_vit", "--data", "digits", "--recipe", "papr", "--out", "o"], "paper"),
        (["list", "modles"], "modles"),
    ],
)
def test_a_wrong_call_ends_with_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    line = one_line(capsys)
    assert re.search(says, line), line


def test_an_empty_folder(tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = [
        "measure",
        "variance",
        "-m",
        "test_resnet",
        "--data",
        f"{tmp_path / 'empty'}",
        "--out",
        f"{tmp_path}/o",
    ]
    assert run(arguments) == 2
    assert "image" in one_line(capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path, capsys):
    tmp_path.chmod(0o500)
    assert run([*MEASURE, "--out", f"{tmp_path}/o"]) == 2
    assert "cannot be written" in one_line(capsys)


def test_an_output_folder_that_is_a_file(tmp_path: Path, capsys):
    (tmp_path / "o").touch()
    assert run([*MEASURE, "--out", f"{tmp_path}/o"]) == 2
    assert "cannot be written" in one_line(capsys)


def test_labels_are_asked_for(tmp_path: Path, capsys):
    for i in range(3):
        Image.fromarray(np.full((40, 40, 3), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    arguments = ["measure", "calibration", "-m", "test_resnet", "--data", f"{tmp_path}", "--out", f"{tmp_path}/o"]
    assert run(arguments) == 2
    assert "labels are needed" in one_line(capsys)


def test_a_truncated_jpeg_is_skipped_and_named(tmp_path: Path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(images / f"{i}.jpg")
    whole = (images / "1.jpg").read_bytes()
    (images / "1.jpg").write_bytes(whole[: len(whole) // 2])
    arguments = ["measure", "variance", "-m", "test_resnet", "--data", f"{images}", "--img-size", "64"]
    assert run([*arguments, "--out", f"{tmp_path}/o"]) == 0
    assert "1.jpg" in capsys.readouterr().err


def test_a_picture_beyond_a_bound_is_skipped_and_the_bound_named(tmp_path: Path, capsys, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    for i, side in enumerate((32, 32, 64)):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (side, side, 3), np.uint8)).save(images / f"{i}.png")
    monkeypatch.setenv("ALTERNET_MAX_PIXELS", "2000")
    arguments = ["measure", "variance", "-m", "test_resnet", "--data", f"{images}", "--img-size", "32"]
    assert run([*arguments, "--out", f"{tmp_path}/o"]) == 0
    said = (
        "1 file could not be read: 2.png (it has 64 x 64 = 4096 pixels, more than 2000; ALTERNET_MAX_PIXELS sets that)"
    )
    assert said in capsys.readouterr().err
    (stored,) = find_measurements(tmp_path / "o")
    assert stored.provenance["skipped"] == ["2.png"] and stored.provenance["images"] == 2


class Code:
    def __reduce__(self):
        return (os.system, ("echo this must never run",))


@pytest.mark.parametrize("kind", ["pickle", "corrupt", "other"])
def test_bad_weights(kind: str, tmp_path: Path, capfd):
    path = tmp_path / "w.pth"
    if kind == "pickle":
        torch.save({"model": Code()}, path)
    elif kind == "corrupt":
        path.write_bytes(b"PK\x03\x04")
    else:
        torch.save({"fc.weight": torch.zeros(3, 4)}, path)
    arguments = ["measure", "variance", "-m", f"test_resnet@{path}", "--data", "digits", "--out", f"{tmp_path}/o"]
    assert run(arguments) == 2
    out, err = capfd.readouterr()
    assert "never run" not in out
    assert str(path) in err or "do not fit" in err


def test_debug_shows_the_traceback(tmp_path: Path):
    words = [sys.executable, "-m", "alternet.cli", "taps", "-m", "nowhere", "--debug"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" in done.stderr and done.stderr.strip().splitlines()[-1].startswith("alternet: ")


def test_debug_shows_the_traceback_of_a_measurement_that_failed(tmp_path: Path, capsys):
    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "w.pth")
    words = ["measure", "variance", "-m", f"test_resnet@{tmp_path / 'w.pth'}", "--data", "digits"]
    words += ["--out", f"{tmp_path / 'o'}"]
    assert run(words) == 2
    one_line(capsys)
    debug = subprocess.run([sys.executable, "-m", "alternet.cli", *words, "--debug"], capture_output=True, text=True)
    assert debug.returncode == 2 and "Traceback" in debug.stderr


def test_an_error_without_words_is_told_by_its_kind(tmp_path: Path, monkeypatch, capsys):
    def broken(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("alternet.instruments.variance.measure.VarianceWork.tables", broken)
    assert run([*MEASURE, "--out", f"{tmp_path}"]) == 1
    assert one_line(capsys) == "alternet: variance of test_resnet failed: AssertionError"


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alternet.subject.loading.load", interrupted)
    assert run(["taps", "-m", "test_vit"]) == 130
    assert "start the same command again" in one_line(capsys)


def test_an_exit_that_is_not_ours_is_no_success(tmp_path: Path, monkeypatch):
    def ended(*_: object, **__: object) -> None:
        sys.exit(3)

    monkeypatch.setattr("alternet.subject.loading.load", ended)
    with pytest.raises(SystemExit) as error:
        run([*MEASURE, "--out", f"{tmp_path}"])
    assert error.value.code == 3
