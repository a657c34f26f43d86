"""Sharing: a model as a folder that the Hugging Face Hub and timm understand, with what was measured of it."""
