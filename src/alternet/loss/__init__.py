"""Loss: NLL + L2 at any weights, its derivatives, and the ways through the space of weights."""
