"""`bench status` and `watch`: where runs stand, and one of them live, from the run folders alone."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import msgspec
import typer
from rich.live import Live
from rich.text import Text

from benchmark.cli.options import DATA, RUNS, Answer, Data, Json, Results, say
from benchmark.execute.options import Options
from benchmark.execute.progress import STYLES, duration, make_console
from benchmark.files import parse, read_bytes
from benchmark.runs.rundir import RunDir, every_run, find_run
from benchmark.runs.schema import Point

LOOK_SECONDS = 1.0  # between two looks at a run's folder
BLOCKS = "▁▂▃▄▅▆▇█"


def status(results: Results = RUNS, data: Data = DATA) -> Answer:
    """Show the state of every run in the results folder, and how far those under way are."""
    from benchmark.cli.cluster import mark

    Options(results, data)
    rows = [_row(run) for run in every_run(results)]
    unseen = mark(rows, results)
    if rows:
        make_console().print(Text("\n").join(map(_line, rows)), soft_wrap=True)
        counts = Counter(each["state"] for each in rows)
        say(", ".join(f"{count} {state}" for state, count in counts.items()))
    else:
        absent = "" if results.exists() else ", which does not exist"
        say(f"no runs in {results}{absent}; `bench run` makes some.")
    if unseen:
        say(f"note: {unseen}")
    return 0, rows


def watch(
    name: Annotated[str, typer.Argument(metavar="RUN")],
    once: Annotated[bool, typer.Option("--once", help="Draw what there is, and end.")] = False,
    results: Results = RUNS,
    as_json: Json = False,
) -> Answer:
    """Draw a run's losses and test scores while it runs; in a pipe, a line for each point of its curve."""
    run, console, told = find_run(results, name), make_console(), 0
    once = once or as_json
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not once else None
    with live or nullcontext():
        while True:
            row = _row(run)  # before the curve, whose last point is then there when the run is done
            points = _curve(run)
            if live:
                live.update(_picture(row, points), refresh=True)
            for point in () if live or once else (each for each in points if each.step > told):
                told = point.step
                values = ", ".join(f"{n} {v:.4g}" for n, v in _values(point).items())
                console.print(f"step {told}: {values}", soft_wrap=True)
            if once or row["state"] != "running":
                break
            time.sleep(LOOK_SECONDS)
    if not live:
        console.print(_picture(row, points) if once else _line(row), soft_wrap=True)
    return 0, row | {"curve": msgspec.to_builtins(points)}


def _row(run: RunDir) -> dict[str, Any]:
    """Return what `bench status` says of a run."""
    names: dict[str, Any] = {"run": f"{run.path.parent.name}/{run.name}", "id": run.name.rpartition("-")[2]}
    state = run.state()
    names |= {"state": state} | ({"reason": run.reason or "unknown"} if state == "failed" else {})
    if state == "running" and (at := run.progress).step:
        loss = at.loss if math.isfinite(at.loss) else None  # not logged yet
        left = at.left if math.isfinite(at.left) else None
        names |= {"step": at.step, "steps": at.steps, "loss": loss, "seconds_left": left}
    return names


def _line(row: dict[str, Any]) -> Text:
    about = f" ({row['reason']})" if "reason" in row else ""
    if "step" in row:
        loss = "" if row["loss"] is None else f", loss {row['loss']:.4g}"
        left = "" if row["seconds_left"] is None else f", {duration(row['seconds_left'])} left"
        about = f" (step {row['step']} of {row['steps']}{left}{loss})"
    return Text.assemble((f"{row['state']:8}", STYLES[row["state"]]), f" {row['run']}{about}")


def _curve(run: RunDir) -> list[Point]:
    """Return a run's curve so far; a line that is being written is left for the next look."""
    try:
        lines = read_bytes(run.file("curve.jsonl")).split(b"\n")[:-1]
        return [msgspec.convert(parse(line, json.loads), Point) for line in lines]
    except (OSError, ValueError):  # none yet, or half-written
        return []


def _values(point: Point) -> dict[str, float]:
    """Return {"loss TASK" and "test TASK": value} of a point."""
    parts = {"loss": point.loss, "test": point.test}
    return {f"{part} {n}": v for part, of in parts.items() for n, v in of.items() if v is not None}


def _picture(row: dict[str, Any], points: Sequence[Point]) -> Text:
    """Draw a line a loss or score: name, its values from the lowest to the highest as blocks, the last."""
    series: dict[str, list[float]] = {}
    for point in points:
        for name, value in _values(point).items():
            series.setdefault(name, []).append(value)
    width = max(map(len, series), default=0)
    lines = [
        Text.assemble(f"{name:{width}}  ", (f"{_sparks(series[name])}", "cyan"), f"  {series[name][-1]:.4g}")
        for name in sorted(series)
    ]
    return Text("\n").join([_line(row), *lines])


def _sparks(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(BLOCKS[int((value - low) / span * (len(BLOCKS) - 1))] for value in values)
