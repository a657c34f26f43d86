"""Plotting: axes, styles and texts that the figures of instruments share; matplotlib alone, no torch."""
