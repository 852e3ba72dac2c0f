"""`bench perf`: measure what runs cost on this machine, print it, and keep it as JSON and as a figure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmark.cli.runs import pick_device
from benchmark.cli.scripts import aside
from benchmark.errors import UserError, unknown
from benchmark.execute.progress import make_console
from benchmark.files import replacing, writing

CPU_STEPS, CUDA_STEPS = 15, 100


def perf(
    methods: list[str], source: str, studies: list[str], settings: list[str], steps: int | None,
    results: Path, data: Path,
    published: Path, device: str, out: Path | None, against_peers: bool, as_json: bool,
) -> int:  # fmt: skip
    """Make the studies, in the order given, and write `perf.json` and the figure `perf` to `out`, else to
    <results>/perf.

    Raises `UserError` for unknown studies and methods, for a plan of several protocols, and for what a study
    raises it for. Exit code 1 where no study measured anything.
    """
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "9"
    )  # the profiler's own messages; torch reads this when it is imported
    from benchmark.cli.performance import figure, peers, study, subject

    for name in studies:
        if name not in study.STUDIES:
            raise unknown("study", name, study.STUDIES)
    if steps is not None and steps < 2:
        raise UserError(f"--steps {steps} gives no median with quartiles; time 2 or more.")
    with aside(as_json):  # what a method prints, too
        device = pick_device(device)
        count = steps or (CUDA_STEPS if device.startswith("cuda") else CPU_STEPS)
        ground = subject.ground(methods, source, settings, data, published, device, count)
        machine = study.machine(ground)
        console = make_console()
        console.print(_heading(machine), soft_wrap=True)
        found = []
        for name in dict.fromkeys(studies):
            found.append(study.STUDIES[name](ground))
            _show(found[-1], console)
        if against_peers:
            measured = next((f for f in found if f.name == "methods"), None)
            found.append(peers.against(measured, device, machine["device"]))
            _show(found[-1], console)
        place = out or results / "perf"
        content = {"machine": machine, "studies": {f.name: f.as_dict() for f in found}}
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            with replacing(place / "perf.json", "perf") as draft:
                draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            paths = [place / "perf.json", *figure.draw(found, _heading(machine), place / "perf")]
        for path in paths:
            console.print(f"wrote {path}", soft_wrap=True)
    if as_json:
        print(json.dumps(content, indent=1))
    return 0 if any(f.rows for f in found) else 1


def _show(found: Any, console: Console) -> None:
    console.print(f"[bold]{found.name}[/]: {found.title}", soft_wrap=True)
    if found.rows:
        console.print(found.table())
    for note in found.notes:
        console.print(f"{note}.", soft_wrap=True)


def _heading(machine: dict[str, Any]) -> str:
    size = "x".join(map(str, machine["size"]))
    busy = "" if machine["load"] is None else f", load {machine['load']:.1f} of {machine['cores']} cores"
    return (
        f"{machine['device']}, torch {machine['torch']}, {machine['threads']} "
        f"thread{'s' * (machine['threads'] > 1)}{busy}; "
        f"{machine['protocol']}: {machine['encoder']} at {size}, batch {machine['batch']}, "
        f"{machine['precision']}"
    )
