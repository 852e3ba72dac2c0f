"""Ids: literal, order-insensitive, unmoved by new keywords with defaults, moved by everything that moves
numbers.
"""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.spec import registry
from benchmark.spec import run as spec
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec, run_id
from tests.benchmark.test_ids import PLAIN
from tests.helpers import tiny_spec

DEFAULTS = Path(__file__).parent / "defaults.json"


def plain(**changes: Any) -> RunSpec:
    return replace(PLAIN, **changes)


def test_a_new_keyword_with_a_default_moves_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    one = plain()
    more = replace(one, hyperparameters=one.hyperparameters | {"gamma": 7})
    assert more.id == one.id
    wider = dataclasses.make_dataclass("Protocol", [("added", int, 5)], bases=(Protocol,), frozen=True)
    monkeypatch.setattr(spec, "Protocol", wider)
    assert replace(one, protocol=wider("p", tasks=("semseg", "depth"))).id == one.id
    assert replace(one, protocol=wider("p", tasks=("semseg", "depth"), added=6)).id != one.id


@pytest.mark.parametrize(
    "change",
    [
        {"labels": "random"},
        {"variant": "rooms-v2"},
        {"dataset": "other"},
        {"method": "x"},
        {"method_version": 2},
        {"label_seed": 1},
        {"train_seed": 1},
        {"balance": "dwa"},
        {"tasks": ("depth",)},
        {"protocol": Protocol("p", version=2, tasks=("semseg", "depth"))},
        {"protocol": Protocol("p", lr=1.0, tasks=("semseg", "depth"))},
        {"protocol": Protocol("p", tasks=("depth", "semseg"))},
    ],
)
def test_whatever_moves_numbers_moves_the_id(change: dict[str, Any]) -> None:
    assert replace(plain(), **change).id != plain().id


def test_prose_does_not_move_the_id() -> None:
    assert replace(plain(), protocol=replace(plain().protocol, summary="words")).id == plain().id


def test_a_broken_spec_is_named() -> None:
    broken = plain().as_dict()
    del broken["protocol"]
    with pytest.raises(UserError, match="not a run's spec"):
        run_id(broken)


def current_defaults() -> dict[str, Any]:
    methods = {
        n: {"version": registry.method(n).version, "defaults": registry.hyperparameters(n)[0]}
        for n in registry.method_names()
    }
    return json.loads(
        json.dumps({"protocol": dataclasses.asdict(Protocol("")), "schema": spec.SCHEMA, "methods": methods})
    )


def test_a_changed_default_needs_a_version_bump() -> None:
    """Ids leave defaults out, so a default may only change together with the version that ids hold.

    After a bump, or a new keyword, write the file anew: `python -m tests.benchmark.test_spec`.
    """
    pinned, now = json.loads(DEFAULTS.read_text()), current_defaults()
    for key, value in pinned["protocol"].items():
        assert now["protocol"][key] == value or now["schema"] > pinned["schema"], (
            f"the protocol's default of {key} changed"
        )
    for name, old in pinned["methods"].items():
        if now["methods"][name]["version"] == old["version"]:
            for key, value in old["defaults"].items():
                assert now["methods"][name]["defaults"].get(key) == value, (
                    f"{name}: default of {key} changed: bump its version"
                )
    assert now == pinned, (
        "keywords were added or versions bumped: pin them with `python -m tests.benchmark.test_spec`"
    )


def test_hyperparameters_come_from_the_signature() -> None:
    one = tiny_spec("multi_task")
    assert one.hyperparameters == {} and one.changed == ()
    values, changed = registry.resolve_hyperparameters("prototype", {"codes": 4096, "tc_margin": 1})
    assert (
        changed == () and values["tc_margin"] == 1.0
    )  # given at their defaults, a whole number for a number
    values, changed = registry.resolve_hyperparameters("prototype", {"codes": 8})
    assert changed == ("codes",) and values["codes"] == 8
    with pytest.raises(UserError, match="did you mean 'lambda_tae'"):
        registry.resolve_hyperparameters("prototype", {"lamda_tae": 1.0})
    with pytest.raises(UserError, match=r"codes is 'many'; expected a whole number"):
        registry.resolve_hyperparameters("prototype", {"codes": "many"})


if __name__ == "__main__":
    DEFAULTS.write_text(json.dumps(current_defaults(), indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize("name", registry.method_names())
def test_a_spec_comes_back_from_its_plain_values(name: str) -> None:
    one = tiny_spec(name, loss_weights={"depth": 2.0}, test_images=4)
    values = json.loads(json.dumps(one.as_dict() | {"id": one.id}))
    assert RunSpec.from_dict(values, "a file") == one


def test_a_spec_that_means_another_run_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tiny_spec()
    values = one.as_dict() | {"id": one.id}
    for edited in (values | {"label_seed": 7}, one.as_dict()):
        with pytest.raises(UserError, match=r"a file was edited: the id .* is not that of its spec"):
            RunSpec.from_dict(edited, "a file")
    monkeypatch.setattr(registry.method(one.method), "version", 99)
    with pytest.raises(
        UserError, match=f"has changed since a file was written, so {one.id} cannot run; plan it again"
    ):
        RunSpec.from_dict(values, "a file")
