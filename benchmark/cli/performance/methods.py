"""The study of methods: what a step of each costs, of that the harness, and how near it comes to what the
device can do.
"""

from __future__ import annotations

from typing import Any

from benchmark.cli.performance.case import Case, Splits, build
from benchmark.cli.performance.ceiling import ceiling
from benchmark.cli.performance.found import Column, Found
from benchmark.cli.performance.measure import Timing, interleaved, ratio
from benchmark.cli.performance.subject import Ground
from benchmark.training.flops import workload

NOTE = (
    "ms: median and quartiles of steps as `bench run` takes them, a one-task method's over all its networks. "
    "GFLOP: counted in "
    "convolutions, matrix products and attention. ceiling: the device's own matrix product, {gflops:.0f} "
    "GFLOP/s at n = {n}. "
    "overhead: of feeding, augmentation and watching, over losses, backward, clip and optimiser on one batch "
    "that stands ready; "
    "feed: of that, gathering and augmentation"
)
COLUMNS = (
    Column("method", "name"),
    Column("ms", "ms", "{:.1f}"),
    Column("quartiles", "quartiles"),
    Column("images/s", "images_per_second", "{:.1f}"),
    Column("x baseline", "relative", "{:.2f}"),
    Column("GFLOP", "gflop", "{:.2f}"),
    Column("GFLOP/s", "gflops", "{:.1f}"),
    Column("of ceiling", "of_ceiling", "{:.0%}"),
    Column("overhead", "overhead", "{:.1%}"),
    Column("feed", "feed_share", "{:.1%}"),
    Column("peak GiB", "peak_gib", "{:.2f}"),
    Column("captured", "captured_gain", "{:.2f}x faster"),
)


def methods(ground: Ground) -> Found:
    protocol = ground.protocol
    best = ceiling(ground.device, protocol.precision, protocol.threads)
    splits, notes = Splits(), list[str]()
    rows: list[dict[str, Any]] = []
    base = build(ground.baseline, ground.tasks, ground.device, splits, notes) if ground.baseline else None
    for subject in ground.subjects:
        case = (
            base
            if base and subject == base.subject
            else build(subject, ground.tasks, ground.device, splits, notes)
        )
        if case:
            rows.append(_row(case, base, ground, best["gflops"]))
            if case.reason:
                notes.append(f"no step was captured as a CUDA graph where {case.reason}")
        del case  # before the next is built: its memory is a GPU's
    notes = [NOTE.format(**best), *dict.fromkeys(notes)]
    if not ground.device.startswith("cuda"):
        notes.append("peak GiB is counted on a GPU alone")
    return Found(
        "methods", f"a step of batch {protocol.batch} at {_size(protocol.size)}", COLUMNS, rows, tuple(notes)
    )


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _row(case: Case, base: Case | None, ground: Ground, best: float) -> dict[str, Any]:
    """base takes its turns beside every case, so that their ratio is of times that were measured together."""
    calls = case.variants()
    if base:
        calls["base"] = base.step
    found = interleaved(calls, ground.steps, ground.device)
    spec, protocol = case.subject.specs[0], case.subject.protocol
    tasks = {name: ground.tasks[name] for name in protocol.tasks}
    gflop = workload(spec.method, protocol, tasks, spec.hyperparameters).train_flops * protocol.batch / 1e9
    step, without = ("eager", "bare") if case.reason else ("captured", "bare captured")
    timing = found[step]
    gflops = gflop / timing.median * 1e3
    low, high = timing.quartiles
    row: dict[str, Any] = {
        "name": case.subject.name,
        "method": spec.method,
        "protocol": _protocol(case),
        "ms": timing.median,
        "quartiles": f"{low:.1f} - {high:.1f}",
        "images_per_second": protocol.batch / timing.median * 1e3,
        "relative": ratio(timing, found["base"]) if base and base is not case else 1.0 if base else None,
        "gflop": gflop,
        "gflops": gflops,
        "ceiling_gflops": best,
        "of_ceiling": gflops / best,
        "overhead": ratio(timing, found[without]) - 1,
        "feed_share": ratio(found["feed"], found[without]),
        "peak_gib": case.peak_gib,
        "captured": case.reason is None,
        "reason": case.reason,
        "captured_gain": None if case.reason else ratio(found["eager"], found["captured"]),
    }
    return row | {key: value for name, t in found.items() for key, value in _named(name, t).items()}


def _named(name: str, timing: Timing) -> dict[str, Any]:
    return timing.row(name.replace(" ", "_"))


def _protocol(case: Case) -> dict[str, Any]:
    """What a comparison with other people's figures must agree in, and with which arithmetic."""
    p = case.subject.protocol
    return {
        "name": p.name,
        "batch": p.batch,
        "size": list(p.size),
        "width": p.width,
        "precision": p.precision,
    }
