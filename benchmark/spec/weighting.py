"""Loss weighting and gradient aggregation by name: how the losses of several tasks become one gradient.

Orthogonal to methods: a weighting sees named losses and tells nothing back. Auxiliary losses
(`Losses.extra`) stay outside with weight 1. All but `uncertainty`, which learns the scale too, decide
proportions, not the total: the weights of the tasks present in a batch are about 1 on average, and where a
paper's sum to 1, they are multiplied by the number of tasks. So the auxiliary losses keep their share, the
clip its meaning, and one present task is left as it is. A label that is not there must move nothing; see
`training.weighting.base`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from benchmark.errors import UserError
from benchmark.typed import check_keys

if TYPE_CHECKING:
    from methods.base import Method


class Entry(NamedTuple):
    """kind: "losses" (weighted on the device) or "gradients" (of shared parameters, aggregated).

    version: raised when a number changes; ids and rows hold it as they hold a method's.
    """

    kind: str
    summary: str
    paper: str
    version: int = 1


EQUAL = "equal"
BALANCES = {
    EQUAL: Entry("losses", "the plain sum of the protocol's weighted losses", "baseline"),
    "uncertainty": Entry(
        "losses",
        "a learned log-variance a task, as a likelihood has it",
        "Kendall, Gal, Cipolla: Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018",
    ),
    "dwa": Entry(
        "losses",
        "more weight on tasks whose loss fell less from epoch to epoch",
        "Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention, CVPR 2019",
    ),
    "rlw": Entry(
        "losses",
        "random weights, drawn anew in every step",
        "Lin, Ye, Zhang, Tsang: Reasonable Effectiveness of Random Weighting, TMLR 2022",
    ),
    "gls": Entry(
        "losses",
        "the geometric mean of the losses",
        "Chennupati, Sistu, Yogamani, Rawashdeh: MultiNet++, CVPR Workshops 2019",
    ),
    "famo": Entry(
        "losses",
        "weights that keep the relative decrease of all losses equal; judged by the next batch, not by a "
        "second forward pass",
        "Liu, Feng, Stone, Liu: FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023",
    ),
    "upgrad": Entry(
        "gradients",
        "each gradient projected onto the cone in which no task loses",
        "Quinton, Rey: Jacobian Descent for Multi-Objective Optimization, 2024",
    ),
    "pcgrad": Entry(
        "gradients",
        "each gradient without its part against another, in random order",
        "Yu, Kumar, Gupta, Levine, Hausman, Finn: Gradient Surgery for Multi-Task Learning, NeurIPS 2020",
    ),
    "cagrad": Entry(
        "gradients",
        "the direction near the mean gradient that helps the worst task most",
        "Liu, Liu, Jin, Stone, Liu: Conflict-Averse Gradient Descent for Multi-Task Learning, NeurIPS 2021",
    ),
    "mgda": Entry(
        "gradients",
        "the shortest convex combination of the gradients",
        "Sener, Koltun: Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018",
        version=2,
    ),
    "nash": Entry(
        "gradients",
        "the direction that the tasks would agree on in a Nash bargain",
        "Navon et al.: Multi-Task Learning as a Bargaining Game, ICML 2022",
    ),
    "imtl_g": Entry(
        "gradients",
        "the combination with equal projections on every task's gradient",
        "Liu et al.: Towards Impartial Multi-task Learning, ICLR 2021",
    ),
    "aligned_mtl": Entry(
        "gradients",
        "principal components of the gradients aligned to one length",
        "Senushkin, Patakin, Kuznetsov, Konushin: Independent Component Alignment for Multi-Task Learning, "
        "CVPR 2023",
    ),
    "graddrop": Entry(
        "gradients",
        "one sign a shared parameter, drawn by how much the tasks agree; its authors draw one an element of "
        "the shared representation",
        "Chen et al.: Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS "
        "2020",
    ),
}
# What torchjd takes for all of its aggregators named above; it imports those of its solvers late.
PACKAGES = ("torchjd", "qpsolvers", "quadprog", "cvxpy", "clarabel", "ecos")
EAGER = "it takes a backward pass for each task that a batch has labels of, and combines them on the host"


def check(name: str) -> None:
    """Raise `UserError` for an unknown weighting, and for one whose packages are not installed."""
    check_keys([name], BALANCES, "balance")
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing and BALANCES[name].kind == "gradients":
        what = ", ".join(missing)
        raise UserError(f"balance {name} needs {what}; install it with `pip install -e '.[torchjd]'`.")


def note(name: str) -> str | None:
    """Return what a user should know before a run with this weighting, or None."""
    return f"balance {name} runs eagerly: {EAGER}" if BALANCES[name].kind == "gradients" else None


def check_method(name: str, method: Method) -> None:
    """Raise `UserError` where gradients are to be aggregated and the method shares no parameters."""
    if BALANCES[name].kind == "gradients" and not any(p.requires_grad for p in method.shared_parameters()):
        what = type(method).__name__
        raise UserError(f"balance {name} combines gradients of shared parameters, and {what} has none.")
