"""The mapper of cross-task consistency (MTPSL, CVPR 2022): maps into spaces of task pairs.

The published code runs it sample by sample, pair by pair. BatchNorm over a batch of one is normalisation over
the sample's own positions, so many samples and pairs go through in one call here with the same result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import Task

NORM_EPS = 1e-5  # BatchNorm's
# A stage, as in the SegNet encoder that the published mapper is; one x2 pooling after each.
CONVS = (2, 2, 3, 3, 3)


def pairs(tasks: int) -> list[tuple[int, int]]:
    """List the ordered pairs (s, t), s != t."""
    return list(itertools.permutations(range(tasks), 2))


def most_pairs(tasks: int, complete: bool) -> int:
    """Count the most pairs that one sample can have.

    All T (T - 1) of complete labels; else those of an unlabelled s and a labelled t, k (T - k) at k = T / 2,
    a third of all for T = 3.
    """
    return tasks * (tasks - 1) if complete else (tasks // 2) * ((tasks + 1) // 2)


def active_pairs(ordered: Tensor, labelled: Tensor, visible: Tensor, complete: bool) -> tuple[Tensor, Tensor]:
    """Find each sample's pairs, in S = `most_pairs` places.

    t visible and s not labelled, or any s of complete labels. ordered: (T (T - 1), 2), the pairs; labelled:
    (B, T) bool; visible: (B, T) bool, a subset of it. Returns (B, S) indices into `ordered` and (B, S) bool,
    which of the places are taken. The shapes depend on T and `complete` alone.
    """
    source, target = ordered.unbind(1)
    active = visible[:, target] if complete else ~labelled[:, source] & visible[:, target]
    places = active.to(torch.int8).argsort(dim=1, descending=True, stable=True)[
        :, : most_pairs(labelled.shape[1], complete)
    ]
    return places, active.gather(1, places)


def prediction_input(task: Task, prediction: Tensor) -> Tensor:
    """Turn a prediction (B, C, H, W) into the mapper's input.

    In float32 or better, on the scales of `label_input`. Class logits: a hard Gumbel-softmax sample
    (temperature 1, straight-through). One logit (edge, saliency): its analogue, a hard sample of the
    two-class distribution, of which the one channel is kept. Depth over its maximum in the sample. Normals of
    unit length, (n + 1) / 2.
    """
    prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    if task.kind == "classes":
        return gumbel_sample(prediction)
    if task.kind in ("edge", "saliency"):
        return gumbel_sample(torch.cat([torch.zeros_like(prediction), prediction], 1))[:, 1:]
    if task.kind == "depth":
        return _over_maximum(prediction)
    # Not F.normalize, whose norm over a strided axis takes 30 times as long on a CPU.
    return (prediction * prediction.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt() + 1) / 2


def label_input(task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a label (B, C', H, W) into the mapper's input.

    One-hot classes, 0/1 maps, depth over its maximum, (n + 1) / 2. Pixels without a label are 0 everywhere,
    except that a normal of (0, 0, 0) becomes 1/2, as published.
    """
    if task.kind == "classes":
        return (target == torch.arange(task.channels, device=target.device).view(1, -1, 1, 1)).to(dtype)
    if task.kind in ("edge", "saliency"):
        return (target == 1).to(dtype)
    known = torch.where(task.valid(target), target, 0).to(dtype)
    return _over_maximum(known) if task.kind == "depth" else (known + 1) / 2


def gumbel_sample(logits: Tensor) -> Tensor:
    """Sample one-hot over channels (B, C, H, W), with the soft gradient.

    Noise from the global generator.
    """
    uniform = torch.rand_like(logits).clamp_min(torch.finfo(logits.dtype).tiny)
    soft = (logits - (-uniform.log()).log()).softmax(1)
    hard = torch.zeros_like(soft).scatter_(1, soft.max(1, keepdim=True).indices, 1.0)
    return hard - soft.detach() + soft


def _over_maximum(depth: Tensor) -> Tensor:
    # The magnitude, as an untrained prediction may be negative everywhere.
    return depth / depth.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-6)


class XavierConv(nn.Conv2d):
    """Convolve, starting as the published mapper: Xavier's normal, no bias.

    torch's own start is about .6 of that. Normalisation hides it forward; of smaller weights, Adam's steps
    are the larger part.
    """

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def normed_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise x (N, C, h, w) over each sample's positions, scale, ReLU.

    weight, bias: (N, C). The channels of all samples are normalised as the channels of one sample: a single
    pass over the data, where this would be most of the mapper's time. With channels last they do not lie like
    that, and a CPU, whose convolutions are faster so, takes one sample after the other. ReLU comes before the
    view: in place on a view, autograd would copy all of it three times.
    """
    if x.device.type == "cpu" and not x.is_contiguous():
        one = zip(x.split(1), weight.split(1), bias.split(1), strict=True)
        return torch.cat([_normed_relu(*parts) for parts in one])
    return _normed_relu(x.reshape(1, -1, *x.shape[2:]), weight, bias).view_as(x)


def _normed_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    normed = F.batch_norm(x, None, None, weight.flatten(), bias.flatten(), training=True, eps=NORM_EPS)
    return F.relu(normed, inplace=True)


class SampleNormReLU(nn.InstanceNorm2d):
    """Normalise over each sample's positions, its affine map, then ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        return normed_relu(x, self.weight.expand(len(x), -1), self.bias.expand(len(x), -1))


class PairNorm(nn.Module):
    """Normalise, with the gamma and beta (FiLM) of each sample's pair; ReLU.

    Over each sample's positions, after its own affine map. The two affine maps are one.
    """

    def __init__(self, channels: int, pairs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.gamma = nn.Parameter(torch.empty(pairs, channels))
        self.beta = nn.Parameter(torch.empty(pairs, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every scale to 1 and every shift to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x: (N, C, h, w), h w more than 1; weight, bias: (N, C) of `affine_maps`."""
        return normed_relu(x, weight, bias)


def affine_maps(norms: Iterable[nn.Module], pair: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each norm's weight and bias, (N, C) of each sample's pair (N,).

    Of all `PairNorm`s at once, as a norm's own would be six small kernels forward and ten backward.
    """
    found = [norm for norm in norms if isinstance(norm, PairNorm)]
    weight, bias, gamma, beta = (
        torch.cat([getattr(norm, name) for norm in found], -1) for name in ("weight", "bias", "gamma", "beta")
    )
    widths, gamma = [len(norm.weight) for norm in found], gamma[pair]
    scales, shifts = weight * gamma, torch.addcmul(beta[pair], bias, gamma)
    return zip(scales.split(widths, 1), shifts.split(widths, 1), strict=True)


class PairMapper(nn.Module):
    """Compute m_st: a first layer a task, then a trunk for all pairs, with the pair's FiLM throughout.

    widths: of the first layers, then of each 3x3 convolution of the trunk. ends: the numbers of the
    convolutions, from 1, that a x2 pooling follows.
    """

    pairs: Tensor

    def __init__(self, tasks: dict[str, Task], widths: Sequence[int], ends: Collection[int]) -> None:
        super().__init__()
        ordered = pairs(len(tasks))
        self.register_buffer("pairs", torch.tensor(ordered), persistent=False)
        self.first = nn.ModuleDict(
            {name: first_layer(task.channels, widths[0], XavierConv) for name, task in tasks.items()}
        )
        self.convs = nn.ModuleList(XavierConv(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(PairNorm(w, len(ordered)) for w in widths[1:])
        self.ends = ends

    def film(self) -> list[nn.Parameter]:
        """List gamma and beta of all pairs."""
        return [p for norm in self.norms if isinstance(norm, PairNorm) for p in (norm.gamma, norm.beta)]

    def enter(self, inputs: dict[str, Tensor]) -> Tensor:
        """Compute what does not depend on the pair, once a task and sample.

        A task's first layer and the trunk's first convolution: {task: (M, C, H, W)} to (T M, w, H, W), task
        after task, with channels last, for which a CPU's convolutions and poolings are 1.4 times as fast.
        """
        first = [
            self.first[name](x.contiguous(memory_format=torch.channels_last)) for name, x in inputs.items()
        ]
        entered: Tensor = self.convs[0](torch.cat(first))
        return entered

    def forward(self, entered: Tensor, rows: Tensor, pair: Tensor) -> Tensor:
        """Map `rows` (N,) of `enter`, each of pair (N,), to (N, channels, h, w)."""
        affine = affine_maps(self.norms, pair)
        # Rows of channels last, as those of the tensor itself are put together in the other layout.
        x = entered.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
        x = self.norms[0](x, *next(affine))
        for number, (conv, norm) in enumerate(zip([*self.convs][1:], [*self.norms][1:], strict=True), 2):
            x = norm(conv(x), *next(affine))
            if number in self.ends:
                x = F.max_pool2d(x, 2, ceil_mode=True)
        return x


class Mapper(PairMapper):
    """Map to stride 32 of the image: w - 2w - 4w - 8w - channels.

    width: w, 64 as published. channels: of the encoder's deepest stage at stride 32, which the output is
    compared with. stride: of the inputs, a power of two up to 16; at 2 the first pooling is left out, at 4
    the first two, and so on.
    """

    def __init__(self, tasks: dict[str, Task], width: int, channels: int, stride: int) -> None:
        widths = [min(2**stage, 8) * width for stage, convs in enumerate(CONVS) for _ in range(convs)]
        ends = list(itertools.accumulate(CONVS))[int(math.log2(stride)) :]
        super().__init__(tasks, [width, *widths[:-1], channels], ends)


def first_layer(channels: int, width: int, conv: type[nn.Conv2d] = nn.Conv2d) -> nn.Sequential:
    """Make a task's own 3x3 convolution, normalisation and ReLU."""
    return nn.Sequential(conv(channels, width, 3, padding=1), SampleNormReLU(width))


def direction(x: Tensor) -> Tensor:
    """Scale (N, c, h, w) to unit length along c, in float32 or better."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1, eps=1e-12)


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute 1 - cosine of unit vectors (..., c, h, w), mean over positions."""
    return 1 - (a * b).sum(-3).mean((-2, -1))
