"""Augmentation: scale-crop, flip and colour of a batch, as a pure function of images and drawn numbers.

The numbers come from counter-based streams, so that they can be drawn for a whole run and uploaded once;
nothing here draws, looks at a label to decide anything, synchronises with the host or has a shape that
depends on data. Every map is resampled once, from the original: crops of crops compose their coordinates
first. A crop and a flip act on rows and columns apart, so resampling is two selections of rows and two
gathers of columns, exact where the geometry is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmark import streams
from benchmark.errors import UserError
from datasets.tasks import Task

PARAMETERS = ("scale", "top", "left", "flip", "brightness", "contrast", "saturation")
CUTOUT = ("cutout_top", "cutout_left", "cutout_side")  # and these, where a square is erased
_SCALE, _TOP, _LEFT, _FLIP, _COLOUR = range(5)  # columns of a table of draws; the three colours come last
_SQUARE = len(PARAMETERS)  # or before the square
_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Augmentation:
    """Describe what is drawn for a view.

    scales: zoom factors of the crop, drawn with equal chance (MTPSL's 1, 1.2, 1.5); uniform: they are two
    bounds instead, between which any factor is as likely (DiffusionMTL's 0.5 to 2). Below 1 the image covers
    a part of the frame. flip: mirror half of the samples left to right. colour: largest relative change of
    brightness, contrast and saturation. cutout: side of one erased square, as a share of the image's shorter
    side. Raises `UserError` for values out of range.
    """

    scales: tuple[float, ...] = (1.0, 1.2, 1.5)
    flip: bool = True
    colour: float = 0.2
    uniform: bool = False
    cutout: float = 0.0

    def __post_init__(self) -> None:
        if not self.scales or not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            expected = "numbers above 0, such as [1.0, 1.2, 1.5]"
            raise UserError(f"augmentation scales must be {expected}; got {list(self.scales)}.")
        if self.uniform and (len(self.scales) != 2 or self.scales[0] > self.scales[1]):
            expected = "two bounds, such as [0.5, 2.0]"
            raise UserError(f"uniform augmentation scales must be {expected}; got {list(self.scales)}.")
        for name, value in (("colour", self.colour), ("cutout", self.cutout)):
            if not 0 <= value < 1:
                expected = "at least 0 and below 1, such as 0.2"
                raise UserError(f"augmentation {name} must be {expected}; got {value}.")

    @property
    def shrinks(self) -> bool:
        """Whether a view may leave a part of its frame empty."""
        return min(self.scales) < 1


class Crop(NamedTuple):
    """Hold one view of a batch.

    images: (B, 3, H, W) float32, normalised. targets: {task: (B, C, H, W)} as `widen` gives them. geometry:
    (B, 2, 3) float32 affine map from this view's normalised coordinates (x, y in [-1, 1], as
    `torch.nn.functional.affine_grid` has them with align_corners=False) to those of view 0. erased: (B, 1, H,
    W) bool, the pixels of the square that is erased: the encoder's mean colour, with their targets; None
    where none is.
    """

    images: Tensor
    targets: dict[str, Tensor]
    geometry: Tensor
    erased: Tensor | None


def draw(config: Augmentation, seed: int, epochs: Tensor, ids: Tensor, view: int) -> Tensor:
    """Draw the parameters of a view; (..., 7) float32, as `PARAMETERS`.

    With a `cutout` (..., 10), those of `CUTOUT` after them. epochs, ids: int64 tensors that broadcast. scale:
    a zoom factor, at least 1 after view 0; top, left: the crop's place as a share of the room it has; flip: 1
    or 0, only ever 1 in view 0, whose crop the others cut; brightness, contrast, saturation: factors around
    1; cutout_top, cutout_left: the square's place as a crop's; cutout_side: `cutout`. A row depends on (seed,
    epoch, id, view) alone.
    """
    parameters = torch.arange(_SQUARE + 2 * bool(config.cutout), device=ids.device)
    u = streams.uniform(seed, "augment", epochs[..., None], ids[..., None], view, parameters)
    allowed = [max(scale, 1.0) for scale in config.scales] if view else list(config.scales)
    scales = torch.tensor(allowed, dtype=torch.float64, device=u.device)
    share = u[..., :1]
    if config.uniform:
        scale = scales[0] + share * (scales[1] - scales[0])
    else:
        scale = scales[(share * len(scales)).long()]
    flip = (u[..., _FLIP, None] < 0.5).double() * (config.flip and view == 0)
    colour = 1 + config.colour * (2 * u[..., _COLOUR:_SQUARE] - 1)
    square = [u[..., _SQUARE:], torch.full_like(share, config.cutout)] if config.cutout else []
    return torch.cat([scale, u[..., _TOP:_FLIP], flip, colour, *square], -1).float()


def apply(
    images: Tensor,
    targets: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    draws: Sequence[Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    extents: Tensor | None = None,
    padded: bool = False,
) -> list[Crop]:
    """Cut view 0 out of images, and every further view out of view 0.

    images: (B, 3, H, W) uint8, resampled bilinearly with the border repeated. targets: {task: (B, C, H, W)}
    of some of the tasks, compact or widened, hidden labels already replaced; resampled by nearest neighbour.
    Depth is divided by the total zoom, as what is nearer looks larger (NYUv2 recipe of MTAN and MTPSL);
    inverse depth is multiplied by it, where the code of MTPSL and of JTR divides for Cityscapes too. A
    mirrored normal changes the sign of x. draws: (B, 7 or 10) tables of `draw` for views 0, 1, ...; mean,
    std: of the encoder, for images in [0, 1]. extents: (B, 2) int64 (h, w) of the content in padded frames.
    padded: whether a view may show what lies outside the content (padded frames, or scales below 1): it is
    the encoder's mean colour there, and without labels.
    """
    first = draws[0].double()
    sign = 1 - 2 * first[:, _FLIP].view(-1, 1, 1, 1)
    crops = []
    for view, table in enumerate(draws):
        own = table.double()
        y, x = _sources(first, own if view else None, images.shape[2], images.shape[3], extents)
        last: tuple[int | Tensor, ...] = (images.shape[2] - 1, images.shape[3] - 1)
        if extents is not None:
            last = (extents - 1)[:, :, None].unbind(1)
        rows, columns = (p.long().clamp_min(0).clamp(max=end) for p, end in zip((y, x), last, strict=True))
        zoom = first[:, _SCALE] * (own[:, _SCALE] if view else 1)
        resampled = {name: _columns(_rows(target, rows), columns) for name, target in targets.items()}
        shown = _normalise(_recolour(_bilinear(images, y, x, last), table), mean, std)
        if padded:
            inside = _inside(y, last[0])[:, None, :, None] & _inside(x, last[1])[:, None, None, :]
            shown = torch.where(inside, shown, 0)
            resampled = {
                n: torch.where(inside, t, torch.full_like(t, tasks[n].ignore)) for n, t in resampled.items()
            }
        erased = _square(own[:, _SQUARE:], *images.shape[2:]) if own.shape[1] > _SQUARE else None
        if erased is not None:
            shown = shown.masked_fill_(erased, 0)
        zoom = zoom.view(-1, 1, 1, 1)
        labels = {n: tasks[n].maps.moved(t, zoom, sign, tasks[n].inverse) for n, t in resampled.items()}
        # Of scale 1: view 0 is its own frame.
        crops.append(Crop(shown, labels, _geometry(own if view else torch.ones_like(own)), erased))
    return crops


def identity(
    images: Tensor,
    targets: Mapping[str, Tensor],
    tasks: Mapping[str, Task],
    mean: Sequence[float],
    std: Sequence[float],
    extents: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalise images (B, 3, H, W) and widen targets, as evaluation does; arguments as for `apply`."""
    shown = _normalise(images.float() / 255, mean, std)
    if extents is not None:
        y, x = (torch.arange(size, device=images.device) for size in images.shape[2:])
        inside = (y[:, None] < extents[:, 0, None, None, None]) & (x < extents[:, 1, None, None, None])
        shown = torch.where(inside, shown, 0)
    return shown, {name: tasks[name].maps.widen(target) for name, target in targets.items()}


def _sources(
    first: Tensor, own: Tensor | None, height: int, width: int, extents: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rows (B, H) and columns (B, W) of the original that a view's pixel centres lie in; pixel i covers [i, i
    + 1).

    float64, for float32 would move a pixel's nearest neighbour at an exact scale.
    """
    content: tuple[int, int] | tuple[Tensor, ...] = (height, width)
    if extents is not None:
        content = extents.double()[:, :, None].unbind(1)
    y, x = (torch.arange(size, dtype=torch.float64, device=first.device) + 0.5 for size in (height, width))
    y, x = y.expand(len(first), height), x.expand(len(first), width)
    if own is not None:
        y, x = _uncrop(y, own, _TOP, height), _uncrop(x, own, _LEFT, width)
    x = torch.where(first[:, _FLIP, None] > 0, width - x, x)
    return _uncrop(y, first, _TOP, content[0]), _uncrop(x, first, _LEFT, content[1])


def _uncrop(position: Tensor, crop: Tensor, place: int, content: int | Tensor) -> Tensor:
    """Positions (B, L) in a crop, as positions in what it was cut from, of which `content` pixels are
    there.

    Where the crop is larger than the content, the room is negative and its share puts the content somewhere
    in the crop.
    """
    size, scale = position.shape[1], crop[:, _SCALE, None]
    return position / scale + crop[:, place, None] * (content - size / scale)


def _inside(position: Tensor, last: int | Tensor) -> Tensor:
    """(B, L) bool: whether positions lie in the pixels 0 ... last."""
    return (position >= 0) & (position < last + 1)


def _square(cutout: Tensor, height: int, width: int) -> Tensor:
    """(B, 1, H, W) bool: the pixels of the square that `CUTOUT` (B, 3) describes, within the image."""
    side = (cutout[:, 2:] * min(height, width)).round().clamp_min(1)
    within = []
    for place, size in ((cutout[:, :1], height), (cutout[:, 1:2], width)):
        # A share just below 1 is 1 in float32.
        start = (place * (size - side + 1)).floor().clamp(max=size - side)
        position = torch.arange(size, device=cutout.device)
        within.append((position >= start) & (position < start + side))
    return (within[0][:, :, None] & within[1][:, None])[:, None]


def _geometry(crop: Tensor) -> Tensor:
    """(B, 2, 3) float32: `_uncrop` in the coordinates of `affine_grid`; scale 1 is the identity."""
    inverse = 1 / crop[:, _SCALE]
    zero = torch.zeros_like(inverse)
    shift_y, shift_x = ((1 - inverse) * (2 * crop[:, place] - 1) for place in (_TOP, _LEFT))
    return torch.stack([inverse, zero, shift_x, zero, inverse, shift_y], 1).view(-1, 2, 3).float()


def _rows(maps: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, H') of maps (B, C, H, W); several times faster than `gather`."""
    batch, channels, height, width = maps.shape
    start = torch.arange(batch * channels, device=maps.device).view(batch, channels, 1) * height
    chosen = maps.reshape(-1, width).index_select(0, (start + rows[:, None]).flatten())
    return chosen.view(batch, channels, -1, width)


def _columns(maps: Tensor, columns: Tensor) -> Tensor:
    """Columns (B, W') of maps (B, C, H, W)."""
    return maps.gather(3, columns[:, None, None].expand(*maps.shape[:3], -1))


def _bilinear(images: Tensor, y: Tensor, x: Tensor, last: tuple[int | Tensor, ...]) -> Tensor:
    """Images (B, 3, H, W) uint8 at rows y and columns x, in [0, 1]; last: the content's last ones."""
    y0, y1, y_weight = _neighbours(y, last[0])
    x0, x1, x_weight = _neighbours(x, last[1])
    lines = _rows(images, y0).float().lerp_(_rows(images, y1).float(), y_weight[:, None, :, None])
    return _columns(lines, x0).lerp_(_columns(lines, x1), x_weight[:, None, None]).div_(255)


def _neighbours(position: Tensor, last: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels of 0 ... last around each position (B, L), and the second's float32 weight."""
    centre = (position - 0.5).clamp_min(0).clamp(max=last)
    low = centre.long()
    return low, (low + 1).clamp(max=last), (centre - low).float()


def _recolour(images: Tensor, table: Tensor) -> Tensor:
    """In place: saturation, contrast about the mean grey, brightness, as one affine map; clamped."""
    brightness, contrast, saturation = table[:, _COLOUR:_SQUARE].float().view(-1, 3, 1, 1, 1).unbind(1)
    red, green, blue = (images[:, channel, None] for channel in range(3))
    grey = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
    rest = grey * (brightness * contrast * (1 - saturation)) + grey.mean((2, 3), keepdim=True) * (
        brightness * (1 - contrast)
    )
    return images.mul_(brightness * contrast * saturation).add_(rest).clamp_(0, 1)


def _normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """In place. By numbers: to upload tensors would synchronise with the host in every step."""
    for channel in range(3):
        images[:, channel].sub_(mean[channel]).div_(std[channel])
    return images
