"""Loss weighting and gradient aggregation by name: how the losses of several tasks become one gradient.

Orthogonal to methods: a weighting sees named losses and tells nothing back. Auxiliary losses
(`Losses.extra`) stay outside with weight 1. All but `uncertainty`, which learns the scale too, decide
proportions, not the total: the weights of the tasks present in a batch are about 1 on average, and where a
paper's sum to 1, they are multiplied by the number of tasks. So the auxiliary losses keep their share, the
clip its meaning, and one present task is left as it is. A label that is not there must move nothing; see
`training.weighting.base`.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from benchmark.errors import UserError
from benchmark.spec.protocol import NotNegative
from benchmark.typed import Name, check_keys, convert

if TYPE_CHECKING:
    from methods.base import Method


class Hyperparameters(Struct, forbid_unknown_fields=True, frozen=True):
    """Those of a weighting that has none."""

    def check(self, tasks: Iterable[str]) -> None:
        """Raise `UserError` for what does not fit the tasks of a run."""


class OfEqual(Hyperparameters, frozen=True):
    """scores: record how well visible training labels are predicted, as `amtl_g` measures it."""

    scores: bool = False


class OfAMTLG(Hyperparameters, frozen=True):
    """gamma: focus on tasks far from their potential; 0 is `gls`. margin: share by which potentials are
    raised. decay: of the moving average of scores, a step. potentials: {task: score at the end of a run of
    that task alone}, 1 without; such a run records it with `weighting.equal.scores = true`. runs: the ids of
    those runs.
    """

    gamma: NotNegative = 2.0
    margin: NotNegative = 0.05
    decay: Annotated[float, Meta(ge=0, lt=1)] = 0.99
    potentials: dict[Name, Annotated[float, Meta(gt=0, le=1)]] = {}
    runs: tuple[Annotated[str, Meta(pattern="^[0-9a-f]{12}$")], ...] = ()

    def check(self, tasks: Iterable[str]) -> None:
        """See `Hyperparameters.check`."""
        if not self.potentials:
            return
        check_keys(self.potentials, tasks, "task in potentials of amtl_g")
        if missing := [task for task in tasks if task not in self.potentials]:
            lacking = ", ".join(missing)
            raise UserError(f"potentials of amtl_g lack {lacking}; give one for each task, or none.")
        if not self.runs:
            raise UserError("potentials of amtl_g name no run; give the ids of those they are from in runs.")


class Entry(NamedTuple):
    """kind: "losses" (weighted on the device) or "gradients" (of shared parameters, aggregated).

    version: raised when a number changes; ids and rows hold it as they hold a method's.
    """

    kind: str
    summary: str
    version: int = 1
    hyperparameters: type[Hyperparameters] = Hyperparameters


EQUAL = "equal"
_LOSSES = {
    EQUAL: "the plain sum of the protocol's weighted losses",
    "uncertainty": "a learned log-variance a task, as a likelihood has it (Kendall, Gal, Cipolla, CVPR 2018)",
    "dwa": "more weight on tasks whose loss fell less from epoch to epoch (Liu, Johns, Davison, CVPR 2019)",
    "rlw": "random weights, drawn anew in every step (Lin, Ye, Zhang, Tsang, TMLR 2022)",
    "gls": "the geometric mean of the losses (Chennupati et al.: MultiNet++, CVPR Workshops 2019)",
    "famo": "an equal relative decrease of all losses, judged by the next batch (Liu et al., NeurIPS 2023)",
    "amtl_g": "a geometric mean that leans to tasks which score far from their potential on visible training "
    "labels (Yun, Cho, ICCV 2023)",
    "isolate": "one task a step, in turn among those present, whose other labels are discarded (Cao et al.: "
    "StableMTL, 2025)",
}
_GRADIENTS = {
    "upgrad": "each gradient projected onto the cone in which no task loses (Quinton, Rey, 2024)",
    "pcgrad": "each gradient without its part against another, in random order (Yu et al., NeurIPS 2020)",
    "cagrad": "the direction near the mean that helps the worst task most (Liu et al., NeurIPS 2021)",
    "mgda": "the shortest convex combination of the gradients (Sener, Koltun, NeurIPS 2018)",
    "nash": "the direction that the tasks would agree on in a Nash bargain (Navon et al., ICML 2022)",
    "imtl_g": "the combination with equal projections on every task's gradient (Liu et al., ICLR 2021)",
    "aligned_mtl": "principal components of the gradients at one length (Senushkin et al., CVPR 2023)",
    "graddrop": "one sign a shared parameter, drawn by how much the tasks agree; its authors draw one an "
    "element of the shared representation (Chen et al., NeurIPS 2020)",
}
BALANCES = {name: Entry("losses", about) for name, about in _LOSSES.items()}
BALANCES |= {name: Entry("gradients", about) for name, about in _GRADIENTS.items()}
BALANCES[EQUAL] = BALANCES[EQUAL]._replace(hyperparameters=OfEqual)
BALANCES["amtl_g"] = BALANCES["amtl_g"]._replace(hyperparameters=OfAMTLG)
BALANCES["mgda"] = BALANCES["mgda"]._replace(version=2)
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


def defaults(name: str) -> dict[str, Any]:
    """Return the hyperparameters of a weighting, as plain values."""
    return _plain(BALANCES[name].hyperparameters())


def _plain(values: Hyperparameters) -> dict[str, Any]:
    """Return values as JSON has them: lists for tuples."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))
    return plain


def takes_list(name: str, key: str) -> bool:
    """Return whether a hyperparameter of a weighting is a list itself."""
    return typing.get_origin(typing.get_type_hints(BALANCES[name].hyperparameters).get(key)) is tuple


def check_tables(tables: Any, where: str) -> None:
    """Raise `UserError` unless a plan's `weighting` is {weighting: {hyperparameter: value}}, names known."""
    found = convert(tables, dict[str, dict[str, Any]], where, "write weighting.NAME.KEY = value", "weighting")
    check_keys(found, BALANCES, f"weighting in {where}")
    for name, table in found.items():
        check_keys(table, defaults(name), f"hyperparameter of {name} in {where}")


def resolve(name: str, given: Mapping[str, Any], tasks: Iterable[str]) -> dict[str, Any]:
    """Return the hyperparameters of a weighting that are away from their defaults, which ids hold.

    Raises `UserError` for unknown names, wrong types, values out of bounds and what does not fit the tasks.
    """
    what = f"hyperparameter of {name}"
    check_keys(given, defaults(name), what)
    made = convert(dict(given), BALANCES[name].hyperparameters, what, "change its value")
    made.check(list(tasks))
    values = _plain(made)
    return {key: values[key] for key in sorted(values) if values[key] != defaults(name)[key]}


def matches(name: str, changed: Mapping[str, Any], tables: Mapping[str, Any]) -> bool:
    """Return whether a run's weighting is one of `tables` with the values that stand there."""
    own = defaults(name) | dict(changed) if name in BALANCES else changed
    return name in tables and all(own.get(key) == value for key, value in tables[name].items())


def label(name: str, changed: Mapping[str, Any]) -> str:
    """Return `amtl_g`, or with values away from their defaults `amtl_g(gamma=1.0)`."""
    text = ", ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in changed.items())
    return f"{name}({text})" if text else name


def note(name: str) -> str | None:
    """Return what a user should know before a run with this weighting, or None."""
    return f"balance {name} runs eagerly: {EAGER}" if BALANCES[name].kind == "gradients" else None


def check_method(name: str, method: Method) -> None:
    """Raise `UserError` where gradients are to be aggregated and the method shares no parameters."""
    if BALANCES[name].kind == "gradients" and not any(p.requires_grad for p in method.shared_parameters()):
        what = type(method).__name__
        raise UserError(f"balance {name} combines gradients of shared parameters, and {what} has none.")
