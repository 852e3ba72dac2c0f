"""`bench perf`: what is timed, and the arithmetic of its table; no time is compared."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.cli import perf
from benchmark.files import read_toml
from benchmark.spec import registry
from benchmark.spec.protocol import load
from benchmark.training import cuda_graph, timing
from benchmark.training.batches import Feed
from benchmark.training.cuda_graph import Loop
from benchmark.training.loop import Options, Run
from benchmark.training.timing import interleaved, made_up, measure, ratio, run_steps
from tests import tape
from tests.conftest import Bench
from tests.helpers import METHODS, TASKS, specs, tiny_spec

VALUES = ("size=[32, 64]", "width=8", "batch=4", "decoder_blocks=1", "train_images=16", "test_images=6")
TINY = [*(part for value in VALUES for part in ("--set", value)), "--steps", 2, "--device", "cpu"]


def test_variants_take_turns_and_ratios_are_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock) / 1e3)
    calls: list[str] = []
    variants = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert interleaved(variants, 3, "cpu")["a"] == pytest.approx((1.0, 1.0, 1.0)) and calls == [*"ababab"]
    calls.clear()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    assert len(interleaved(variants, 10, "cuda")["a"]) == 2
    assert calls == 2 * [part for name in "ab" for part in ("wait", *[name] * 5, "wait")]
    # The machine slows down by 10 in the middle; medians of either side alone would say something else.
    assert ratio((2.0, 20.0, 22.0), (1.0, 10.0, 10.0)) == 2.0


@pytest.mark.parametrize("labels", ["full", "one", "random", "fraction:0.25"])
@pytest.mark.parametrize("budget", ["epochs", "steps"])
def test_steps_are_those_of_the_run(labels: str, budget: str) -> None:
    for method in ("multi_task", "single_task"):
        spec = specs(method, labels=labels, budget=budget, batch=2)[-1]
        tasks = {name: TASKS[name] for name in spec.protocol.tasks}
        split = made_up(tasks, (32, 64), 40)
        assert run_steps(spec, 40) == Run(spec, split, split, tasks, Options()).feed.steps


def test_a_step_is_one_of_every_network_and_batches_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEPS", 6)
    seen: list[tuple[str, int]] = []
    original = Feed.batch

    def batch(self: Feed, step: int) -> Any:
        seen.append((next(iter(self.tasks)), step))
        return original(self, step)

    monkeypatch.setattr(Feed, "batch", batch)
    row = measure(specs("single_task", labels="one"), TASKS, "cpu", 3, 2)
    assert seen[-3:] == [("semseg", 1), ("depth", 1), ("normals", 1)]
    assert row["networks"] == 3 and row["reason"] == "there are no CUDA graphs on cpu"
    assert row["peak_gib"] is None and row["captured_gain"] is None and len(row["ms_all"]) == 3
    assert row["images_per_second"] == pytest.approx(4e3 / row["ms"])
    assert row["evaluated_per_second"] == pytest.approx(2 / row["evaluation_seconds"])


def test_where_steps_are_captured_these_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tape stands for the graph, as in the tests of capture."""
    original, used = Loop.__init__, list[bool]()

    def allowed(self: Loop, feed: Any, stepper: Any, name: str = "equal", wanted: bool = True) -> None:
        original(self, feed, stepper, name, wanted)
        self.reason = None if wanted else self.reason

    monkeypatch.setattr(Loop, "__init__", allowed)
    monkeypatch.setattr(cuda_graph, "record", tape.record)

    def take(self: Run, step: int, loop: Loop, take: Any = Run.take) -> None:
        take(self, step, loop)
        used.append(loop.captured)

    monkeypatch.setattr(Run, "take", take)
    row = measure(specs("mtpsl", labels="one"), TASKS, "cpu", 2, 2)
    assert row["reason"] is None and row["captured_gain"] > 0 and used[-4:] == [False, True] * 2


def test_peers_stand_beside_what_was_measured_under_their_protocol() -> None:
    for peer in read_toml(perf.PEERS)["peer"]:  # which can be measured
        ours = peer["protocol"]
        assert ours["method"] in registry.method_names()
        assert list(load(ours["name"]).size) == ours["size"]
    protocol = {"name": "nyuv2-13-segnet", "batch": 2, "size": [288, 384], "width": 64, "precision": "bf16"}
    row = {"method": "mtpsl", "protocol": protocol, "images_per_second": 100.0}
    (note,) = perf.add_peers([row], "cuda")
    assert "peers.md" in note and row["peer_fp32"] == 10.2 and row["times_tf32"] == pytest.approx(100 / 12.3)
    for changed in ({"name": "thin"}, {"size": [144, 192]}, {"batch": 3}):
        other = {"method": "mtpsl", "protocol": protocol | changed, "images_per_second": 100.0}
        (note,) = perf.add_peers([other], "cuda")
        assert "peer" not in other and "no method was measured under a peer's protocol" in note
    assert "not compared with those of a CPU" in perf.add_peers([dict(row)], "cpu")[0]


def test_the_command_writes_what_it_prints(bench: Bench, tmp_path: Path) -> None:
    """Rows of one method are told apart, and hours are of all runs: 2 widths, 2 seeds, 3 networks of one."""
    what = ("single_task", "mtpsl", "--set", "hparams.mapper_width=[8, 16]", "--set", "seeds=2")
    code, printed, told = bench("perf", *what, *TINY, "--out", tmp_path, "--against-peers", "--json")
    content = json.loads(printed)
    assert code == 0 and content == json.loads((tmp_path / "perf.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    widths = [f"mtpsl(mapper_stride=8, mapper_width={width})" for width in (8, 16)]
    assert list(rows) == ["single_task", *widths] and [r["runs"] for r in rows.values()] == [6, 2, 2]
    row = rows[widths[0]]
    evaluated = 3 * 6 / row["evaluated_per_second"]  # two evaluations on the way
    assert row["hours"] == pytest.approx(2 * (24 * row["ms"] / 1e3 + evaluated) / 3600)  # 6 epochs of 16 / 4
    assert content["machine"]["device"].startswith("CPU") and "peak GiB" not in told
    assert "hours on this device" in content["notes"][0] and "not compared with those of a CPU" in told


def test_a_method_that_fails_is_a_note(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken\nand more")

    monkeypatch.setattr(registry.method("multi_task"), "losses", fail)
    code, out, _ = bench("perf", "multi_task", *TINY, "--out", tmp_path)
    assert code == 1 and "multi_task could not be measured: broken\n" in out


def test_frozen_labels_and_weights_are_not_needed() -> None:
    spec = timing.measurable(tiny_spec(labels="published:one", weights="imagenet", encoder="resnet18"))
    assert spec.labels == "one" and spec.protocol.weights == "none"


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_on_a_gpu_every_method_is_captured(method: str) -> None:
    row = measure(specs(method, labels="one"), TASKS, "cuda", 5, 8)
    assert row["reason"] is None and row["peak_gib"] > 0 and row["captured_gain"] > 0
