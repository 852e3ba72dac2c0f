"""What one run is, and its id."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from msgspec import Meta

from benchmark.errors import UserError
from benchmark.spec import plugged, plugins, registry
from benchmark.spec import protocol as protocols
from benchmark.spec import weighting as balance
from benchmark.spec.protocol import Count, Positive, Protocol
from benchmark.spec.weighting import BALANCES, EQUAL
from benchmark.typed import Name, Plain, Prose, check_keys, convert

SCHEMA = 1
# What enters every id, beside the protocol; the rest where it is not the default.
IDENTITY = ("schema", "dataset", "variant", "labels", "method", "method_version", "label_seed", "train_seed")


Seed = Annotated[int, Meta(ge=0, lt=2**62)]


@dataclass(frozen=True)
class RunSpec:
    """One run.

    tasks: the whole task set of the protocol, or one of it for a one-task method; the label mask is always
    drawn over the protocol's whole set. hyperparameters: resolved values; changed: the names of those away
    from their defaults. plugin: of a method from outside the tree, the hash of its file. tuning: how its
    hyperparameters or its rate were searched, if they were. lr_scale: its learning rate over the protocol's.
    contrasts: the comparisons that its plan named before it ran; they are no part of what a run is.
    balance_version: of the weighting; records of before it was kept have its first. weighting: those of
    the weighting's hyperparameters that are away from their defaults. kinds: of tasks of kinds of plug-ins,
    the hashes of their code.
    """

    protocol: Protocol
    dataset: Name
    variant: Name
    labels: Name
    method: Name
    method_version: Count
    hyperparameters: dict[Name, Plain]
    changed: tuple[Name, ...]
    tasks: tuple[Name, ...]
    label_seed: Seed
    train_seed: Seed
    balance: Name = EQUAL
    plugin: Name = ""
    tuning: Prose = ""
    lr_scale: Positive = 1.0
    contrasts: tuple[dict[str, Any], ...] = ()
    balance_version: Count = 1
    weighting: dict[Name, Plain] = field(default_factory=dict)
    kinds: dict[Name, Name] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as `spec.json` and records hold them."""
        plain: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA} | dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> RunSpec:
        """Return the spec that `as_dict` gave, from the file `where`, which keeps its id beside it.

        Raises `UserError` if the id is not that of the values, if a value is of the wrong type or out of
        bounds, or if the values mean another run to the code as it is now.
        """
        if run_id(values) != values.get("id"):
            raise UserError(
                f"{where} was edited: the id {values.get('id')!r} is not that of its spec; restore it."
            )
        plain = {key: value for key, value in values.items() if key not in ("schema", "id")}
        check_keys(plain, typing.get_type_hints(cls), f"key in {where}")
        spec: RunSpec = convert(plain, cls, where, "restore it or remove it")
        hyperparameters, changed = registry.resolve_hyperparameters(spec.method, spec.hyperparameters)
        protocol = protocols.build(values["protocol"], where)
        spec = dataclasses.replace(spec, protocol=protocol, hyperparameters=hyperparameters, changed=changed)
        check_keys([spec.balance], BALANCES, f"balance in {where}")
        spec = dataclasses.replace(spec, weighting=balance.resolve(spec.balance, spec.weighting, spec.tasks))
        spec.check_code(where, values["id"])
        return spec

    def check_code(self, where: str, planned: str = "") -> None:
        """Raise `UserError` where this process has other code than that which the run was planned with.

        where: what was written then. planned: the id that it had, by default the one of today.
        """
        planned, method = planned or self.id, registry.method(self.method)
        then, now = (self.method_version, self.plugin), registry.plugin_content(self.method)
        same = [(self.method, (method.version, now) == then)]
        same += [
            (name, bool(plugged.kind(name)) and plugins.code(name) == code)
            for name, code in self.kinds.items()
        ]
        weighting = (planned, BALANCES[self.balance].version) == (self.id, self.balance_version)
        if changed := [name for name, holds in (*same, (self.balance, weighting)) if not holds]:
            text = f"{changed[0]} has changed since {where} was written"
            raise UserError(f"{text}, so {planned} cannot run; plan it again.")

    @property
    def id(self) -> str:
        """Return the run's id; see `run_id`."""
        return run_id(self.as_dict())

    @property
    def folder(self) -> str:
        """Return where the run lives below the results folder."""
        one = "-" + "-".join(self.tasks) if self.tasks != self.protocol.tasks else ""
        balance = f"-{self.balance}" if self.balance != EQUAL else ""
        labels = self.labels.replace(":", "")
        return f"{self.protocol.name}/{self.method}{one}{balance}-{labels}-s{self.seed}-{self.id}"

    @property
    def seed(self) -> str:
        """Return `1`, or `0.1` for label seed 0 with train seed 1."""
        return f"{self.label_seed}" + (f".{self.train_seed}" if self.train_seed != self.label_seed else "")


def run_id(spec: dict[str, Any]) -> str:
    """Return 12 hex digits of the SHA-256 of a spec's canonical JSON, defaults left out.

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
        identity: dict[str, Any] = {key: spec[key] for key in IDENTITY} | {"protocol": changed}
        if spec["changed"]:
            identity["hyperparameters"] = {k: spec["hyperparameters"][k] for k in sorted(spec["changed"])}
        if spec["tasks"] != spec["protocol"]["tasks"]:
            identity["tasks"] = spec["tasks"]
        if spec["balance"] != EQUAL:
            identity["balance"] = spec["balance"]
        if spec.get("balance_version", 1) != 1:
            identity["balance_version"] = spec["balance_version"]
        if spec.get("lr_scale", 1.0) != 1.0:
            identity["lr_scale"] = spec["lr_scale"]
        identity |= {key: spec[key] for key in ("plugin", "tuning", "weighting", "kinds") if spec.get(key)}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"this is not a run's spec ({error!r}); restore the file or remove it.") from None
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@cache
def _defaults(kind: type[Protocol]) -> dict[str, Any]:
    """A protocol's defaults as a record's JSON has them: lists where the dataclass holds tuples."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(kind(name=""))))
    return plain
