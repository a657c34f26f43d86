"""Studies: several models, one question."""
