"""The paper's convention sets at once what its code does otherwise; each of these can still be set alone."""

import json

import pytest

from alternet.instruments.base import TwoConventions
from alternet.instruments.catalogue import instruments
from alternet.instruments.landscape import Landscape

DEPARTING = {name: kind for name, kind in instruments().items() if issubclass(kind, TwoConventions)}


@pytest.mark.parametrize("name", DEPARTING)
def test_the_papers_convention_sets_them_all_and_is_no_setting_itself(name):
    kind = DEPARTING[name]
    paper = kind(convention="paper")
    assert paper == kind(**kind.as_paper) != kind()
    assert paper.settings == kind().settings | kind.as_paper
    assert kind.with_settings(json.loads(json.dumps(paper.settings))) == paper
    with pytest.raises(ValueError, match=f"{name} got convention='book', expected one of 'textbook', 'paper'"):
        kind(convention="book")


def test_one_of_them_can_still_be_set_alone():
    mixed = Landscape(convention="paper", redraw="frozen")
    assert (mixed.l2, mixed.normalisation, mixed.redraw) == ("paper", "paper", "frozen")
    assert Landscape(convention="textbook") == Landscape()
