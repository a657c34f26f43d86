"""Frequency noise: settings and columns, what is measured, and its figure."""
