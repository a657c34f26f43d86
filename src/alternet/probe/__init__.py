"""Probe: the feature maps of a model while it runs, and what becomes of it when a branch is changed."""
