"""Balancings of losses against slow references; a label that is not there may do nothing to them."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.spec import plan, registry
from benchmark.spec import weighting as balance
from benchmark.training.step import Step
from benchmark.training.weighting.achievement import AMTLG, score
from benchmark.training.weighting.base import Balancing, LossBalancing
from benchmark.training.weighting.losses import DWA, FAMO, GLS, RLW, Isolate, Uncertainty
from datasets.tasks import Task
from methods.base import Batch, Losses, Method
from tests.helpers import TASKS, THREE, tiny_batch, tiny_problem, tiny_protocol

LOSSES = [n for n, entry in balance.BALANCES.items() if entry.kind == "losses" and n != balance.EQUAL]
EPOCH = 2.5
POTENTIALS = {"semseg": 0.5, "depth": 0.8, "normals": 0.9}
ACHIEVED = balance.OfAMTLG(gamma=3.0, margin=0.1, decay=0.9, potentials=POTENTIALS)
KINDS = {name: TASKS[name] for name in THREE}

Row = list[float]
State = dict[Any, Any]
Pattern = list[list[int]]
FULL: Pattern = [[1, 1, 1]] * 4
MIXED: list[Pattern] = [
    FULL,
    [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]],
    [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]],  # the third task is absent
    [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]],  # one alone is present
    [[0, 0, 0]] * 4,
    [[1, 0, 1], [0, 1, 1], [1, 0, 0], [1, 1, 1]],
    [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]],
    [[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]],
    FULL,
]


def new(name: str, shares: Tensor | None = None) -> LossBalancing:
    classes: dict[str, Callable[..., LossBalancing]] = {
        "uncertainty": Uncertainty,
        "dwa": lambda tasks, shares: DWA(tasks, shares, EPOCH),
        "rlw": RLW,
        "gls": GLS,
        "famo": FAMO,
        "isolate": Isolate,
        "amtl_g": lambda _, shares: AMTLG(tiny_problem(label_shares=shares), ACHIEVED),
    }
    return classes[name](KINDS, shares)


class Stream:
    """Losses of samples that fall, each task at its own pace."""

    def __init__(self, seed: int = 0) -> None:
        self.random, self.step = random.Random(seed), 0

    def __call__(self) -> list[Row]:
        self.step += 1
        paces = (0.9, 0.97, 1.01)
        return [
            [(t + 0.5) * p**self.step * self.random.uniform(0.5, 1.5) for t, p in enumerate(paces)]
            for _ in range(4)
        ]


def sample_weight(row: list[int], t: int, shares: list[float] | None) -> float:
    if not row[t]:
        return 0.0
    return 1 / shares[t] if shares else len(row) / sum(row)


def reduced(pattern: Pattern, samples: list[Row], shares: list[float] | None = None) -> tuple[Row, Row]:
    """(L_t, labels_t) with loops over samples and tasks."""
    losses, labels = [0.0] * 3, [0.0] * 3
    for row, values in zip(pattern, samples, strict=True):
        for t in range(3):
            weight = sample_weight(row, t, shares)
            losses[t] += weight * values[t] / len(pattern)
            labels[t] += weight / len(pattern)
    return losses, labels


def batch_of(pattern: Pattern) -> Batch:
    labelled = torch.tensor(pattern, dtype=torch.bool)
    return Batch(torch.zeros(len(pattern), 3, 8, 8), {}, labelled, labelled, torch.arange(len(pattern)))


def scored(losses: Row) -> Row:
    """Scores of tasks that come closer to 1 as their losses fall."""
    return [1 / (1 + loss) for loss in losses]


def gradients(made: Balancing, losses: Row, pattern: Pattern, like: Row | None = None) -> tuple[Row, float]:
    """What a step minimises, differentiated by each L_t and an auxiliary loss. like: what scores are of."""
    scores = dict(zip(THREE, torch.tensor(scored(like or losses), dtype=torch.float64), strict=True))
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in losses]
    other = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    made.zero_grad()
    made.begin()
    made.backward(Losses(dict(zip(THREE, leaves, strict=True)), {"aux": other}, scores), batch_of(pattern))
    found = [float(leaf.grad) if leaf.grad is not None else 0.0 for leaf in leaves]
    assert other.grad is not None
    return found, float(other.grad)


# The references know neither tensors nor weights of zero: absent tasks are not in their lists. `s` is theirs.


def present(losses: Row) -> list[int]:
    return [t for t in range(3) if losses[t]]


def dwa_reference(s: State, losses: Row, labels: Row) -> Row:
    history, sums = s.setdefault("history", ([], [], [])), s.setdefault("sums", {})
    step = s["step"] = s.get("step", -1) + 1
    if step and math.floor(step / EPOCH) > math.floor((step - 1) / EPOCH):
        for t, (loss, count) in sums.items():
            history[t].append(loss / count)
        sums.clear()
    for t in present(losses):
        loss, count = sums.get(t, (0.0, 0.0))
        sums[t] = loss + losses[t], count + labels[t]
    powers = [math.exp((h[-1] / h[-2] if len(h) > 1 else 1.0) / 2) for h in history]
    return [3 * p / sum(powers) for p in powers]


def rlw_reference(s: State, losses: Row, labels: Row) -> Row:
    z, here = torch.randn(3, dtype=torch.float64).tolist(), present(losses)
    total = sum(math.exp(z[t]) for t in here)
    return [len(here) * math.exp(z[t]) / total if t in here else 0.0 for t in range(3)]


def product_weights(losses: Row, labels: Row, focus: dict[int, float]) -> Row:
    """By numerical differentiation of the weighted product itself, times the number of labels."""

    def mean(values: Row) -> float:
        total, count = sum(labels[t] * focus[t] for t in focus), sum(labels[t] for t in focus)
        return count * math.prod((values[t] / labels[t]) ** (labels[t] * focus[t] / total) for t in focus)

    weights = [0.0] * 3
    for t in focus:
        up, down = ([v + sign * 1e-6 * (i == t) for i, v in enumerate(losses)] for sign in (1, -1))
        weights[t] = (mean(up) - mean(down)) / 2e-6
    return weights


def gls_reference(s: State, losses: Row, labels: Row) -> Row:
    return product_weights(losses, labels, dict.fromkeys(present(losses), 1.0))


def famo_reference(s: State, losses: Row, labels: Row) -> Row:
    xi, first, second, count = (s.setdefault(name, [0.0] * 3) for name in ("xi", "first", "second", "count"))
    last, here = s.setdefault("last", {}), present(losses)
    now = {t: losses[t] / labels[t] for t in here}
    both = [t for t in here if t in last]
    if len(both) > 1:
        total = sum(math.exp(xi[t]) for t in both)
        z = {t: math.exp(xi[t]) / total for t in both}
        fall = {t: math.log(last[t]) - math.log(now[t]) for t in both}
        old = list(xi)
        for t in both:
            # The Jacobian of the softmax, entry by entry.
            g = sum(z[u] * ((u == t) - z[t]) * fall[u] for u in both) + 1e-3 * old[t]
            first[t], second[t] = 0.9 * first[t] + 0.1 * g, 0.999 * second[t] + 0.001 * g * g
            count[t] += 1
            scale = math.sqrt(second[t] / (1 - 0.999 ** count[t])) + 1e-8
            xi[t] = old[t] - 0.025 * (first[t] / (1 - 0.9 ** count[t])) / scale
    last |= now
    parts = {t: math.exp(xi[t]) / now[t] for t in here}
    return [len(here) * parts[t] / sum(parts.values()) if t in here else 0.0 for t in range(3)]


def isolate_reference(s: State, losses: Row, labels: Row) -> Row:
    weights, here, counter = [0.0] * 3, present(losses), s.get("counter", 0)
    if here:
        chosen = next(t % 3 for t in range(counter, counter + 3) if t % 3 in here)
        weights[chosen], s["counter"] = float(len(here)), chosen + 1
    return weights


def amtl_g_reference(s: State, losses: Row, labels: Row) -> Row:
    for t in present(losses):
        now = scored(losses)[t]
        s[t] = 0.9 * s[t] + 0.1 * now if t in s else now
    achieved = {t: min(1.0, s[t] / (1.1 * (0.5, 0.8, 0.9)[t])) for t in present(losses)}
    return product_weights(losses, labels, {t: math.exp((1 - a) ** 3) for t, a in achieved.items()})


REFERENCES = {
    "dwa": dwa_reference, "rlw": rlw_reference, "gls": gls_reference, "famo": famo_reference,
    "isolate": isolate_reference, "amtl_g": amtl_g_reference,
}  # fmt: skip


@pytest.mark.parametrize("shares", [None, [0.5, 0.25, 1.0]])
@pytest.mark.parametrize("name", REFERENCES)
def test_weights_equal_a_slow_reference(name: str, shares: list[float] | None) -> None:
    made, stream = new(name, torch.tensor(shares) if shares else None), Stream()
    state: State = {}
    for step, pattern in enumerate(MIXED * 2):
        losses, labels = reduced(pattern, stream(), shares)
        torch.manual_seed(step)
        found, aux = gradients(made, losses, pattern)
        torch.manual_seed(step)
        expected = REFERENCES[name](state, losses, labels)
        for t in present(losses):
            assert found[t] == pytest.approx(expected[t], rel=1e-6), (step, t)
        assert aux == 1


@pytest.mark.parametrize("shares", [None, [0.5, 0.25, 1.0]])
def test_uncertainty_is_the_likelihood_of_the_labels(shares: list[float] | None) -> None:
    """Sample by sample: 1/2 exp(-s) l + 1/2 s for depth and normals, exp(-s) l + 1/2 s for classes."""
    made, stream = new("uncertainty", torch.tensor(shares) if shares else None), Stream()
    assert isinstance(made, Uncertainty)
    made.double()
    for pattern in MIXED:
        s = torch.randn(3, dtype=torch.float64)
        with torch.no_grad():
            made.log_variances.copy_(s)
        samples = stream()
        found, aux = gradients(made, reduced(pattern, samples, shares)[0], pattern)
        by_s, by_loss = [0.0] * 3, [0.0] * 3
        for row, values in zip(pattern, samples, strict=True):
            for t, factor in enumerate((1.0, 0.5, 0.5)):
                weight = sample_weight(row, t, shares) / len(pattern)
                by_s[t] += weight * (-factor * math.exp(-s[t]) * values[t] + 0.5)
                by_loss[t] = factor * math.exp(-s[t])
        assert made.log_variances.grad is not None
        assert made.log_variances.grad.tolist() == pytest.approx(by_s, rel=1e-6, abs=1e-12) and aux == 1
        for one, expected, column in zip(found, by_loss, zip(*pattern, strict=True), strict=True):
            assert not any(column) or one == pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_no_label_no_influence(name: str) -> None:
    """A step without a task leaves the task's state as it was, and its own gradients finite."""
    made, stream = new(name), Stream()
    for pattern in MIXED:
        gradients(made, reduced(pattern, stream())[0], pattern)
    absent = [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]]
    before = {key: value.clone() for key, value in made.state_dict().items() if value.shape[-1:] == (3,)}
    made.epoch_steps = 1e9  # else dwa would close its epoch between the two, for every task alike
    found, aux = gradients(made, reduced(absent, stream())[0], absent)
    assert all(math.isfinite(value) for value in found) and aux == 1
    for key, value in before.items():
        assert torch.equal(made.state_dict()[key][..., 2], value[..., 2]), key
    for parameter in made.parameters():
        assert parameter.grad is not None and parameter.grad[2] == 0


def test_a_label_without_a_valid_pixel_is_no_label() -> None:
    """Then the loss is exactly 0 although the mask says that the task is there."""
    for name in LOSSES:
        one, two = new(name), new(name)
        for pattern, seen in ((FULL, FULL), (FULL, [[1, 1, 0]] * 4), (FULL, FULL)):
            losses = [0.4, 0.8, 0.5 if seen[0][2] else 0.0]
            torch.manual_seed(1)
            first = gradients(one, losses, pattern)[0]
            scaled = [v * (1.5 if seen[0] == [1, 1, 0] else 1) for v in losses]  # T / |T_b| is 3 / 2 for two
            torch.manual_seed(1)
            second = gradients(two, scaled, seen, losses)[0]
            assert all(map(math.isfinite, first)) and first[:2] == pytest.approx(second[:2], rel=1e-6), name


def slow_score(task: Task, prediction: Tensor, target: Tensor) -> float:
    """Pixel by pixel over a batch."""
    right = total = 0.0
    for x, y in zip(prediction, target, strict=True):
        known = [p for p in y.flatten(1).t().tolist() if p[0] != 255]
        share = sum(p[0] == 0 for p in known) / max(1, len(known))
        for p, t in zip(x.flatten(1).t().tolist(), y.flatten(1).t().tolist(), strict=True):
            weight = 1.0
            if t[0] == 255 if task.is_map_of_integers else not any(t):
                continue
            if task.kind == "classes":
                good = max(range(len(p)), key=p.__getitem__) == t[0]
            elif task.kind == "depth":
                good = p[0] > 0 and max(p[0] / t[0], t[0] / p[0]) < 1.25
            elif task.kind == "normals":
                cosine = sum(a * b for a, b in zip(p, t, strict=True)) / math.hypot(*p)
                good = math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) < 11.25
            else:
                good = (p[0] > 0) == (t[0] == 1)
                weight = 0.95 if task.kind == "edge" else share
                weight = weight if t[0] == 1 else 1 - weight
            right, total = right + weight * good, total + weight
    return right / total if total else 0.0


def test_scores_are_shares_of_visible_pixels_that_are_right() -> None:
    labelled = torch.tensor([[1, 1, 1, 1, 1, 1], [0] * 6, [1, 0, 1, 0, 1, 0]], dtype=torch.bool)
    data = tiny_batch(tuple(TASKS), labelled)
    g = torch.Generator().manual_seed(1)
    for name, task in TASKS.items():
        target = data.targets[name]
        prediction = torch.randn(3, task.channels, *target.shape[2:], generator=g, dtype=torch.float64)
        if not task.is_map_of_integers:
            noise = 0.3 if task.kind == "depth" else 0.2
            prediction = torch.where(task.valid(target), target, 1) + noise * prediction
        found, pixels = score(task, prediction, target)
        assert float(found) == pytest.approx(slow_score(task, prediction, target), rel=1e-9), name
        assert 0.05 < found < 0.95 and pixels > 0
        assert score(task, prediction, torch.full_like(target, task.ignore)) == (0, 0)


def test_scores_are_of_the_first_predictions_of_a_step_and_change_nothing_under_equal() -> None:
    """Of `pad_net`, which then hands over auxiliary ones. What is computed between steps is forgotten."""
    found, scores = [], []
    for weighting in ({}, {"scores": True}):
        torch.manual_seed(0)
        method = registry.method("pad_net")(tiny_problem())
        made = Step(method, tiny_protocol(), 2, "equal", 1.0, weighting)
        for step, rows in enumerate(([[1, 1, 0]] * 4, [[1, 0, 0]] * 4)):
            data = tiny_batch(THREE, torch.tensor(rows, dtype=torch.bool), dtype=torch.float32)
            with torch.no_grad():
                before = {n: p.clone() for n, p in method.predict(data.images).items()}
                method.problem.task_losses({n: -p for n, p in before.items()}, data, data.labelled)
            made(data, step)
            scores.append([float(score(TASKS[n], before[n], data.targets[n])[0]) for n in THREE])
        found.append(torch.cat([p.flatten() for p in method.parameters()]))
    assert torch.equal(*found)
    told = {name: float(d.array) for name, d in made.balancing.diagnostics().items()}
    assert told["score, normals"] == 0 and told["score, depth"] == pytest.approx(scores[-2][1])
    assert told["score, semseg"] == pytest.approx(0.99 * scores[-2][0] + 0.01 * scores[-1][0])


def test_mean_weights_are_told() -> None:
    made = new("famo")
    found = [gradients(made, reduced(pattern, Stream()())[0], pattern)[0] for pattern in MIXED]
    present = [[any(row[t] for row in pattern) for t in range(3)] for pattern in MIXED]
    told = made.diagnostics()["balance_weights"]
    for t in range(3):
        values = [f[t] for f, here in zip(found, present, strict=True) if here[t]]
        assert told.array[t, 0] == pytest.approx(sum(values) / len(values))
    assert told.labels == (THREE, ("weight",))


class Toy(Method):
    """One number a task: L_t = (t + 1) x_t, of the tasks that have a label."""

    def __init__(self, poison_at: int = -1) -> None:
        super().__init__(tiny_problem())
        self.x, self.poison_at, self.calls = nn.Parameter(torch.ones(3)), poison_at, 0

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        factor = math.nan if self.calls == self.poison_at else 1.0
        self.calls += 1
        there = batch.labelled.any(0)
        return Losses(
            {n: (t + 1) * self.x[t] * there[t] * factor for t, n in enumerate(THREE)},
            {"aux": self.x.sum() * 0.1},
            {n: 1 / (1 + self.x[t]) for t, n in enumerate(THREE)},
        )

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        yield self.x


def stepped(toy: Toy, name: str, patterns: list[Pattern], **changes: Any) -> Step:
    values = dict(weight_decay=0.5, optimiser="sgd", lr=0.01, schedule="constant", clip=0.0) | changes
    step = Step(toy, tiny_protocol(**values), len(patterns), name)
    for i, pattern in enumerate(patterns):
        torch.manual_seed(i)
        step(batch_of(pattern), i)
    return step


def test_log_variances_are_learnt_by_the_runs_optimiser_without_decay() -> None:
    toy = Toy()
    step = stepped(toy, "uncertainty", [FULL])
    assert isinstance(step.balancing, Uncertainty)
    # d/ds (c exp(-s) L + s/2) at s = 0, with L = 1, 2, 3: 1/2 - c L
    expected = [-0.01 * (0.5 - c * loss) for c, loss in ((1, 1), (0.5, 2), (0.5, 3))]
    assert step.balancing.log_variances.tolist() == pytest.approx(expected)
    assert [group["weight_decay"] for group in step.optimiser.param_groups] == [0.5, 0]
    second = stepped(toy, "uncertainty", [FULL], optimiser="adam")
    assert second.balancing.log_variances.abs().max() > 0


@pytest.mark.parametrize("name", balance.BALANCES)
def test_the_latch_names_the_step_and_term_and_stops_every_update(name: str) -> None:
    if balance.BALANCES[name].kind == "gradients":
        pytest.importorskip("torchjd")
    toy, reference = Toy(poison_at=2), Toy()
    step = stepped(toy, name, [FULL] * 4)
    assert step.failure() == (2, "semseg")
    stepped(reference, name, [FULL] * 2)
    assert toy.x.tolist() == reference.x.tolist()


def test_losses_of_other_tasks_and_without_scores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    monkeypatch.setattr(toy, "losses", lambda b, p: Losses({n: toy.x[t] for t, n in enumerate(THREE)}))
    with pytest.raises(TypeError, match=r"must call problem\.task_losses or give Losses\.scores"):
        stepped(toy, "amtl_g", [FULL])
    monkeypatch.setattr(toy, "losses", lambda batch, progress: Losses({"depth": toy.x[0]}))
    with pytest.raises(TypeError, match="losses are of depth, but the tasks to balance are semseg"):
        stepped(toy, "dwa", [FULL])


def test_one_task_runs_as_equal_and_says_so() -> None:
    made = plan.make(["single_task", "multi_task"], ['balance=["dwa", "gls"]', "seeds=1"], Path("none"))
    runs = [("multi_task", "dwa"), ("multi_task", "gls"), *[("single_task", "equal")] * 3]
    assert sorted((c.method, c.balance) for c in made.cells) == runs
    assert "single_task runs with balance equal, not dwa: one task has nothing to weigh" in made.notes
    alone = plan.make(["multi_task"], ["balance=dwa", 'tasks=["depth"]', "seeds=1"], Path("none"))
    assert [c.balance for c in alone.cells] == ["equal"]


def test_a_missing_package_is_one_sentence_at_planning_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "find_spec", lambda name: None if name in ("torchjd", "ecos") else object())
    with pytest.raises(UserError, match="balance nash needs torchjd, ecos; install it with"):
        plan.make(["multi_task"], ["balance=nash"], Path("none"))
    assert plan.make(["multi_task"], ["balance=famo"], Path("none")).cells
