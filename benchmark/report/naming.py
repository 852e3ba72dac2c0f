"""The names of boards, which say where a protocol is not the shipped one of that name."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from benchmark.report.rows import Group, canonical, protocol_values, shipped_values
from benchmark.spec import protocol as protocols
from benchmark.spec.protocol import ABOUT

TITLE_CHANGES = 4  # in a title that must stay short


def protocol_summary(name: str) -> str:
    """Return what the shipped protocol of this name is for, "" for one that is not shipped."""
    return protocols.load(name).summary if name in protocols.names() else ""


def file_name(g: Group) -> str:
    """Return `quickstart-rooms-v1-one`, with a hash of other values than the shipped ones.

    It depends on the board alone, so that no later run renames it; values at their defaults and what is only
    said about a protocol are left out of the hash, so that a new protocol key or a trial does not either.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{g.protocol['name']}-{g.variant}-{g.labels}")
    if g.protocol == shipped_values(g.protocol["name"]):
        return plain
    defaults = protocol_values({"name": ""})
    changed = {k: v for k, v in g.protocol.items() if k not in ABOUT and v != defaults.get(k)}
    values = changed | {"version": g.protocol["version"]}
    return f"{plain}-{hashlib.sha256(canonical(values).encode()).hexdigest()[:6]}"


def protocol_changes(protocol: dict[str, Any]) -> list[str]:
    """Return `["epochs=1", "size=[32,64]"]`: the values that differ from the shipped protocol's.

    A protocol that is not shipped gives `["own protocol"]`; another version of a shipped one starts with
    `shipped: v2`.
    """
    shipped = shipped_values(protocol["name"])
    if shipped is None:
        return ["own protocol"]
    keys = [key for key in (*shipped, *sorted(protocol.keys() - shipped.keys())) if key not in ABOUT]
    return [
        f"shipped: v{shipped['version']}" if key == "version" else f"{key}={value_text(protocol[key])}"
        for key in keys
        if protocol[key] != shipped.get(key)
    ]


def protocol_title(protocol: dict[str, Any], limit: int | None = TITLE_CHANGES) -> str:
    """Return `quickstart v1 (epochs=1)`, with at most `limit` differences, all for None."""
    changes = protocol_changes(protocol)
    listed = ", ".join(changes[:limit])
    if limit is not None and len(changes) > limit:
        listed += f" and {len(changes) - limit} more"
    return f"{protocol['name']} v{protocol['version']}" + (f" ({listed})" if changes else "")


def title(g: Group, limit: int | None = TITLE_CHANGES) -> str:
    """Return `quickstart v1: rooms-v1, labels 'one'`."""
    return f"{protocol_title(g.protocol, limit)}: {g.variant}, labels '{g.labels}'"


def value_text(value: Any) -> str:
    """Return a value as people write it: `1`, `0.5`, `resnet18`, `[32,64]`."""
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else canonical(value)
