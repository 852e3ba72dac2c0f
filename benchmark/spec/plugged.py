"""Metrics and kinds of tasks of plug-ins, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.spec import plugins
from benchmark.spec.registry import check_attributes, class_in

if TYPE_CHECKING:
    from benchmark.metrics.own import Metric
    from datasets.kinds import OwnKind
    from datasets.tasks import Task


def metrics() -> dict[str, type[Metric]]:
    """Return {name: class} of the metrics of plug-ins. Raises `UserError` for what is none."""
    from benchmark.metrics.own import ATTRIBUTES, Metric

    found = {}
    for name in plugins.names("metrics"):
        file, found[name] = class_in("metrics", name, _below(Metric, name), "subclasses of " + _path(Metric))
        check_attributes(file, found[name], ATTRIBUTES)
    return found


def metric_facts() -> dict[str, dict[str, Any]]:
    """Return {name: what records say of it, with a hash of its code} of the metrics of plug-ins."""
    keys = ("kind", "summary", "unit", "higher_is_better")
    return {
        name: {key: getattr(metric, key) for key in keys} | {"code": plugins.code(name)}
        for name, metric in metrics().items()
    }


def kind(name: str) -> type[OwnKind]:
    """Return the kind of task of a plug-in. Raises `UserError` for what is none."""
    from benchmark.metrics.own import ATTRIBUTES, Metric, are_bounds
    from datasets.kinds import KINDS, OwnKind

    def is_metric(key: object, of: Any) -> bool:
        return str(key).isidentifier() and inspect.isclass(of) and issubclass(of, Metric) and of.kind == name

    def are_metrics(value: Any) -> bool:
        return isinstance(value, dict) and bool(value) and all(is_metric(*each) for each in value.items())

    if name in KINDS:
        raise UserError(f"{plugins.where(name)} has the same name as the built-in kind {name}; rename it.")
    file, found = class_in("kinds", name, _below(OwnKind, name), "subclasses of " + _path(OwnKind))
    count = ("a whole number from 1 to 1000", lambda value: type(value) is int and 0 < value <= 1000)
    metrics = (f"{{name: subclass of {_path(Metric)} with kind = {name!r}}}", are_metrics)
    pair = ("a pair of two numbers, the least first", are_bounds)
    own = {"summary": ATTRIBUTES["summary"], "channels": count, "span": pair, "metrics": metrics}
    check_attributes(file, found, own)
    for metric in found.metrics.values():
        check_attributes(file, metric, ATTRIBUTES)
    made: type[OwnKind] = found
    return made


def kind_codes(tasks: Iterable[Task]) -> dict[str, str]:
    """Return {kind: hash of its code} of the tasks of kinds of plug-ins, which ids hold.

    Raises `UserError` for a plug-in that is no kind, and for a task whose kind's plug-in is not in use.
    """
    for name in plugins.names("kinds"):
        kind(name)
    return {name: plugins.code(name) for name in sorted({task.kind for task in tasks if task.own_kind})}


def _below(base: type, name: str) -> Callable[[type], bool]:
    return lambda c: issubclass(c, base) and c.__module__ == plugins.module_name(name)


def _path(base: type) -> str:
    return f"{base.__module__}.{base.__name__}"
