"""Ids are for ever: literals of every part that enters them, of shipped plans and of committed records."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.spec import plan, registry, tuning
from benchmark.spec import run as runs
from benchmark.spec.protocol import Protocol
from benchmark.spec.run import RunSpec, run_id
from benchmark.spec.weighting import BALANCES
from tests.conftest import ROOT
from tests.helpers import tiny_spec

NOWHERE = Path("no-such-data")
DEFAULTS = Path(__file__).parent / "defaults.json"
PROTOCOL = Protocol("p", tasks=("semseg", "depth"))
DEFAULTS_OF_IT = {"alpha": 1.0, "beta": True}
TASKS = ("semseg", "depth")
PLAIN = RunSpec(PROTOCOL, "rooms", "rooms-v1", "one", "some_method", 1, DEFAULTS_OF_IT, (), TASKS, 0, 0)
RATES = "learning rates 0.3, 1, 3 (of the protocol's) on 2 seeds, judged on the last 10% of train"
VALUES = {"lr": 1e-7, "loss_weights": {"depth": 2.0}, "train_images": 20, "size": (64, 64), "scales": (1.0,)}
ALPHA = {"changed": ("alpha",)}
UMLAUTS = {"dataset": "zimmer-ä", "variant": "zimmer-ä-v1", "protocol": replace(PROTOCOL, name="prüfung")}
LITERALS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, "0145807fcebd"),
    "infinity": (ALPHA | {"hyperparameters": {"alpha": math.inf, "beta": True}}, "2c9b3e501e1a"),
    "none": (ALPHA | {"hyperparameters": {"alpha": None, "beta": True}}, "ef50e0c94ca4"),
    "one task": ({"tasks": ("depth",)}, "b118a9a7c0d4"),
    "weighting": ({"balance": "dwa"}, "5f870d262875"),
    "its keyword": ({"balance": "amtl_g", "weighting": {"gamma": 1.0}}, "20df65ba891f"),
    "plug-in": ({"plugin": "0123456789ab"}, "0c1aa6995c5d"),
    "tuning": ({"tuning": "20 trials on the last 10% of train"}, "c1f12598ac82"),
    "rate": ({"tuning": RATES, "lr_scale": 0.3}, "acf7d4715fbd"),
    "lr_scale": ({"lr_scale": 3.0}, "2957f258cdda"),
    "holdout": ({"protocol": replace(PROTOCOL, judge="holdout", holdout=0.2)}, "f3fc7f4c5d2d"),
    "protocol values": ({"protocol": replace(PROTOCOL, **VALUES)}, "05387db79316"),
    "unicode": (UMLAUTS, "bdb37e08dc03"),
}
# {plan: (runs, digest of their ids in order)}, without data; judged on the test set and as it is tuned.
PLANS = {
    "ablation-scenes": (16, "edc3d2c0af1d"),
    "balancing": (175, "19f9ac48a744"),
    "balancing-scenes": (38, "4ceb396f87de"),
    "cityscapes": (25, "ad18a55df877"),
    "encoder-swap": (90, "7a3808ce87d7"),
    "field": (28, "71da5dbc181f"),
    "hitts-ablation": (45, "84f87e5b4e7b"),
    "label-budget": (150, "2229223fe42b"),
    "label-budget-scenes": (60, "99ffb79df88d"),
    "newer-nyuv2-small": (50, "80b0d0000157"),
    "newer-scenes": (50, "af92c11154c8"),
    "nyuv2": (60, "944ebe4c4d35"),
    "nyuv2-40": (70, "6fc592daa063"),
    "nyuv2-small": (110, "a9b8054f4869"),
    "nyuv2-small-controls": (70, "a0b1c352c38c"),
    "nyuv2-small-budget": (75, "d5c7517fbe7b"),
    "nyuv2-small-one-rate": (20, "aaeb32efc786"),
    "nyuv2-small-sources": (30, "f7ca0caaade9"),
    "nyuv2-smoke": (6, "e6e497492b91"),
    "pascal-context": (80, "3322e6f1068f"),
    "prototype-ablation": (50, "bbfc8ff5c768"),
    "prototype-controls": (70, "9e8a93c47d1a"),
    "prototype-dimension": (45, "ec4a6d4398b4"),
    "quickstart": (12, "3cfa51a9c73a"),
    "seed-variance": (125, "b0073bcf4373"),
    "seed-variance-scenes": (36, "64720eed8ef7"),
    "sources-scenes": (20, "537bfa5424ec"),
    "thin": (12, "cd428ac2791f"),
}


def listed(cells: Iterable[RunSpec]) -> tuple[int, str]:
    ids = [cell.id for cell in cells]
    return len(ids), hashlib.sha256(" ".join(ids).encode()).hexdigest()[:12]


@pytest.mark.parametrize("case", LITERALS)
def test_literal_ids_never_change(case: str) -> None:
    changes, literal = LITERALS[case]
    one = replace(PLAIN, **changes)
    assert one.id == literal
    shuffled = json.loads(json.dumps(dict(reversed(one.as_dict().items()))))
    assert run_id(shuffled) == literal


def test_a_folder_names_the_run() -> None:
    one = replace(PLAIN, tasks=("depth",), balance="dwa", labels="published:one", label_seed=3)
    assert one.folder == f"p/some_method-depth-dwa-publishedone-s3.0-{one.id}"


@pytest.mark.parametrize("name", PLANS)
def test_the_runs_of_a_shipped_plan_keep_their_ids(name: str) -> None:
    assert listed(plan.make([name], [], NOWHERE).cells) == PLANS[name]
    assert PLANS.keys() == set(plan.names()) - {"own-data"}


def test_trials_of_rates_keep_their_ids() -> None:
    """Records of such trials are kept for months and taken up by a later search."""
    searches = tuning.rate_searches(
        plan.make(["nyuv2-small"], [], NOWHERE), [0.3, 1.0, 3.0], [100, 101], epochs=20.0
    )
    trials = [spec for search in searches for spec in search.runs]
    assert listed(trials) == (60, "231a3ece3427")
    assert {"8fb1af077c12", "e003de8ec860"} <= {spec.id for spec in trials}


# Keys that specs and their protocols did not have once.
LATER = {"kinds": {}, "contrasts": [], "balance_version": 1, "weighting": {}}
LATER_PROTOCOL = {"controls": [], "cost": {}, "init": "none", "sampling": "proportional"}


def test_every_committed_record_decodes_to_its_id() -> None:
    paths = [*(ROOT / "results").glob("records/*.json"), *(ROOT / "results").glob("trials/*.json")]
    assert paths
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["id"] == run_id(record["spec"]) == path.stem
        spec = RunSpec.from_dict(record["spec"] | {"id": record["id"]}, str(path))
        protocol = LATER_PROTOCOL | record["spec"]["protocol"]
        assert spec.id == record["id"]
        assert spec.as_dict() == LATER | record["spec"] | {"protocol": protocol}


def test_a_new_keyword_with_a_default_moves_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    one = PLAIN
    more = replace(one, hyperparameters=one.hyperparameters | {"gamma": 7})
    assert more.id == one.id
    wider = dataclasses.make_dataclass("Protocol", [("added", int, 5)], bases=(Protocol,), frozen=True)
    monkeypatch.setattr(runs, "Protocol", wider)
    assert replace(one, protocol=wider("p", tasks=("semseg", "depth"))).id == one.id
    assert replace(one, protocol=wider("p", tasks=("semseg", "depth"), added=6)).id != one.id


def test_a_new_version_of_a_weighting_makes_other_runs_and_its_first_is_that_of_earlier_records() -> None:
    one = replace(PLAIN, balance="mgda")
    earlier = {key: value for key, value in one.as_dict().items() if key != "balance_version"}
    assert run_id(earlier) == one.id != replace(one, balance_version=2).id
    spec = plan.make(["thin"], ["balance=mgda", "method=multi_task"], NOWHERE).cells[0]
    assert spec.balance_version == BALANCES["mgda"].version == 2
    assert RunSpec.from_dict(spec.as_dict() | {"id": spec.id}, "spec.json") == spec
    old = replace(spec, balance_version=1)
    with pytest.raises(UserError, match=r"mgda has changed since spec\.json was written.*plan it again"):
        RunSpec.from_dict(old.as_dict() | {"id": old.id}, "spec.json")


def test_about_a_protocol_nothing_moves_the_id_and_its_version_does() -> None:
    told = {"summary": "words", "doubled": {"m": 3.2}, "demonstration": True, "cost": {"depth": 1}}
    assert replace(PLAIN, protocol=replace(PROTOCOL, **told)).id == PLAIN.id
    for change in ({"version": 2}, {"lr": 1.0}, {"tasks": ("depth", "semseg")}):
        assert replace(PLAIN, protocol=replace(PROTOCOL, **change)).id != PLAIN.id


def current_defaults() -> dict[str, Any]:
    methods = {n: {"version": registry.method(n).version, "defaults": registry.hyperparameters(n)[0]}
               for n in registry.method_names()}  # fmt: skip
    found = {"protocol": dataclasses.asdict(Protocol("")), "schema": runs.SCHEMA, "methods": methods}
    return json.loads(json.dumps(found))


def test_a_changed_default_needs_a_version_bump() -> None:
    """Ids leave defaults out, so a default may only change together with the version that ids hold.

    After a bump, or a new keyword, write the file anew: `python -m tests.benchmark.test_ids`.
    """
    pinned, now = json.loads(DEFAULTS.read_text()), current_defaults()
    for key, value in pinned["protocol"].items():
        assert now["protocol"][key] == value or now["schema"] > pinned["schema"], f"{key} changed"
    for name, old in pinned["methods"].items():
        if now["methods"][name]["version"] == old["version"]:
            for key, value in old["defaults"].items():
                found = now["methods"][name]["defaults"].get(key)
                assert found == value, f"{name}: default of {key} changed: bump its version"
    assert now == pinned, "new keywords or versions: pin them with `python -m tests.benchmark.test_ids`"


def test_hyperparameters_come_from_the_signature() -> None:
    one = tiny_spec("multi_task")
    assert one.hyperparameters == {} and one.changed == ()
    values, changed = registry.resolve_hyperparameters("prototype", {"codes": 4096, "tc_margin": 1})
    assert changed == () and values["tc_margin"] == 1.0  # at its default, a whole number for a number
    values, changed = registry.resolve_hyperparameters("prototype", {"codes": 8})
    assert changed == ("codes",) and values["codes"] == 8
    with pytest.raises(UserError, match="did you mean 'lambda_tae'"):
        registry.resolve_hyperparameters("prototype", {"lamda_tae": 1.0})
    with pytest.raises(UserError, match=r"codes is 'many'; expected a whole number"):
        registry.resolve_hyperparameters("prototype", {"codes": "many"})


def test_a_spec_that_means_another_run_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = tiny_spec()
    values = one.as_dict() | {"id": one.id}
    for edited in (values | {"label_seed": 7}, one.as_dict()):
        with pytest.raises(UserError, match=r"a file was edited: the id .* is not that of its spec"):
            RunSpec.from_dict(edited, "a file")
    monkeypatch.setattr(registry.method(one.method), "version", 99)
    message = f"has changed since a file was written, so {one.id} cannot run; plan it again"
    with pytest.raises(UserError, match=message):
        RunSpec.from_dict(values, "a file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_seed": -1}, "label_seed is -1; expected a whole number >= 0"),
        ({"lr_scale": float("inf")}, "lr_scale is inf; expected a number <= "),
        ({"labels": "x" * 5000}, "labels is 'xx.*; expected a text of length <= 200"),
    ],
)
def test_a_spec_out_of_bounds_is_refused(change: dict[str, Any], message: str) -> None:
    values = tiny_spec().as_dict() | change
    with pytest.raises(UserError, match=f"a file: {message}"):
        RunSpec.from_dict(values | {"id": run_id(values)}, "a file")
    broken = {key: value for key, value in values.items() if key != "protocol"}
    with pytest.raises(UserError, match="not a run's spec"):
        run_id(broken)


if __name__ == "__main__":
    DEFAULTS.write_text(json.dumps(current_defaults(), indent=1, sort_keys=True) + "\n")
