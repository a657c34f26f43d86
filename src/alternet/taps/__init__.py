"""Taps: where a feature map can be read or a residual branch silenced, found by watching one forward pass."""
