"""`bench leaderboard`, `publish`, `clean`: from finished runs to boards, to published records, and to free space."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmark import registry
from benchmark.errors import UserError
from benchmark.progress import make_console
from benchmark.scripts import for_scripts
from benchmark.spec import run_id
from benchmark.store import RunDir, every_run, read_json, replacing, writing

if TYPE_CHECKING:
    from benchmark.report.leaderboard import Board, Written

LIMITS = {".json": 16 * 1024, ".npz": 64 * 1024, ".webp": 60 * 1024}  # bytes of a published record's files


def boards_of(folder: Path) -> list[Board]:
    """The boards of all records in a results folder, or in a folder of published records."""
    from benchmark.report import frame, leaderboard

    if not folder.is_dir():
        return []
    collection = frame.collect(folder, run_id)
    used = {r.spec["method"] for r in collection.records} | {f.spec["method"] for f in collection.failures}
    current = {name: registry.method(name).version for name in used.intersection(registry.method_names())}
    return leaderboard.build(collection, current)


def write_boards(boards: list[Board], folder: Path, console: Console, complete: bool = False) -> Written:
    """Write tables and figures and say where they are. complete: these are all boards; files of others are removed."""
    from benchmark.report import leaderboard

    written = leaderboard.write(boards, folder, complete=complete)
    for path in written.paths:
        if path.suffix in (".csv", ".md"):
            console.print(f"wrote {path}", soft_wrap=True)
    for place in sorted({p.parent for p in written.paths if p.suffix == ".png"}):
        count = sum(p.parent == place and p.suffix == ".png" for p in written.paths)
        console.print(f"wrote {count} figures, as SVG and PNG, in {place}", soft_wrap=True)
    for note in written.notes:
        console.print(f"note: {note}", soft_wrap=True)
    return written


def show(results: Path, published: Path, use_published: bool, check: bool, as_json: bool = False) -> int:
    """Print and write all boards; with `check`, compare with what is on disk instead and write nothing."""
    from benchmark.report import leaderboard
    from benchmark.report.objects import objects

    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        console = make_console()
        folder = published if use_published else results
        boards = boards_of(folder / "records" if use_published else folder)
        if not boards and use_published:
            raise UserError(
                f"no run is published in {folder}; `bench publish` publishes finished ones, --published-in names another folder."
            )
        if not boards:
            raise UserError(f"there are no finished runs in {folder}; `bench run` makes some, --results names another folder.")
        if check:
            shown["differences"] = differences = leaderboard.check(boards, folder)
            for difference in differences:
                console.print(difference, soft_wrap=True)
            if differences:
                console.print(
                    f"{len(differences)} differences; regenerate with `bench leaderboard{' --published' * use_published}`."
                )
                return 1
            console.print(f"the tables in {folder} are what the records give.")
            return 0
        for board in boards:
            console.print(leaderboard.text(board))
        written = write_boards(boards, folder, console, complete=True)
        shown["boards"] = [
            {"name": board.name, "files": _files_of(board, written.paths), "rows": objects(board)} for board in boards
        ]
        shown["notes"] = written.notes
        return 0


def _files_of(board: Board, paths: list[Path]) -> list[str]:
    return [str(path) for path in paths if board.name in (path.stem, path.parent.name)]


def find(results: Path, name: str) -> RunDir:
    """The run that a name means: what `bench status` prints of it, its folder, its id or the start of its id."""
    runs = every_run(results)
    if Path(name).is_dir():
        runs = [r for r in runs if r.path.resolve() == Path(name).resolve()]
    else:
        runs = [
            r for r in runs if name in (r.name, f"{r.path.parent.name}/{r.name}") or r.name.rsplit("-", 1)[-1].startswith(name)
        ]
    if len(runs) != 1:
        found = "no run" if not runs else f"{len(runs)} runs"
        raise UserError(f"{name!r} names {found} in {results}; give an id, or a run as `bench status` prints it.")
    return runs[0]


def publish(names: list[str], everything: bool, results: Path, published: Path, as_json: bool = False) -> int:
    """Copy finished runs into `<published>/records`; pictures for one seed a method only."""
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        console = make_console()
        runs = [r for r in every_run(results) if r.state() == "done"] if everything else [find(results, n) for n in names]
        if not runs:
            raise UserError(
                f"no finished run to publish in {results}; name runs, or give --all once `bench run` has finished some."
            )
        records = published / "records"
        pictured = _pictured(records)
        plans = []
        for run in runs:
            if run.state() != "done":
                raise UserError(
                    f"{run.name} is {run.state()}, and only finished runs can be published; finish it with `bench run`."
                )
            record = read_json(run.file("record.json"))
            if run_id(record["spec"]) != record["id"]:
                raise UserError(
                    f"{run.file('record.json')} was edited: its id is not that of its spec; run it again with --force."
                )
            files = {".json": run.file("record.json"), ".npz": run.file("per_image.npz")}
            if pictured.setdefault(_but_seed(record["spec"]), record["id"]) == record["id"] and run.file("panel.webp").exists():
                files[".webp"] = run.file("panel.webp")
            for suffix, path in files.items():
                if path.stat().st_size > LIMITS[suffix]:
                    limit = LIMITS[suffix] // 1024
                    raise UserError(
                        f"{path} has {path.stat().st_size // 1024} KiB, more than the {limit} KiB of a published record."
                    )
            plans.append((record["id"], files))
        with writing(records):
            records.mkdir(parents=True, exist_ok=True)
            for name, files in plans:
                for suffix, path in reversed(files.items()):  # the record last: its existence means that the rest is there
                    with replacing(records / f"{name}{suffix}", "publish") as draft:
                        shutil.copyfile(path, draft)
        console.print(
            f"published {len(plans)} runs in {records}; `bench leaderboard --published` makes their tables and figures."
        )
        shown |= {"published": [name for name, _ in plans], "folder": str(records)}
        return 0


def _but_seed(spec: dict[str, Any]) -> str:
    """What the seeds of one method have in common."""
    return json.dumps({k: v for k, v in spec.items() if k not in ("label_seed", "train_seed")}, sort_keys=True)


def _pictured(records: Path) -> dict[str, str]:
    """{what its seeds have in common: id} of each method that is published with the pictures of one seed."""
    published = [path.with_suffix(".json") for path in sorted(records.glob("*.webp"))]
    found = [read_json(path) for path in published if path.exists()]
    return {_but_seed(record["spec"]): record["id"] for record in found}


def clean(names: list[str], results: Path, yes: bool, as_json: bool = False) -> int:
    """Show what takes space in run folders and, with `yes`, delete checkpoints and weights of finished and failed runs.

    With `names`, those runs go altogether, whatever their state, unless they are running.
    """
    rows: list[dict[str, Any]] = []
    shown: dict[str, Any] = {"runs": rows}
    with for_scripts(as_json, shown):
        console = make_console()
        total = 0
        for run in [find(results, n) for n in names] if names else every_run(results):
            state = run.state()
            if state == "running" or (state == "stale" and not names):
                continue  # its checkpoint is what it resumes from
            files = [run.path] if names else [f for f in (run.file("checkpoint.pt"), run.file("weights.pt")) if f.exists()]
            size = sum(f.stat().st_size for top in files for f in (top.rglob("*") if top.is_dir() else [top]) if f.is_file())
            if not files:
                continue
            total += size
            rows.append({"run": str(run.path.relative_to(results)), "state": state, "bytes": size})
            console.print(f"{size / 2**20:8.1f} MiB  {state:7} {rows[-1]['run']}", soft_wrap=True)
            if yes:
                with writing(run.path):
                    for file in files:
                        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        what = "freed" if yes else "can be freed with --yes"
        kept = "" if names else "; records, curves and pictures stay"
        console.print(f"{total / 2**20:8.1f} MiB {what}{kept}.")
        shown |= {"bytes": total, "deleted": yes}
        return 0
