"""Several networks, one question: studies as data, their plan, where it runs, and what comes out."""

from alternet.studies.declaration import Arm, Measuring, Reading, Show, Study, Training

__all__ = ["Arm", "Measuring", "Reading", "Show", "Study", "Training"]
