"""Views: how instruments look at a model, and the facts that belong to it."""
