"""Subject: a model with the facts that belong to it, and from a name to a Subject."""
