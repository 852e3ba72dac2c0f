"""Medians, ratios and exponents by hand, and variants that take turns; no time is asserted."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import pytest
import torch

from benchmark.cli.performance import ceiling, measure, synthetic
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.measure import Timing, exponent, interleaved, ratio
from tests.helpers import TASKS, tiny_split


def test_a_timing_keeps_every_value() -> None:
    timing = Timing((4.0, 1.0, 2.0, 3.0, 100.0))
    assert timing.median == 3.0 and timing.quartiles == (2.0, 4.0)
    expected = {"step_ms": 3.0, "step_q1": 2.0, "step_q3": 4.0, "step_all": [4.0, 1.0, 2.0, 3.0, 100.0]}
    assert timing.row("step") == expected


def test_a_ratio_is_of_turns_side_by_side() -> None:
    """The machine slows down by 10 in the middle; medians of either side alone would say something else."""
    assert ratio(Timing((2.0, 20.0, 22.0)), Timing((1.0, 10.0, 10.0))) == 2.0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(power: float) -> None:
    found = exponent([2, 3, 4, 6], [7 * x**power for x in (2, 3, 4, 6)])
    assert found == pytest.approx(power)
    assert exponent([2], [3]) is None


def test_variants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock) / 1e3)
    calls: list[str] = []
    found = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, "cpu")
    assert calls == ["a", "b"] * 3
    assert found["a"].ms == pytest.approx((1.0, 1.0, 1.0))


def test_on_a_gpu_a_turn_is_several_calls_and_the_queue_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: said.append("wait"))
    found = interleaved({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, 10, "cuda")
    turn = [part for name in "ab" for part in ("wait", *[name] * 5, "wait")]
    assert said == turn * 2 and len(found["a"].ms) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_ceiling_is_the_best_of_a_few_products(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceiling.SIZES, "cpu", (8, 16))
    times = {8: Timing((1.0,)), 16: Timing((2.0,))}  # ms
    sizes = iter((8, 16))
    monkeypatch.setattr(
        ceiling, "interleaved", lambda calls, repeats, device: {"": (calls[""](), times[next(sizes)])[1]}
    )
    assert ceiling.ceiling("cpu", precision, 1) == {"gflops": 2 * 16**3 / 2e6, "n": 16}


def test_made_up_samples_are_as_data_sets_store_them() -> None:
    split, like = synthetic.split(TASKS, (32, 64), 3), tiny_split(3)
    assert (
        split.images.shape == (3, 3, 32, 64)
        and split.images.dtype == torch.uint8
        and bool(split.available.all())
    )
    for name, task in TASKS.items():
        target = split.targets[name]
        assert target.shape == like.targets[name].shape and target.dtype == like.targets[name].dtype, name
        assert bool(task.valid(target).all()), name
        if task.is_map_of_integers:
            assert int(target.min()) >= 0 and int(target.max()) < max(2, task.channels), name
    again = synthetic.split(TASKS, (32, 64), 3)
    assert torch.equal(split.images, again.images) and torch.equal(
        split.targets["depth"], again.targets["depth"]
    )


def test_a_table_shows_a_dash_for_what_is_not_there_and_no_empty_column() -> None:
    columns = (Column("name", "name"), Column("ms", "ms", "{:.1f}"), Column("GiB", "gib"))
    table = Found("x", "y", columns, [{"name": "a", "ms": 1.26}, {"name": "b", "ms": None}]).table()
    assert [c.header for c in table.columns] == ["name", "ms"]
    assert [list(c.cells) for c in table.columns] == [["a", "b"], ["1.3", "-"]]


def test_no_timing_is_nan() -> None:
    assert all(math.isfinite(ms) and ms >= 0 for ms in interleaved({"a": lambda: None}, 2, "cpu")["a"].ms)


def test_peers_file_is_beside_the_code() -> None:
    assert (Path(measure.__file__).parent / "peers.toml").is_file()
