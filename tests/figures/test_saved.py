"""A figure is written whole or not at all, beside what lies in its place, the same bytes as ever."""

import errno
import io
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from alternet.plotting import style


def drawn() -> Figure:
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    return figure


@pytest.mark.parametrize("ending", style.ENDINGS)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("precious")], ids=["a pipe", "a link"])
def test_a_figure_takes_the_place_of_what_lies_there(make, ending: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    make(tmp_path / f"a{ending}")
    assert style.save(drawn(), tmp_path / f"a{ending}").is_file()
    assert (tmp_path / "precious").read_text() == "kept" and not (tmp_path / f"a{ending}").is_symlink()


@pytest.mark.parametrize("ending", style.ENDINGS)
def test_a_figure_that_finds_no_room_leaves_the_older_one(ending: str, tmp_path: Path, monkeypatch) -> None:
    file = style.save(drawn(), tmp_path / f"a{ending}")
    before = file.read_bytes()
    figure, plain = drawn(), io.BytesIO()
    with style.context():
        figure.savefig(plain, format=ending[1:], metadata=style.ENDINGS[ending])
    assert before == plain.getvalue()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{file}'"):
        style.save(drawn(), file)
    assert list(tmp_path.iterdir()) == [file] and file.read_bytes() == before
