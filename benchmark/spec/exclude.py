"""[[exclude]]: which runs of a plan are left out."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.spec import protocol as protocols
from benchmark.spec import registry
from benchmark.spec import weighting as balance
from benchmark.spec.grid import AXES, LISTS, choices, renamed
from benchmark.spec.run import RunSpec

Test = Callable[[RunSpec], bool]


class Rule:
    """One [[exclude]] table: a run is left out if all its keys match, a key with a list if any of its values
    does.

    Values are compared with what a run resolves to, so a protocol's own values and a method's defaults count.
    A number of
    `seeds` is that seed. A data set without a form means all its forms. Raises `UserError` for unknown keys
    and values.
    """

    def __init__(self, table: dict[str, Any], where: str, weights: Mapping[str, Path]) -> None:
        table = renamed(table)
        hparams = table.pop("hparams", {})
        self.tests: dict[str, Test] = {}
        for key, value in table.items():
            if key not in (*AXES, *protocols.SETTABLE):
                raise unknown(
                    f"key in [[exclude]] of plan {where}", key, [*AXES, *protocols.SETTABLE, "hparams"]
                )
            tests = [_test(key, choice, where, weights) for choice in choices(value, key in LISTS)]
            self.tests[f"{key} = {json.dumps(value)}"] = _any(tests)
        if not isinstance(hparams, dict) or not all(
            isinstance(keywords, dict) for keywords in hparams.values()
        ):
            raise UserError(
                f"hparams = {hparams!r} in [[exclude]] of plan {where} is not a table; write "
                f"hparams.METHOD.KEYWORD = value."
            )
        for method, keywords in hparams.items():
            _known("method", method, registry.method_names(), where)
            hints = registry.hyperparameters(method)[1]
            for name, value in keywords.items():
                several = choices(value, typing.get_origin(hints.get(name)) is tuple)
                tests = [_has_keyword(method, name, choice) for choice in several]
                self.tests[f"hparams.{method}.{name} = {json.dumps(value)}"] = _any(tests)
        if not self.tests:
            raise UserError(
                f"an [[exclude]] of plan {where} has no key, which would leave out every run; give it one."
            )

    @property
    def text(self) -> str:
        return "exclude " + ", ".join(self.tests)

    def matches(self, spec: RunSpec) -> bool:
        return all(test(spec) for test in self.tests.values())


def keep(
    cells: Sequence[RunSpec],
    tables: Sequence[dict[str, Any]],
    where: str,
    weights: Mapping[str, Path],
    whole: bool,
) -> tuple[list[RunSpec], list[str]]:
    """(the runs that no [[exclude]] of the plan `where` matches, a note on each table).

    whole: nothing on the command line changes the plan, so a table that matches no run is a mistake and
    raises `UserError`.
    """
    rules = [Rule(table, where, weights) for table in tables]
    notes = []
    for rule in rules:
        count = sum(map(rule.matches, cells))
        if count == 0 and whole:
            alone = next((text for text, test in rule.tests.items() if not any(map(test, cells))), None)
            reason = f"none has {alone}" if alone else "none has all of these"
            raise UserError(
                f"{rule.text} matches no run of plan {where}, as {reason}; correct it or remove it."
            )
        notes.append(f"{count or 'no'} {'run is' if count == 1 else 'runs are'} left out by {rule.text}")
    return [spec for spec in cells if not any(rule.matches(spec) for rule in rules)], notes


def _any(tests: Sequence[Test]) -> Test:
    return lambda spec: any(test(spec) for test in tests)


def _known(key: str, value: Any, known: typing.Iterable[str], where: str) -> None:
    if value not in known:
        raise unknown(f"{key} in [[exclude]] of plan {where}", str(value), known)


def _has_keyword(method: str, name: str, value: Any) -> Test:
    wanted = registry.resolve_hyperparameters(method, {name: value})[0][name]
    return lambda spec: spec.method == method and spec.hyperparameters[name] == wanted


def _test(key: str, value: Any, where: str, weights: Mapping[str, Path]) -> Test:
    """Whether a run has this one value of a key."""
    if key == "weights":  # a run knows a file by its content
        return lambda spec: value == spec.protocol.weights or value == str(weights.get(spec.protocol.weights))
    if key in protocols.SETTABLE:
        wanted = protocols.convert(protocols.TYPES, key, value, f"key in [[exclude]] of plan {where}")
        return lambda spec: bool(getattr(spec.protocol, key) == wanted)
    if key in ("seeds", "label_seeds", "train_seeds"):
        if type(value) is not int:
            raise UserError(
                f"{key} = {value!r} in [[exclude]] of plan {where} is not a seed; give whole numbers, [0, 1]."
            )
        if key == "seeds":
            return lambda spec: (
                spec.train_seed == value
                and (spec.label_seed == value or spec.labels.startswith("published:"))
            )
        return lambda spec: value == (spec.label_seed if key == "label_seeds" else spec.train_seed)
    if key == "protocol":
        name = Path(str(value)).stem if str(value).endswith(".toml") else str(value)
        return lambda spec: spec.protocol.name == name
    if key == "dataset":
        dataset = registry.dataset(str(value)).name
        form = str(value).replace("_", "-")
        return lambda spec: (
            spec.dataset == dataset and (form == dataset or f"{spec.variant}-".startswith(f"{form}-"))
        )
    if key == "labels":
        from datasets import labels

        setting = str(labels.parse(str(value)))
        return lambda spec: spec.labels == setting
    known = registry.method_names() if key == "method" else list(balance.BALANCES)
    _known(key, value, known, where)
    return lambda spec: value == (spec.method if key == "method" else spec.balance)
