"""Files from outside are opened only if they are files; an interrupt meanwhile stays one."""

import os
import random
import resource
import signal
from pathlib import Path

import pytest

from alternet.files import NoFileError, open_file


@pytest.mark.parametrize(("make", "what"), [(os.mkdir, "a folder"), (os.mkfifo, "a pipe")])
def test_what_is_no_file_is_told_at_once_and_left_closed(make, what: str, tmp_path: Path) -> None:
    make(tmp_path / "there")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(NoFileError, match=f"it is {what}, expected a file"):
            open_file(tmp_path / "there")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # one that nobody has got yet
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_a_file_is_opened_is_no_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    usual, draws, met = signal.signal(signal.SIGALRM, signal.default_int_handler), random.Random(0), 0
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        while met < min(500, most // 4):
            try:
                signal.setitimer(signal.ITIMER_REAL, draws.uniform(1e-6, 6e-5))
                for _ in range(100):
                    open_file(tmp_path / "file").close()
            except KeyboardInterrupt:
                met += 1
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
