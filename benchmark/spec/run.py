"""What one run is, and its id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.errors import UserError
from benchmark.spec import protocol as protocols
from benchmark.spec import registry
from benchmark.spec.protocol import Protocol
from benchmark.spec.weighting import EQUAL

SCHEMA = 1


@dataclass(frozen=True)
class RunSpec:
    """One run. `tasks` is the whole task set of the protocol, or one of it for a one-task method; the label
    mask is always drawn over the protocol's whole set. `hyperparameters` are resolved; `changed` names those
    away from their defaults.
    `plugin`: of a method from outside the tree, the hash of its file. `tuning`: how its keywords or its rate
    were searched, if they were. `lr_scale`: its learning rate over the protocol's. `contrasts`: the
    comparisons that its plan named before it ran, as `contrasts.py` has them; they are no part of what a run
    is."""

    protocol: Protocol
    dataset: str
    variant: str
    labels: str
    method: str
    method_version: int
    hyperparameters: dict[str, Any]
    changed: tuple[str, ...]
    tasks: tuple[str, ...]
    label_seed: int
    train_seed: int
    balance: str = EQUAL
    plugin: str = ""
    tuning: str = ""
    lr_scale: float = 1.0
    contrasts: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `spec.json` and records hold them."""
        plain: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA} | dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> RunSpec:
        """The spec that `as_dict` gave, from a file that keeps its id beside it. Raises `UserError`, which
        names `where`, if the id is not that of the values, or if the values mean another run to the code as
        it is now."""
        if run_id(values) != values.get("id"):
            raise UserError(
                f"{where} was edited: the id {values.get('id')!r} is not that of its spec; restore it or "
                f"remove it."
            )
        hyperparameters, changed = registry.resolve_hyperparameters(
            values["method"], values["hyperparameters"]
        )
        made = {key: value for key, value in values.items() if key not in ("schema", "id")} | {
            "protocol": protocols.build(values["protocol"], where),
            "hyperparameters": hyperparameters,
            "changed": changed,
            "tasks": tuple(values["tasks"]),
            "contrasts": tuple(values.get("contrasts", ())),
        }
        spec = cls(**made)
        code = (registry.method(spec.method).version, registry.plugin_content(spec.method))
        if spec.id != values["id"] or code != (spec.method_version, spec.plugin):
            raise UserError(
                f"{spec.method} has changed since {where} was written, so {values['id']} cannot run; plan it "
                f"again."
            )
        return spec

    @property
    def id(self) -> str:
        return run_id(self.as_dict())

    @property
    def folder(self) -> str:
        """Where the run lives below the results folder."""
        one = "-" + "-".join(self.tasks) if self.tasks != self.protocol.tasks else ""
        balance = f"-{self.balance}" if self.balance != EQUAL else ""
        labels = self.labels.replace(":", "")
        return f"{self.protocol.name}/{self.method}{one}{balance}-{labels}-s{self.seed}-{self.id}"

    @property
    def seed(self) -> str:
        """`1`, or `0.1` for label seed 0 with train seed 1."""
        return f"{self.label_seed}" + (f".{self.train_seed}" if self.train_seed != self.label_seed else "")


def run_id(spec: dict[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of the canonical JSON of a spec, values equal to their defaults left
    out.

    So a new keyword or protocol key with a default moves no id; a changed default needs a version bump.
    Raises `UserError` when the dictionary is not a spec.
    """
    try:
        defaults = _defaults(Protocol)
        changed = {
            k: v
            for k, v in spec["protocol"].items()
            if k == "version" or (k not in protocols.ABOUT and defaults.get(k) != v)
        }
        identity: dict[str, Any] = {
            "schema": spec["schema"],
            "protocol": changed,
            "dataset": spec["dataset"],
            "variant": spec["variant"],
            "labels": spec["labels"],
            "method": spec["method"],
            "method_version": spec["method_version"],
            "label_seed": spec["label_seed"],
            "train_seed": spec["train_seed"],
        }
        if spec["changed"]:
            identity["hyperparameters"] = {
                name: spec["hyperparameters"][name] for name in sorted(spec["changed"])
            }
        if spec["tasks"] != spec["protocol"]["tasks"]:
            identity["tasks"] = spec["tasks"]
        if spec["balance"] != EQUAL:
            identity["balance"] = spec["balance"]
        if spec.get("lr_scale", 1.0) != 1.0:
            identity["lr_scale"] = spec["lr_scale"]
        identity |= {key: spec[key] for key in ("plugin", "tuning") if spec.get(key)}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"this is not a run's spec: {error!r} is missing or of the wrong kind; restore the file or "
            f"remove it."
        ) from None
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@cache
def _defaults(kind: type[Protocol]) -> dict[str, Any]:
    """A protocol's defaults as a record's JSON has them: lists where the dataclass holds tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(kind(name=""))))
    return plain
