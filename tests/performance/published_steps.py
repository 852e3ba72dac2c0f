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
from methods.base import Batch, View
from methods.jtr import JTR
from methods.mtpsl import MTPSL
from methods.networks.mapper import PairNorm

FACTORS, CONVOLUTIONS = (1, 2, 4, 8, 8), (2, 2, 3, 3, 3)


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


def of_labels(
    tasks: dict[str, Task], predictions: dict[str, Tensor], batch: Batch, i: int, labelled: list[str]
) -> Tensor:
    """The supervised loss of sample i, task after task, over the labels that it has."""
    total = torch.zeros(())
    for name in labelled:
        one = supervised(tasks[name], predictions[name][i : i + 1], batch.targets[name][i : i + 1])
        total = total + one * len(tasks) / len(labelled)
    return total


def labelled_tasks(batch: Batch, sample: int, tasks: Sequence[str]) -> list[str]:
    return [name for name, there in zip(tasks, batch.labelled_host[sample].tolist(), strict=True) if there]


def unit(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


def level(a: int, b: int, count: int) -> nn.Sequential:
    return nn.Sequential(unit(a, b), *(unit(b, b) for _ in range(count - 1)))


def head(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, channels, 1))


class SegNet(nn.Module):
    """Five levels that are pooled, and five that are unpooled to where the maxima were."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        filters = [width * factor for factor in FACTORS]
        down, up = itertools.pairwise((channels, *filters)), itertools.pairwise((*filters[::-1], width))
        self.down = nn.ModuleList(level(a, b, n) for (a, b), n in zip(down, CONVOLUTIONS, strict=True))
        self.up = nn.ModuleList(level(a, b, n) for (a, b), n in zip(up, CONVOLUTIONS[::-1], strict=True))
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

    def __init__(self, tasks: dict[str, Task], width: int) -> None:
        super().__init__()
        self.tasks, self.segnet = tasks, SegNet(3, width)
        self.heads = nn.ModuleDict({name: head(width, task.channels) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
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

    def __init__(self, a: int, b: int, pairs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b)
        self.gamma, self.beta = nn.Parameter(torch.ones(b, pairs)), nn.Parameter(torch.zeros(b, pairs))

    def forward(self, x: Tensor, pair: Tensor) -> Tensor:
        gamma, beta = (self.gamma @ pair).view(1, -1, 1, 1), (self.beta @ pair).view(1, -1, 1, 1)
        return F.relu(self.norm(self.conv(x)) * gamma + beta, inplace=True)


class PairMapper(nn.Module):
    """One map of one task, for one pair, to the space of that pair."""

    def __init__(self, tasks: dict[str, Task], width: int) -> None:
        super().__init__()
        pairs = len(tasks) * (len(tasks) - 1)
        self.first = nn.ModuleDict({name: unit(task.channels, width) for name, task in tasks.items()})
        ends = itertools.pairwise((width, *(width * factor for factor in FACTORS)))
        self.levels = nn.ModuleList(
            nn.ModuleList([FilmConv(a, b, pairs), *(FilmConv(b, b, pairs) for _ in range(n - 1))])
            for (a, b), n in zip(ends, CONVOLUTIONS, strict=True)
        )

    def forward(self, x: Tensor, task: str, pair: Tensor) -> Tensor:
        x = self.first[task](x)
        for convolutions in self.levels:
            for convolution in convolutions:
                x = convolution(x, pair)
            x = F.max_pool2d(x, 2)
        return x


class PublishedMTPSL:
    """Its step with the weights of `ours`: SegNet, decoders without blocks, a mapper without a stride."""

    def __init__(self, ours: MTPSL, lr: float = 1e-4) -> None:
        tasks, width = ours.problem.tasks, ours.problem.width
        self.tasks, self.names = tasks, list(tasks)
        self.weight, self.regulariser = ours.consistency_weight, ours.regulariser
        dtype = next(ours.parameters()).dtype
        self.network, self.mapper = Network(tasks, width).to(dtype), PairMapper(tasks, width).to(dtype)
        self.pairs = list(itertools.permutations(range(len(tasks)), 2))
        self.choices = torch.eye(len(self.pairs), dtype=dtype)
        take_network(self.network, ours)
        mapper = ours.mapper
        trunk = [part for both in zip(mapper.convs, mapper.norms, strict=True) for part in both]
        take_weights(self.mapper, [mapper.first, *trunk])
        films = [m for m in self.mapper.modules() if isinstance(m, FilmConv)]
        with torch.no_grad():
            for film, norm in zip(films, mapper.norms, strict=True):
                assert isinstance(norm, PairNorm)
                film.gamma.copy_(norm.gamma.T)
                film.beta.copy_(norm.beta.T)
        film_parameters = [p for film in films for p in (film.gamma, film.beta)]
        theirs = {id(p) for p in film_parameters}
        rest = [p for p in (*self.network.parameters(), *self.mapper.parameters()) if id(p) not in theirs]
        fast = torch.optim.Adam(film_parameters, lr=lr * ours.film_lr_scale)
        self.optimisers = [torch.optim.Adam(rest, lr=lr), fast]

    def loss(self, batch: Batch) -> Tensor:
        view, b = batch.views[0], len(batch.images)
        predictions, deepest = self.network(torch.cat([batch.images, view.images]))
        total = torch.zeros((), dtype=deepest.dtype)
        for i in range(b):
            labelled = labelled_tasks(batch, i, self.names)
            total = total + of_labels(self.tasks, predictions, batch, i, labelled) / b
            second = {name: p[b + i : b + i + 1] for name, p in predictions.items()}
            targets = {name: t[i : i + 1] for name, t in view.targets.items()}
            agreement = self.consistency(second, targets, labelled, deepest[b + i : b + i + 1].detach())
            total = total + self.weight * agreement / b
        return total

    def consistency(
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], labelled: list[str], feature: Tensor
    ) -> Tensor:
        total = torch.zeros((), dtype=feature.dtype)
        for number, (s, t) in enumerate(self.pairs):
            source, target = self.names[s], self.names[t]
            if source in labelled or target not in labelled:
                continue
            predicted = self._of_prediction(self.tasks[source], predictions[source])
            known = self._of_label(self.tasks[target], targets[target], feature.dtype)
            a = self.mapper(predicted, source, self.choices[number])
            b = self.mapper(known, target, self.choices[number])
            total = total + apart(a, b) + self.regulariser * (apart(a, feature) + apart(b, feature))
        return total

    def _of_prediction(self, task: Task, prediction: Tensor) -> Tensor:
        if task.kind == "classes":
            return hard_sample(prediction)
        return prediction / prediction.abs().max() if task.kind == "depth" else (prediction + 1) / 2

    def _of_label(self, task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
        if task.kind == "classes":
            return one_hot(task, target, dtype)
        return target / target.max() if task.kind == "depth" else (target + 1) / 2

    def step(self, batch: Batch) -> float:
        return take_step(self.loss(batch), self.optimisers)


class AutoEncoder(nn.Module):
    """A SegNet from a stack of maps to a stack of maps."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.segnet = SegNet(channels, width)
        self.head = head(width, channels)

    def forward(self, stack: Tensor) -> tuple[Tensor, Tensor]:
        latent, places = self.segnet.encode(stack)
        return latent, self.head(self.segnet.decode(latent, places))


class PublishedJTR:
    """Its step with the weights of `ours`: encoder SegNet, decoders without blocks, auto-encoder without a
    stride.

    All three views are one batch of the network, and every sample has its own copy of the auto-encoder for
    its second view.
    """

    def __init__(self, ours: JTR, lr: float = 1e-4) -> None:
        tasks, width = ours.problem.tasks, ours.problem.width
        self.tasks, self.names = tasks, list(tasks)
        self.dist_weight, self.recon_weight = ours.dist_weight, ours.recon_weight
        scale = ours.joint.scales["depth"]
        self.mean, self.std = float(scale.mean), float(scale.std)
        dtype = next(ours.parameters()).dtype
        self.channels = [task.channels for task in tasks.values()]
        self.network = Network(tasks, width).to(dtype)
        self.joint = AutoEncoder(sum(self.channels), width).to(dtype)
        take_network(self.network, ours)
        take_weights(self.joint, [ours.stack_encoder, ours.stack_decoder])
        self.optimisers = [torch.optim.Adam([*self.network.parameters(), *self.joint.parameters()], lr=lr)]

    def loss(self, batch: Batch) -> Tensor:
        b = len(batch.images)
        predictions, deepest = self.network(torch.cat([batch.images, *(view.images for view in batch.views)]))
        total = torch.zeros((), dtype=deepest.dtype)
        for i in range(b):
            labelled = labelled_tasks(batch, i, self.names)
            total = total + of_labels(self.tasks, predictions, batch, i, labelled) / b
            places = [slice(v * b + i, v * b + i + 1) for v in (1, 2)]
            of_views = [{name: p[place] for name, p in predictions.items()} for place in places]
            known = [self._of_sample(view, i) for view in batch.views]
            total = total + self.joint_loss(of_views, known, labelled) / b
        return total

    def joint_loss(
        self, predictions: list[dict[str, Tensor]], targets: list[dict[str, Tensor]], labelled: list[str]
    ) -> Tensor:
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
        self, predictions: dict[str, Tensor], targets: dict[str, Tensor], labelled: list[str], soft: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.ones_like(predictions[self.names[0]][:, :1])
        for name in labelled:
            target = targets[name]
            classes = self.tasks[name].kind == "classes"
            mask = mask * (target != IGNORE if classes else target.abs().sum(1, keepdim=True) != 0)
        known, predicted = [], []
        for name, task in self.tasks.items():
            guess = predictions[name].detach() if name in labelled else predictions[name]
            drawn = shown = self._of_prediction(task, guess)
            if task.kind == "classes" and soft:
                shown = guess.exp()
            one = self._of_label(task, targets[name], mask.dtype) if name in labelled else drawn
            blank = 0.5 * (1 - mask) if task.kind == "normals" else 0.0
            if task.kind == "depth":  # a map of zeros goes through the scaling
                blank = self._scaled(torch.zeros_like(mask)) * (1 - mask)
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

    def _of_prediction(self, task: Task, prediction: Tensor) -> Tensor:
        if task.kind == "classes":
            return hard_sample(prediction)
        return self._scaled(prediction) if task.kind == "depth" else (prediction + 1) / 2

    def _of_label(self, task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
        if task.kind == "classes":
            return one_hot(task, target, dtype)
        return self._scaled(target) if task.kind == "depth" else (target + 1) / 2

    def _scaled(self, depth: Tensor) -> Tensor:
        return 0.5 * (1 + torch.erf((depth - self.mean) / self.std / 2**0.5))

    @staticmethod
    def _of_sample(view: View, i: int) -> dict[str, Tensor]:
        return {name: target[i : i + 1] for name, target in view.targets.items()}

    def step(self, batch: Batch) -> float:
        return take_step(self.loss(batch), self.optimisers)


def one_hot(task: Task, target: Tensor, dtype: torch.dtype) -> Tensor:
    """(1, 1, h, w) to (1, C, h, w), 0 where there is no label."""
    there = target != IGNORE
    empty = torch.zeros(1, task.channels, *target.shape[2:], dtype=dtype)
    return empty.scatter_(1, torch.where(there, target, 0), 1.0) * there


def take_step(loss: Tensor, optimisers: Sequence[torch.optim.Optimizer]) -> float:
    for optimiser in optimisers:
        optimiser.zero_grad()
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()
    return float(loss.detach())


def take_network(network: Network, ours: MTPSL | JTR) -> None:
    heads = [part for name in network.tasks for part in (ours.decoders[name], ours.heads[name])]
    take_weights(network, [ours.encoder.trunk, ours.encoder.fusion, *heads])


@torch.no_grad()
def take_weights(into: nn.Module, modules: Sequence[nn.Module]) -> None:
    """The weights, biases and statistics of convolutions and normalisations, in order."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.InstanceNorm2d, PairNorm)
    mine = [m for m in into.modules() if isinstance(m, kinds)]
    others = [m for module in modules for m in module.modules() if isinstance(m, kinds)]
    for a, b in zip(mine, others, strict=True):
        for name in ("weight", "bias"):
            getattr(a, name).copy_(getattr(b, name))
        if isinstance(b, nn.BatchNorm2d):
            a.load_state_dict(b.state_dict())
