"""`bench perf`: what the runs of a plan cost on this machine, in one table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import (
    DATA,
    RUNS,
    Answer,
    Data,
    Device,
    Plugin,
    Results,
    Set,
    What,
    say,
    show_table,
)

if TYPE_CHECKING:
    from benchmark.execute.data import Data as Splits
    from benchmark.spec.run import RunSpec

Row = dict[str, Any]

CPU_STEPS, CUDA_STEPS = 15, 100
CPU_IMAGES, CUDA_IMAGES = 8, 32  # evaluated; on a GPU where the protocol does not say how many
PEERS = Path(__file__).with_name("peers.toml")
STEPS_HELP = f"Timed steps of each row; by default {CPU_STEPS} on a CPU and {CUDA_STEPS} on a GPU."
PEERS_HELP = "Add the speeds of the published codes, which were measured on an H100."
# {header: (key of a row, format)}; a column that no row has a value for is left out.
COLUMNS = {
    "method": ("name", "{}"), "protocol": ("protocol_text", "{}"), "ms a step": ("ms", "{:.1f}"),
    "quartiles": ("quartiles", "{0[0]:.1f} - {0[1]:.1f}"), "images/s": ("images_per_second", "{:.1f}"),
    "peak GiB": ("peak_gib", "{:.2f}"), "captured": ("captured_gain", "{:.2f}x faster"),
    "evaluated images": ("evaluated", "{}"), "in s": ("evaluation_seconds", "{:.2f}"),
    "evaluated/s": ("evaluated_per_second", "{:.1f}"), "runs": ("runs", "{}"), "hours": ("hours", "{:.2g}"),
    "peer": ("peer", "{}"), "fp32 images/s": ("peer_fp32", "{:.1f}"), "x fp32": ("times_fp32", "{:.1f}"),
    "TF32 images/s": ("peer_tf32", "{:.1f}"), "x TF32": ("times_tf32", "{:.1f}"),
    "peer's GiB": ("peer_gib", "{:.1f}"),
}  # fmt: skip


def perf(
    what: What = None,
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    steps: Annotated[int | None, typer.Option(metavar="N", min=2, max=10**6, help=STEPS_HELP)] = None,
    results: Results = RUNS,
    data: Data = DATA,
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for perf.json.", show_default="perf/ of the results")
    ] = None,
    against_peers: Annotated[bool, typer.Option("--against-peers", help=PEERS_HELP)] = False,
) -> Answer:
    """Measure what the runs of a plan cost on this machine, on made-up samples."""
    from benchmark.execute.data import Data as Splits
    from benchmark.execute.options import pick_device
    from benchmark.files import dumps, write_text
    from benchmark.runs import provenance
    from benchmark.spec import plan as plans

    plan, device = plans.make(what or [], settings, data, taught=True), pick_device(device)
    machine = provenance.environment(device, plan.cells[0].protocol.threads)
    steps = steps or (CUDA_STEPS if device.startswith("cuda") else CPU_STEPS)
    rows, notes = measured(plan.cells, Splits(data, say), device, steps)
    if against_peers:
        notes += add_peers(rows, device)
    say(f"{machine['device']}, torch {machine['torch']}, load {machine['load']}")
    header, *body = lines(rows)
    show_table([dict(zip(header, line, strict=True)) for line in body])
    hours = [row["hours"] for row in rows if row["hours"] is not None]
    if hours and len(hours) == len(rows):
        notes.insert(0, f"plan {plan.name} takes {sum(hours):.2g} hours on this device, run after run")
    for note in notes:
        say(note)
    shown = {"plan": plan.name, "machine": machine, "steps": steps, "rows": rows, "notes": notes}
    out = out or results / "perf"
    write_text(out / "perf.json", dumps(shown))
    say(f"wrote {out / 'perf.json'}")
    return 0 if rows else 1, shown


def measured(cells: Sequence[RunSpec], data: Splits, device: str, steps: int) -> tuple[list[Row], list[str]]:
    """Return a row for each method, hyperparameters and protocol, and notes on what was not measured."""
    from benchmark.execute.attempt import out_of_memory
    from benchmark.execute.progress import row_name
    from benchmark.training.timing import measure

    grouped: dict[Any, list[RunSpec]] = defaultdict(list)
    for cell in cells:
        grouped[row_name(cell), cell.variant, repr(cell.protocol)].append(cell)
    rows, notes = [], []
    for (name, _, _), runs in grouped.items():
        p, cuda = runs[0].protocol, device.startswith("cuda")
        networks = list({spec.tasks: spec for spec in runs}.values())  # several of a one-task method
        images = (p.test_images or CUDA_IMAGES) if cuda else CPU_IMAGES
        try:
            row = measure(networks, data.tasks(runs[0]), device, steps, images)
        except Exception as error:  # a method's own failure must not take the others with it
            reason = "out of memory" if out_of_memory(error) else str(error) or type(error).__name__
            notes.append(f"{name} could not be measured: {reason.splitlines()[0]}")
            continue
        protocol = {key: getattr(p, key) for key in ("name", "batch", "width", "precision")}
        row |= {"name": name, "method": runs[0].method, "protocol": protocol | {"size": list(p.size)}}
        row |= {"protocol_text": f"{p.name} {p.size[0]}x{p.size[1]}, batch {p.batch}, {p.precision}"}
        row["runs"] = len(runs)
        row["hours"] = _hours(runs, row, data)
        rows.append(row)
        if row["hours"] is None:
            notes.append(f"the hours of {name} are unknown: {runs[0].variant} is not in {data.folder}")
        if cuda and row["reason"]:
            notes.append(f"{name} is not captured as a CUDA graph: {row['reason']}")
    return rows, notes


def _hours(runs: Sequence[RunSpec], row: Row, data: Splits) -> float | None:
    """Hours of training and evaluation of some runs; None where the number of images is not known."""
    from benchmark.spec import registry
    from benchmark.training.timing import run_steps

    seconds = 0.0
    for spec in runs:
        p = spec.protocol
        count = {"train": p.train_images, "test": p.test_images}
        if p.judge == "holdout" or None in count.values():
            if not registry.open_dataset(spec.variant, data.folder).here():
                return None
            count = {name: len(data.split(spec, name)) for name in count}
        evaluated = (p.evaluations + 1) * (count["test"] or 0) / row["evaluated_per_second"]
        seconds += run_steps(spec, count["train"] or 0) * row["ms"] / 1e3 + evaluated
    return seconds / row["networks"] / 3600


def add_peers(rows: Sequence[Row], device: str) -> list[str]:
    """Add the speeds of published codes to the rows under their protocol; return notes."""
    from benchmark.files import read_toml

    values = read_toml(PEERS)
    if not device.startswith("cuda"):
        return ["the peers' speeds are of an NVIDIA H100, so they are not compared with those of a CPU"]
    for row in rows:
        ours = row["protocol"] | {"method": row["method"]}
        for peer in values["peer"]:
            if all(ours[key] == value for key, value in peer["protocol"].items()):
                speeds, rate = peer["speeds"], row["images_per_second"]
                row |= {"peer": peer["name"]} | {f"peer_{key}": value for key, value in speeds.items()}
                row |= {f"times_{key}": rate / speeds[key] for key in ("fp32", "tf32") if key in speeds}
    if any("peer" in row for row in rows):
        return [f"peers: {values['source']}"]
    wanted = "; ".join(json.dumps(peer["protocol"]) for peer in values["peer"])
    return [f"no method was measured under a peer's protocol, which are: {wanted}"]


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return the header and the rows of the table as text, a dash for what a row does not have."""
    shown = {header: how for header, how in COLUMNS.items() if any(r.get(how[0]) is not None for r in rows)}
    body = [[f.format(r[key]) if r.get(key) is not None else "-" for key, f in shown.values()] for r in rows]
    return [list(shown), *body]
