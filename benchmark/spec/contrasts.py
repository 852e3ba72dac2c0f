"""The comparisons that a plan names before its runs: what its boards test, and nothing else.

    [[contrast]]
    name = "ours against the baseline"        # optional
    first = { method = "...", width = 64 }    # the row that is expected ahead
    second = { method = "..." }

A side holds `method` and any keys that single out one row of the plan: keywords of the method, keys of a grid
or of the protocol. Every run of the plan keeps them in its spec, so a comparison that was thought of after
the runs can be told from one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.spec import registry
from benchmark.spec.protocol import SETTABLE
from benchmark.spec.run import RunSpec

SIDES = ("first", "second")
AXES = ("balance", "labels", "lr_scale")


def read(tables: Iterable[dict[str, Any]], where: str) -> tuple[dict[str, Any], ...]:
    """The contrasts of a plan's tables, each {"name", "first", "second"}. Raises `UserError` for one that is
    not of that form.
    """
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        for key in table:
            if key not in ("name", *SIDES):
                raise unknown(f"key in [[contrast]] of {where}", key, ("name", *SIDES))
        for side in SIDES:
            _check(table.get(side), side, where)
        name = table.get("name", f"{words(table['first'])} - {words(table['second'])}")
        if not isinstance(name, str) or not name or name in found:
            raise UserError(
                f"name = {name!r} in [[contrast]] of {where} is not a text that no other contrast has; "
                f"change it."
            )
        found[name] = {"name": name, "first": dict(table["first"]), "second": dict(table["second"])}
    return tuple(found.values())


def _check(side: Any, what: str, where: str) -> None:
    if not isinstance(side, dict) or not isinstance(side.get("method"), str):
        raise UserError(
            f'[[contrast]] of {where} has no {what} = {{ method = "..." }}; add it, and keys that single out '
            f"one row."
        )
    known = registry.hyperparameters(side["method"])[0]
    for key in side:
        if key not in ("method", *AXES, *SETTABLE, *known):
            raise unknown(
                f"key in {what} of [[contrast]] of {where}", key, ("method", *AXES, *SETTABLE, *known)
            )


def words(side: dict[str, Any]) -> str:
    """`method(key=value)`"""
    more = ", ".join(f"{key}={value}" for key, value in side.items() if key != "method")
    return f"{side['method']}({more})" if more else str(side["method"])


def row(spec: RunSpec) -> str:
    """What the runs of one row share: everything but seeds, and the task of a one-task method."""
    key = (
        spec.variant,
        spec.labels,
        spec.method,
        spec.balance,
        spec.lr_scale,
        sorted(spec.hyperparameters.items()),
    )
    return repr((key, spec.protocol))


def matches(spec: RunSpec, side: dict[str, Any]) -> bool:
    """Whether a run is of the row that a side of a contrast names."""
    return all(
        _value(spec, key) == (tuple(value) if isinstance(value, list) else value)
        for key, value in side.items()
    )


def _value(spec: RunSpec, key: str) -> Any:
    if key in ("method", *AXES):
        return getattr(spec, key)
    return spec.hyperparameters[key] if key in spec.hyperparameters else getattr(spec.protocol, key, None)


def check(contrasts: Sequence[dict[str, Any]], cells: Sequence[RunSpec], where: str) -> None:
    """Raise `UserError` for a side that names no row of a plan's runs, or several."""
    for contrast in contrasts:
        for side in SIDES:
            rows = {row(spec): spec for spec in cells if matches(spec, contrast[side])}
            if len(rows) == 1:
                continue
            cure = "add a key that tells them apart" if rows else "name a row of the plan"
            many = f"{len(rows)} rows" if rows else "no row"
            raise UserError(
                f"{side} = {words(contrast[side])} in [[contrast]] of plan {where} is {many} of it, not one; "
                f"{cure}."
            )
