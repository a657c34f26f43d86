"""The few families whose kind cannot be observed, by the class that computes the branch."""

ATTENTION_CLASSES = frozenset({"EfficientAdditiveAttention"})
"""SwiftFormer sums tokens under learned weights and multiplies by the sum: attention by name, a gate to an observer."""

MIXER_CLASSES = frozenset({"HSMSSD"})
"""EfficientViM's state-space layer multiplies two maps, as attention does, but mixes tokens through hidden states."""
