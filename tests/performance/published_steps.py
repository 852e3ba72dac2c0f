"""The steps of MTPSL (CVPR 2022) and JTR (CVPR 2024) as their authors take them, for comparison of speed: one
sample, one task and one pair of tasks after the other, BatchNorm over batches of one, an unfused Adam.

Written from descriptions of those steps, not from their code. Where a number of ours is defined otherwise
(the protocol's weights of samples and L1 of normals; what `methods.jtr` says of its terms), ours is taken, at
the same cost, so that both have the same loss. Left out is what they do for their log alone. The sizes of
images must be multiples of 32.
"""

import copy
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.tasks import IGNORE, Task
from methods.base import Batch
from methods.jtr import JTR
from methods.mtpsl import MTPSL
from methods.networks.mapper import PairMapper as OurMapper
from methods.networks.mapper import PairNorm, SampleNormReLU

CONVOLUTIONS = (2, 2, 3, 3, 3)
Maps = dict[str, Tensor]


def hard_sample(chances: Tensor) -> Tensor:
    """One-hot over channels of logits or log-probabilities (1, C, h, w), drawn anew while it is no number."""
    drawn = F.gumbel_softmax(chances, tau=1, hard=True, dim=1)
    while bool(drawn.isnan().any()):
        drawn = F.gumbel_softmax(chances, tau=1, hard=True, dim=1)
    return drawn


def supervised(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
    """The loss of one sample's map."""
    if task.kind == "classes":
        return F.nll_loss(prediction, target[:, 0], ignore_index=IGNORE)
    mask = (target.abs().sum(1, keepdim=True) != 0).float()
    return ((prediction - target).abs().sum(1, keepdim=True) * mask).sum() / torch.nonzero(mask).shape[0]


def apart(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine over channels, averaged over positions."""
    return 1 - (F.normalize(a, eps=1e-12) * F.normalize(b, eps=1e-12)).sum(1).mean()


def of_labels(tasks: dict[str, Task], predictions: Maps, batch: Batch, i: int, labelled: list[str]) -> Tensor:
    """The supervised loss of sample i, task after task, over the labels that it has."""
    total = torch.zeros(())
    for name in labelled:
        one = supervised(tasks[name], predictions[name][i : i + 1], batch.targets[name][i : i + 1])
        total = total + one * len(tasks) / len(labelled)
    return total


def labelled_tasks(batch: Batch, sample: int, tasks: Sequence[str]) -> list[str]:
    return [name for name, there in zip(tasks, batch.labelled_host[sample].tolist(), strict=True) if there]


def one_hot(task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, 1, h, w) to (1, C, h, w), 0 where there is no label."""
    there = target != IGNORE
    empty = torch.zeros(1, task.channels, *target.shape[2:], dtype=dtype)
    return empty.scatter_(1, torch.where(there, target, 0), 1.0) * there


def sample(maps: Maps, i: int) -> Maps:
    return {name: map_[i : i + 1] for name, map_ in maps.items()}


# Layers as published, of the weights of ours.


def batch_norm(norm: nn.Module) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(len(norm.weight)).to(norm.weight)
    made.load_state_dict(norm.state_dict(), strict=False)
    return made


def convolutions(*modules: nn.Module) -> nn.Sequential:
    convs = [m for module in modules for m in module.modules() if isinstance(m, nn.Conv2d)]
    return nn.Sequential(*map(copy.deepcopy, convs))


def units(level: nn.Module) -> nn.Sequential:
    """Convolutions, each with BatchNorm and ReLU."""
    norms = [m for m in level.modules() if isinstance(m, (nn.BatchNorm2d, SampleNormReLU))]
    both = zip(convolutions(level), norms, strict=True)
    return nn.Sequential(*(m for conv, norm in both for m in (conv, batch_norm(norm), nn.ReLU(inplace=True))))


class SegNet(nn.Module):
    """Five levels that are pooled, and five that are unpooled to where the maxima were."""

    def __init__(self, down: nn.ModuleList, up: nn.ModuleList) -> None:
        super().__init__()
        self.down, self.up = (nn.ModuleList(map(units, levels)) for levels in (down, up))
        self.pool, self.unpool = nn.MaxPool2d(2, 2, return_indices=True), nn.MaxUnpool2d(2, 2)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        places = []
        for part in self.down:
            x, where = self.pool(part(x))
            places.append(where)
        return x, places

    def decode(self, x: Tensor, places: list[Tensor]) -> Tensor:
        for part, where in zip(self.up, places[::-1], strict=True):
            x = part(self.unpool(x, where))
        return x


class Network(nn.Module):
    """SegNet and two convolutions a task: log-probabilities, depth, unit normals; and the bottleneck."""

    def __init__(self, ours: MTPSL | JTR) -> None:
        super().__init__()
        self.tasks = ours.problem.tasks
        self.segnet = SegNet(ours.encoder.trunk.levels, ours.encoder.fusion.levels)
        heads = {name: convolutions(ours.decoders[name], ours.heads[name]) for name in self.tasks}
        self.heads = nn.ModuleDict(heads)

    def forward(self, images: Tensor) -> tuple[Maps, Tensor]:
        deepest, places = self.segnet.encode(images)
        shared, found = self.segnet.decode(deepest, places), {}
        for name, task in self.tasks.items():
            x = self.heads[name](shared)
            if task.kind == "classes":
                x = F.log_softmax(x, dim=1)
            found[name] = x / torch.norm(x, p=2, dim=1, keepdim=True) if task.kind == "normals" else x
        return found, deepest


class FilmConv(nn.Module):
    """Convolution, normalisation, the gamma and beta of a pair of tasks, ReLU."""

    def __init__(self, conv: nn.Module, norm: PairNorm) -> None:
        super().__init__()
        self.conv, self.norm = copy.deepcopy(conv), batch_norm(norm)
        self.gamma, self.beta = (nn.Parameter(p.detach().T.clone()) for p in (norm.gamma, norm.beta))

    def forward(self, x: Tensor, pair: Tensor) -> Tensor:
        gamma, beta = (self.gamma @ pair).view(1, -1, 1, 1), (self.beta @ pair).view(1, -1, 1, 1)
        return F.relu(self.norm(self.conv(x)) * gamma + beta, inplace=True)


class PairMapper(nn.Module):
    """One map of one task, for one pair, to the space of that pair."""

    def __init__(self, ours: OurMapper) -> None:
        super().__init__()
        self.first = nn.ModuleDict({name: units(layer) for name, layer in ours.first.items()})
        films = map(FilmConv, ours.convs, ours.norms)
        self.levels = nn.ModuleList(nn.ModuleList(itertools.islice(films, n)) for n in CONVOLUTIONS)

    def forward(self, x: Tensor, task: str, pair: Tensor) -> Tensor:
        x = self.first[task](x)
        for convolutions in self.levels:
            for convolution in convolutions:
                x = convolution(x, pair)
            x = F.max_pool2d(x, 2)
        return x


class Published:
    """What both steps share."""

    optimisers: list[torch.optim.Optimizer]

    def __init__(self, ours: MTPSL | JTR) -> None:
        self.tasks, self.names = ours.problem.tasks, list(ours.problem.tasks)
        self.dtype, self.network = next(ours.parameters()).dtype, Network(ours)

    def loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def scaled(self, depth: Tensor) -> Tensor:
        raise NotImplementedError

    def entered(self, task: Task, map_: Tensor, is_label: bool) -> Tensor:
        """A prediction or a label (1, C, h, w) as it enters the second network."""
        if task.kind == "classes":
            return one_hot(task, map_, self.dtype) if is_label else hard_sample(map_)
        return self.scaled(map_) if task.kind == "depth" else (map_ + 1) / 2

    def step(self, batch: Batch) -> float:
        loss = self.loss(batch)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        return float(loss.detach())


class PublishedMTPSL(Published):
    """Its step with the weights of `ours`: SegNet, decoders without blocks, a mapper without a stride."""

    def __init__(self, ours: MTPSL, lr: float = 1e-4) -> None:
        super().__init__(ours)
        self.weight, self.regulariser = ours.consistency_weight, ours.regulariser
        self.mapper = PairMapper(ours.mapper)
        self.pairs = list(itertools.permutations(range(len(self.tasks)), 2))
        self.choices = torch.eye(len(self.pairs), dtype=self.dtype)
        films, rest = [], [*self.network.parameters()]
        for name, parameter in self.mapper.named_parameters():
            (films if name.endswith(("gamma", "beta")) else rest).append(parameter)
        fast = torch.optim.Adam(films, lr=lr * ours.film_lr_scale)
        self.optimisers = [torch.optim.Adam(rest, lr=lr), fast]

    def loss(self, batch: Batch) -> Tensor:
        view, b = batch.views[0], len(batch.images)
        predictions, deepest = self.network(torch.cat([batch.images, view.images]))
        total = torch.zeros((), dtype=deepest.dtype)
        for i in range(b):
            labelled = labelled_tasks(batch, i, self.names)
            total = total + of_labels(self.tasks, predictions, batch, i, labelled) / b
            second, targets = sample(predictions, b + i), sample(view.targets, i)
            agreement = self.consistency(second, targets, labelled, deepest[b + i : b + i + 1].detach())
            total = total + self.weight * agreement / b
        return total

    def consistency(self, predictions: Maps, targets: Maps, labelled: list[str], feature: Tensor) -> Tensor:
        total = torch.zeros((), dtype=feature.dtype)
        for number, (s, t) in enumerate(self.pairs):
            source, target = self.names[s], self.names[t]
            if source in labelled or target not in labelled:
                continue
            predicted = self.entered(self.tasks[source], predictions[source], False)
            known = self.entered(self.tasks[target], targets[target], True)
            a = self.mapper(predicted, source, self.choices[number])
            b = self.mapper(known, target, self.choices[number])
            total = total + apart(a, b) + self.regulariser * (apart(a, feature) + apart(b, feature))
        return total

    def scaled(self, depth: Tensor) -> Tensor:
        return depth / depth.abs().max()


class AutoEncoder(nn.Module):
    """A SegNet from a stack of maps to a stack of maps."""

    def __init__(self, ours: JTR) -> None:
        super().__init__()
        self.segnet = SegNet(ours.stack_encoder.levels, ours.stack_decoder.levels)
        self.head = convolutions(ours.stack_decoder.head)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        latent, places = self.segnet.encode(stack)
        return latent, self.head(self.segnet.decode(latent, places))


class PublishedJTR(Published):
    """Its step with the weights of `ours`: encoder SegNet, decoders without blocks, auto-encoder without a
    stride.

    All three views are one batch of the network, and every sample has its own copy of the auto-encoder for
    its second view.
    """

    def __init__(self, ours: JTR, lr: float = 1e-4) -> None:
        super().__init__(ours)
        self.dist_weight, self.recon_weight = ours.dist_weight, ours.recon_weight
        scale = ours.joint.scales["depth"]
        self.mean, self.std = float(scale.mean), float(scale.std)
        self.channels = [task.channels for task in self.tasks.values()]
        self.joint = AutoEncoder(ours)
        self.optimisers = [torch.optim.Adam([*self.network.parameters(), *self.joint.parameters()], lr=lr)]

    def loss(self, batch: Batch) -> Tensor:
        b = len(batch.images)
        predictions, deepest = self.network(torch.cat([batch.images, *(view.images for view in batch.views)]))
        total = torch.zeros((), dtype=deepest.dtype)
        for i in range(b):
            labelled = labelled_tasks(batch, i, self.names)
            total = total + of_labels(self.tasks, predictions, batch, i, labelled) / b
            of_views = [sample(predictions, v * b + i) for v in (1, 2)]
            known = [sample(view.targets, i) for view in batch.views]
            total = total + self.joint_loss(of_views, known, labelled) / b
        return total

    def joint_loss(self, predictions: list[Maps], targets: list[Maps], labelled: list[str]) -> Tensor:
        known, predicted, _ = self.stacks(predictions[0], targets[0], labelled, soft=False)
        constant = copy.deepcopy(self.joint).segnet
        distance = apart(constant.encode(known)[0], constant.encode(predicted)[0])
        known, predicted, mask = self.stacks(predictions[1], targets[1], labelled, soft=True)
        known, predicted = known.detach(), predicted.detach()
        of_known, known_again = self.joint(known)
        of_predicted, predicted_again = self.joint(predicted)
        distance = distance + self.recon_weight * apart(of_known, of_predicted)
        rebuilt = self.rebuilding(known_again, known, mask)
        rebuilt = rebuilt + self.rebuilding(predicted_again, predicted, mask)
        return self.dist_weight * distance + self.recon_weight * rebuilt

    def stacks(
        self, predictions: Maps, targets: Maps, labelled: list[str], soft: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.ones_like(predictions[self.names[0]][:, :1])
        for name in labelled:
            target = targets[name]
            classes = self.tasks[name].kind == "classes"
            mask = mask * (target != IGNORE if classes else target.abs().sum(1, keepdim=True) != 0)
        known, predicted = [], []
        for name, task in self.tasks.items():
            guess = predictions[name].detach() if name in labelled else predictions[name]
            drawn = shown = self.entered(task, guess, False)
            if task.kind == "classes" and soft:
                shown = guess.exp()
            one = self.entered(task, targets[name], True) if name in labelled else drawn
            blank = 0.5 * (1 - mask) if task.kind == "normals" else 0.0
            if task.kind == "depth":  # a map of zeros goes through the scaling
                blank = self.scaled(torch.zeros_like(mask)) * (1 - mask)
            known.append(one * mask + blank)
            predicted.append(shown * mask + blank)
        return torch.cat(known, 1), torch.cat(predicted, 1), mask

    def rebuilding(self, rebuilt: Tensor, stack: Tensor, mask: Tensor) -> Tensor:
        total, count = torch.zeros((), dtype=stack.dtype), torch.count_nonzero(mask)
        parts = (stacked.split(self.channels, 1) for stacked in (rebuilt, stack))
        for task, x, wanted in zip(self.tasks.values(), *parts, strict=True):
            if task.kind == "classes":
                wrong = F.binary_cross_entropy_with_logits(x, wanted, reduction="none")
            elif task.kind == "depth":
                wrong = (x.sigmoid() - wanted).abs()
            else:
                wrong = 1 - F.cosine_similarity(x, 2 * wanted - 1)[:, None]
            total = total + (wrong * mask).sum() / count
        return total

    def scaled(self, depth: Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf((depth - self.mean) / self.std / 2**0.5))
