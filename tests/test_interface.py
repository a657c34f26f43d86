"""What version 1.0 offered is still there."""

from pathlib import Path

from tests.fixtures.interface import interface

PROMISED = Path(__file__).parent / "fixtures" / "1.0.0" / "interface.txt"


def test_nothing_that_was_promised_is_gone():
    promised = PROMISED.read_text(encoding="utf-8").splitlines()
    assert len(promised) > 500
    offered = {*interface()}
    assert [line for line in promised if line not in offered] == []
