"""Layout: how a tensor of some model lies as [n, c, h, w], whatever order, tokens or windows the model uses."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from alternet.shapes import FeatureMap
from alternet.taps.pixels import NCHW, PADDING, TOKENS, PixelMap, distinct, one_entry, placed, varies


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where samples, channels and positions are in a tensor.

    Attributes:
        batch_axis: The axis of the samples.
        parts: How many entries of that axis belong to one sample (windows or patches folded into the batch).
        channel_axis: The axis of the channels.
        grid: Height and width of the map.
        prefix: Entries before the grid: class, distillation and register tokens.
        suffix: Entries behind the grid, likewise.
        order: Where each position, row by row, lies among the entries after the prefix; None if in that order.

    Example:
        >>> layout = Layout(batch_axis=0, channel_axis=2, grid=(2, 3), prefix=1)
        >>> layout.lay(torch.zeros(5, 7, 4)).shape
        torch.Size([5, 4, 2, 3])
    """

    batch_axis: int
    channel_axis: int
    grid: tuple[int, int]
    parts: int = 1
    prefix: int = 0
    suffix: int = 0
    order: tuple[int, ...] | None = field(default=None, repr=False)

    def lay(self, feature: Float[Tensor, "..."]) -> FeatureMap:
        """Look at a feature as [n, c, h, w]; a view of it wherever one is possible.

        Raises:
            ValueError: The feature has another number of positions than the layout.
        """
        plain = (self.batch_axis, self.channel_axis, self.parts, self.prefix, self.order) == (0, 1, 1, 0, None)
        if plain and feature.shape[-2:] == self.grid:
            return feature
        entries = feature.movedim((self.batch_axis, self.channel_axis), (0, -1))
        entries = entries.reshape(feature.shape[self.batch_axis] // self.parts, -1, entries.shape[-1])
        h, w = self.grid
        if entries.shape[1] != self.prefix + h * w + self.suffix:
            raise ValueError(
                f"A feature of shape {tuple(feature.shape)} has {entries.shape[1]} positions, expected "
                f"{self.prefix + self.suffix} prefix tokens and a {h}x{w} grid. Give images of the size that the model "
                "was traced with."
            )
        if self.order is None:
            entries = entries[:, self.prefix : self.prefix + h * w]
        else:
            entries = entries[:, torch.tensor(self.order, device=feature.device) + self.prefix]
        return entries.transpose(1, 2).unflatten(2, self.grid)


def layout_of(pixels: PixelMap, index: int) -> Layout | None:
    """The layout of a traced value; None if it is not one map of the whole image."""
    if index not in pixels.layouts:
        where = pixels.of(index)
        pixels.layouts[index] = None if where is None else _layout(pixels, where)
    return pixels.layouts[index]


def leaves_out(pixels: PixelMap, index: int) -> bool:
    """Whether a value has no layout although it is a map, since some of its elements stand for nothing in the image."""
    where = pixels.of(index)
    if where is None or where.ndim not in (TOKENS, NCHW) or layout_of(pixels, index) is not None:
        return False
    # Among heads and windows tokens may stand anywhere, padding may not.
    return placed(where) and bool((distinct(where) <= (0 if where.ndim == TOKENS else PADDING)).any())


def unreadable(pixels: PixelMap, index: int, path: str) -> ValueError:
    """The error of a unit in the module of this path whose feature map has no layout."""
    unit = f"the feature map of the unit in {path!r}, of shape {tuple(pixels.trace.values[index].shape)},"
    if leaves_out(pixels, index):
        return ValueError(
            f"Some elements of {unit} are padding, which stands for nothing in the image; expected a map of the whole "
            f"image and, at most, tokens ahead of it or behind it. Give images of a size that needs no padding; "
            f"here it was {pixels.size[1]}x{pixels.size[2]}."
        )
    return ValueError(
        f"How {unit} lies in the image cannot be told from the pass: a function that cannot be followed made it. "
        "Expected tokens [n, prefix + h * w, c] with a declared grid; state it, as in Subject(model, name=..., "
        "prefix_tokens=1, grid=(14, 14))."
    )


def _layout(pixels: PixelMap, where: Tensor) -> Layout | None:
    """The layout of a tensor, from the pixel that each element stands for."""
    if where.ndim not in (TOKENS, NCHW) or not placed(where):
        return None
    sample, _, _ = pixels.decode(distinct(where))
    # Samples lie along the axis at each place of which there is one sample alone.
    batch = []
    for axis in range(where.ndim):
        others = [a for a in range(where.ndim) if a != axis]
        lowest = sample.masked_fill(sample < 0, sample.max() + 1).amin(others)
        if torch.equal(sample.amax(others), lowest):
            batch.append(axis)
    # Channels are where the pixel stays the same.
    channels = [axis for axis in range(where.ndim) if not varies(where, axis)]
    if not channels and where.ndim == NCHW:
        channels = [1]  # groups of channels that are shifted in different ways were joined, as in ShiftViT
    else:  # of axes with a single entry it is the one where channels usually are
        wide = [axis for axis in channels if where.shape[axis] > 1]
        channels = wide or [axis for axis in channels if axis in (1, where.ndim - 1)][:1]
    if len(channels) != 1 or len(batch) != 1:
        return None
    entry = one_entry(distinct(where), channels[0])
    if (entry == PADDING).any():
        return None
    places = [t.movedim((batch[0], channels[0]), (0, -1))[..., 0] for t in pixels.decode(entry)]
    return _on_grid(places, batch[0], channels[0], pixels.size[0])


def _on_grid(places: list[Tensor], batch: int, channel: int, n: int) -> Layout | None:
    """The layout whose entries [samples, positions ...] are of these samples, rows and columns.

    None unless every sample has every crossing of its rows and columns exactly once, at the same place in all samples.
    """
    sample, row, column = places
    if sample.shape[0] % n:
        return None
    parts, positions = sample.shape[0] // n, sample.ndim - 1
    sample, row, column = (t.reshape(n, -1) for t in (sample, row, column))
    real = row[0] >= 0
    if not real.any():
        return None
    entries = real.nonzero()[:, 0]
    prefix, end = int(entries.min()), int(entries.max()) + 1
    # Only a sequence of tokens has room for some without a place, ahead of the grid or behind it.
    if (positions > 1 and not real.all()) or len(entries) != end - prefix:
        return None
    alike = all(torch.equal(t[0], t[i]) for t in (row, column) for i in range(n))
    if not alike or not all((sample[i, real] == i).all() for i in range(n)):
        return None
    rows, ys = row[0, real].unique(return_inverse=True)
    columns, xs = column[0, real].unique(return_inverse=True)
    h, w = len(rows), len(columns)
    place = ys * w + xs
    if len(place) != h * w or len(place.unique()) != h * w:
        return None
    order = torch.empty(h * w, dtype=torch.long)
    order[place] = entries - prefix
    steps = None if torch.equal(order, torch.arange(h * w)) else tuple(order.tolist())
    ends = {"prefix": prefix, "suffix": len(real) - end}
    return Layout(batch_axis=batch, channel_axis=channel, grid=(h, w), parts=parts, order=steps, **ends)
