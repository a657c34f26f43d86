"""What torch functions do to a feature map: which only move values, which mix channels, which mix positions."""

ADDITIONS = frozenset({"add", "add_", "addcmul", "addcmul_"})
"""Functions whose result may be "skip + branch"."""

MOVES = frozenset(
    {"view", "reshape", "view_as", "reshape_as", "flatten", "unflatten", "ravel", "as_strided"}
    | {"squeeze", "unsqueeze", "squeeze_", "unsqueeze_"}
    | {"permute", "transpose", "transpose_", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT"}
    | {"__getitem__", "select", "narrow", "chunk", "split", "tensor_split", "unbind"}
    | {"index_select", "gather", "take_along_dim", "__setitem__", "masked_scatter", "copy_"}
    | {"cat", "concat", "concatenate", "stack"}
    | {"expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile"}
    | {"roll", "flip", "rot90", "pad", "unfold", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}
)
"""Functions that put values elsewhere without changing them. They are replayed to learn where every value lies."""

SAME = frozenset(
    {"dropout", "dropout_", "dropout2d", "feature_dropout", "feature_dropout_", "alpha_dropout"}
    | {"contiguous", "clone", "detach", "alias", "identity", "requires_grad_", "data", "shared_write"}
    | {"to", "type", "type_as", "float", "half", "bfloat16", "double", "cpu", "cuda"}
)
"""Functions that hand on the same values, in evaluation mode."""

ACTIVATIONS = frozenset(
    {"relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "elu", "elu_", "selu", "selu_", "celu", "celu_"}
    | {"gelu", "silu", "silu_", "mish", "mish_", "hardswish", "hardswish_", "softplus", "tanh", "tanh_"}
    | {"hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min"}
)

POOLS = frozenset(
    {"max_pool2d", "max_pool2d_with_indices", "avg_pool2d", "lp_pool2d"}
    | {"adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices"}
    | {"interpolate", "upsample", "grid_sample"}
)
"""Functions that give a map of other rows and columns, without weights."""

TO_A_SIZE = ("adaptive", "interpolate", "upsample")
"""How the names of those begin that are told how many rows and columns to give."""

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"})

REDUCTIONS = frozenset(
    {"mean", "sum", "nansum", "prod", "amax", "amin", "max", "min", "argmax", "logsumexp", "norm", "std", "var"}
)

SEQUENCES = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})

PRODUCTS = frozenset({"matmul", "bmm", "mm", "__matmul__", "__rmatmul__", "einsum", "baddbmm", "addmm", "tensordot"})
"""Products that contract an axis; of two maps they are attention, of a map and a weight they are linear layers."""

ATTENTION = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})

FOURIER = frozenset(
    {"fft_fft", "fft_fft2", "fft_fftn", "fft_rfft", "fft_rfft2", "fft_rfftn", "fft_ifft2", "fft_irfft2", "fft_irfftn"}
)
