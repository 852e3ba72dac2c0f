"""Gradient aggregators: properties of each, and which gradient goes where."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.spec import weighting as balance
from methods.base import Batch, Losses, Method
from methods.multi_task import MultiTask
from tests.benchmark.test_balance import batch_of
from tests.helpers import THREE, tiny_batch, tiny_problem

torchjd = pytest.importorskip("torchjd.aggregation")
from benchmark.training.weighting.gradients import RULES, Aggregation, aggregate  # noqa: E402

NAMES = [name for name, entry in balance.BALANCES.items() if entry.kind == "gradients"]
JACOBIANS = [
    torch.tensor([[1.0, 0.2, 0.0, 0.3], [-0.5, 1.0, 0.4, 0.0], [0.1, -0.3, 2.0, 0.5]]),
    torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]]),
    torch.tensor([[3.0, 0.1, 0.0], [0.0, 0.4, 0.1], [0.2, 0.0, 0.03]]),
]


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_torchjds_result_times_the_tasks_where_weights_sum_to_one(name: str, jacobian: Tensor) -> None:
    n = len(jacobian)
    own = {
        "upgrad": torchjd.UPGrad(pref_vector=torch.ones(n)),
        "pcgrad": torchjd.PCGrad(),
        "cagrad": torchjd.CAGrad(c=0.4),
        "imtl_g": torchjd.IMTLG(),
        "aligned_mtl": torchjd.AlignedMTL(pref_vector=torch.ones(n)),
        "graddrop": torchjd.GradDrop(),
    }
    if name == "nash":
        weights = torch.linalg.lstsq(jacobian.T, aggregate(name, jacobian)).solution
        assert weights.sum().item() == pytest.approx(n, rel=1e-4)
        bargain = weights * (jacobian @ jacobian.T @ weights)  # constant: (G G^T) alpha = 1 / alpha
        assert torch.allclose(bargain, bargain.mean(), rtol=1e-3)
        return
    if name == "mgda":  # ours is nearer to the optimum
        assert aggregate(name, jacobian).norm() <= n * torchjd.MGDA()(jacobian).norm() * (1 + 1e-6)
        return
    torch.manual_seed(0)
    expected = own[name](jacobian) * (n if name in ("cagrad", "imtl_g") else 1)
    assert torch.allclose(seeded(name, jacobian), expected, rtol=1e-3, atol=1e-4)


def shortest(gramian: Tensor) -> float:
    """The least squared norm of a convex combination: of subsets S, by G_SS w = length, 1 w = 1."""
    found = []
    for subset in itertools.product((False, True), repeat=len(gramian)):
        if any(subset):
            part = gramian[torch.tensor(subset)][:, torch.tensor(subset)]
            ones = torch.ones(len(part), 1, dtype=torch.float64)
            system = torch.cat([torch.cat([part, -ones], 1), torch.cat([ones.T, torch.zeros(1, 1)], 1)])
            weights = (torch.linalg.pinv(system) @ torch.eye(len(system), dtype=torch.float64)[-1])[:-1]
            if bool((weights >= -1e-12).all()):
                found.append(float(weights @ part @ weights))
    return min(found)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("shared", [-0.4, 0.0, 2.0])
def test_mgda_is_the_shortest_convex_combination(n: int, spread: float, shared: float) -> None:
    """Of gradients that conflict or agree (shared), of norms that differ by orders (spread)."""
    generator = torch.Generator().manual_seed(n)
    for _ in range(6):
        draw = torch.randn(n, 6, generator=generator, dtype=torch.float64)
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)[:n, None]
        common = shared * torch.randn(1, 6, generator=generator, dtype=torch.float64)
        rows = draw + (common if shared > 0 else signs * common)
        rows = rows * 10 ** (spread * (torch.rand(n, 1, generator=generator, dtype=torch.float64) - 0.5))
        weights = RULES["mgda"](rows @ rows.T) / n
        assert bool((weights >= 0).all()) and float(weights.sum()) == pytest.approx(1, rel=1e-12)
        found, best = float((weights @ rows).square().sum()), shortest(rows @ rows.T)
        assert best * (1 - 1e-9) <= found <= best * (1 + 1e-6) + 1e-15 * float(rows.square().sum(1).min())


def test_mgda_of_gradients_that_cancel_is_0() -> None:
    rows = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    weights = RULES["mgda"](rows @ rows.T)
    assert weights.tolist() == pytest.approx([2.0, 1.0, 0.0], abs=1e-7)


def seeded(name: str, jacobian: Tensor) -> Tensor:
    torch.manual_seed(0)
    return aggregate(name, jacobian)


@pytest.mark.parametrize("name", NAMES)
def test_properties_that_all_have(name: str) -> None:
    """Those of torchjd's own rules do not hold below their tolerances: its cagrad gives 0 there."""
    # Equal gradients give their sum, so `equal` and all agree on the scale; cagrad adds its radius.
    equal = torch.tensor([[0.3, -1.0, 2.0]]).repeat(3, 1)
    expected = 3 * equal[0] * (1.4 if name == "cagrad" else 1)
    assert torch.allclose(aggregate(name, equal), expected, rtol=2e-3)
    for jacobian, scale in itertools.product(JACOBIANS, (1e-6, 1e5)):
        scaled = seeded(name, jacobian * scale) / scale
        assert torch.allclose(scaled, seeded(name, jacobian), rtol=1e-4, atol=1e-5)
    # A gradient of zero takes no part.
    two, zero = JACOBIANS[0][:2], torch.zeros(1, 4)
    assert torch.equal(seeded(name, torch.cat([two, zero])), seeded(name, two))
    assert torch.equal(aggregate(name, torch.cat([zero, two[:1]])), two[0])
    assert torch.equal(aggregate(name, zero.repeat(2, 1)), zero[0])
    # What is not finite stays so: then the step sees it and stops the run; a solver would raise.
    bad = JACOBIANS[0].clone()
    bad[1, 2] = torch.nan
    assert not torch.isfinite(aggregate(name, bad)).all()


class Linear(Method):
    """L_t = g_t . shared + t own_t + both . w; the auxiliary loss touches all parameters."""

    def __init__(self, jacobian: Tensor, extra: bool = True) -> None:
        super().__init__(tiny_problem())
        self.jacobian, self.extra = jacobian, extra
        self.shared, self.own = nn.Parameter(torch.zeros(jacobian.shape[1])), nn.Parameter(torch.zeros(3))
        self.both, self.unused = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        yield self.shared

    def losses(self, batch: Batch, progress: Tensor) -> Losses:
        there = batch.labelled.any(0)
        tasks = {n: there[t] * (self.jacobian[t] @ self.shared + (t + 1) * self.own[t] + self.both)
                 for t, n in enumerate(THREE)}  # fmt: skip
        aux = 0.5 * self.shared.sum() + 0.25 * self.own.sum() + 0.125 * self.both
        return Losses(tasks, {"aux": aux, "constant": torch.tensor(2.0)} if self.extra else {})


@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_shared_parameters_get_the_aggregate_and_all_others_the_sum(name: str, extra: bool) -> None:
    for pattern in ([1, 1, 1], [1, 0, 1], [0, 1, 1]):
        made, data = Linear(JACOBIANS[0], extra), batch_of([pattern, [0, 0, 0]])
        torch.manual_seed(0)
        Aggregation(name, made).backward(made.losses(data, torch.tensor(0.0)), data)
        expected = seeded(name, JACOBIANS[0][torch.tensor(pattern, dtype=torch.bool)])
        assert made.shared.grad is not None and made.own.grad is not None and made.both.grad is not None
        assert torch.allclose(made.shared.grad, expected + 0.5 * extra, atol=1e-6)
        own = [(t + 1) * here + 0.25 * extra for t, here in enumerate(pattern)]
        assert made.own.grad.tolist() == pytest.approx(own)
        assert made.both.grad.item() == pytest.approx(sum(pattern) + 0.125 * extra)
        assert made.unused.grad is None


@pytest.mark.parametrize("pattern", [[0, 1, 0], [0, 0, 0]])
def test_one_present_task_is_the_plain_backward_pass_to_the_bit(pattern: list[int]) -> None:
    torch.manual_seed(0)
    made = MultiTask(tiny_problem())
    data = tiny_batch(THREE, torch.tensor([pattern] * 4, dtype=torch.bool), dtype=torch.float32)
    for name in NAMES:
        found = []
        for plain in (True, False):
            made.zero_grad()
            losses = made.losses(data, torch.tensor(0.0))
            if plain:
                losses.total().backward()
            else:
                Aggregation(name, made).backward(losses, data)
            found.append([None if p.grad is None else p.grad.clone() for p in made.parameters()])
        assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_network_gets_its_jacobian() -> None:
    """The vector that a real network's encoder receives, from per-task backward passes done apart."""
    torch.manual_seed(0)
    made = MultiTask(tiny_problem()).double()
    data = tiny_batch(THREE, torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]], dtype=torch.bool))
    made.to(memory_format=torch.channels_last)  # gradients take their parameters' layout
    rows, sums = [], [torch.zeros_like(p) for p in made.heads.parameters()]
    for task in THREE:
        made.zero_grad()
        made.losses(data, torch.tensor(0.0)).tasks[task].backward()
        rows.append(torch.cat([p.grad.flatten() for p in made.encoder.parameters() if p.grad is not None]))
        heads = zip(sums, made.heads.parameters(), strict=True)
        sums = [s if p.grad is None else s + p.grad for s, p in heads]
    made.zero_grad()
    Aggregation("upgrad", made).backward(made.losses(data, torch.tensor(0.0)), data)
    gradients = [p.grad for p in made.encoder.parameters() if p.grad is not None]
    assert torch.allclose(torch.cat([g.flatten() for g in gradients]), aggregate("upgrad", torch.stack(rows)))
    for parameter, total in zip(made.heads.parameters(), sums, strict=True):
        assert parameter.grad is not None and torch.allclose(parameter.grad, total)
    assert all(g.stride() == p.stride() for g, p in zip(gradients, made.encoder.parameters(), strict=True))


def test_a_method_that_shares_nothing_is_refused() -> None:
    class Apart(Linear):
        def shared_parameters(self) -> Iterator[nn.Parameter]:
            return iter(())

    made = Apart(JACOBIANS[0])
    with pytest.raises(UserError, match="combines gradients of shared parameters, and Apart has none"):
        balance.check_method("mgda", made)
    balance.check_method("dwa", made)
    assert "runs eagerly" in str(balance.note("mgda")) and balance.note("dwa") is None
