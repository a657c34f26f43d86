"""Report: everything that was measured, as one HTML file that opens anywhere, also without a network."""

from alternet.report.render import render

__all__ = ["render"]
