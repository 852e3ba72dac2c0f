"""The boards of a folder as DataFrames and as files: write tables and figures, and check those on disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pandas as pd

from benchmark.errors import UserError, printable, unknown
from benchmark.files import write_text, writing
from benchmark.report import contrasts, reruns, tables
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.spec import registry

_COLUMNS = [
    "run", "protocol", "dataset", "labels", "method", "version", "balance", "weighting", "lr_scale",
    "hyperparameters", "label_seed", "train_seed", "task", "metric", "value", "primary", "by_source",
    "device", "seconds",
]  # fmt: skip
_TABLES = (
    "leaderboards/*.csv", "leaderboards/long/*.csv", "leaderboards/contrasts/*.csv", "tables/*.md",
    "tables/*.tex",
)  # fmt: skip


def load_records(folder: str | Path) -> pd.DataFrame:
    """Return the finished runs of a folder, one row for each run x task x metric.

    folder: of runs, or of published results. Columns: run, protocol, dataset (its variant), labels, method,
    version, balance, weighting (a dict of its hyperparameters away from their defaults), lr_scale,
    hyperparameters (a dict), label_seed, train_seed, task, metric, value, primary (whether it is the task's
    primary metric), by_source ({source: value} where data sets were joined), device, seconds. Raises
    `UserError` naming the file where a record is damaged.

    >>> table = benchmark.load_records("results")
    >>> table[table.primary].groupby(["method", "task"]).value.mean()
    """
    rows = []
    for record in collect(Path(folder)).records:
        spec, cost = record.spec, record["cost"]
        about = {"weighting": {}, "lr_scale": 1.0} | spec | {"version": spec["method_version"]}
        about |= {"run": record.id, "protocol": spec["protocol"]["name"], "dataset": spec["variant"]}
        about |= {"device": cost["device"], "seconds": cost.get("seconds")}
        for task in spec["tasks"]:
            sources = record.content.get("by_source", {}).get(task, {})
            for metric, value in record["metrics"][task].items():
                primary = metric == record["tasks"][task]["metric"]
                score = {"task": task, "metric": metric, "value": value, "primary": primary}
                score["by_source"] = {source: values.get(metric) for source, values in sources.items()}
                rows.append(about | score)
    return pd.DataFrame(rows, columns=_COLUMNS)


def load_board(folder: str | Path, name: str = "") -> pd.DataFrame:
    """Return a board, one row for each of its rows, with the columns of its CSV.

    folder: of runs, or of published results; name: that of its file in `leaderboards/`, not needed
    where there is one board. Raises `UserError` for a name that no board has.

    >>> board = benchmark.load_board("results", "PROTOCOL-DATASET-LABELS")
    >>> board[["method", "delta_m", "ci_low", "ci_high"]]
    """
    boards = {board.name: board for board in boards_of(Path(folder))}
    name = name or (next(iter(boards)) if len(boards) == 1 else "")
    if name not in boards:
        raise unknown(f"board in {folder}", name, boards)
    return tables.frame(boards[name]).copy()


def boards_of(folder: Path, again: Path | None = None) -> list[Board]:
    """Return the boards of all records in a results folder, or in a folder of published records.

    again: results in which some of the same runs were made a second time; published ones are found beside
    their records. Raises `UserError` where there are none of the runs in `again`.
    """
    if not folder.is_dir():
        return []
    collection = collect(folder)
    specs = [r.spec for r in collection.records] + [f.spec for f in collection.failures]
    used = {spec["method"] for spec in specs}
    current = {name: registry.describe(name).version for name in used.intersection(registry.method_names())}
    boards, records = build(collection, current), folder / "records"
    records = records if records.is_dir() else folder
    beside = records.absolute().parent / "reruns"  # of published ones
    place = again or (beside if records.name == "records" and beside.is_dir() else None)
    twins = {record.id: record for record in collect(place).records} if place and boards else {}
    for board in boards if twins else ():
        floors = {
            e.label: reruns.floor(board.group, e.row, board.references[0], twins) for e in board.entries
        }
        board.reruns = {label: floor for label, floor in floors.items() if floor}
    if again and not any(board.reruns for board in boards):
        raise UserError(
            f"{again} holds no whole seed of a row in {folder}; --rerun names a folder in which the same "
            f"runs were made again."
        )
    return boards


def files(boards: Sequence[Board]) -> dict[str, str]:
    """{path below the results folder: content} of every table."""
    from benchmark.report import views

    found = {}
    for board in boards:
        found[f"leaderboards/{board.name}.csv"] = tables.csv_text(board)
        found[f"leaderboards/long/{board.name}.csv"] = tables.long_csv_text(board)
        if named := contrasts.answers(board):
            found[f"leaderboards/contrasts/{board.name}.csv"] = tables.csv(contrasts.frame(named))
        # Of others' prose nothing may become an element of a page, or a control code.
        found[f"tables/{board.name}.md"] = printable(
            re.sub("<(?=[A-Za-z/!?])", "&lt;", views.markdown(board))
        )
        found[f"tables/{board.name}.tex"] = printable(views.latex(board))
    return found


@dataclass(frozen=True)
class Written:
    """The paths of files, and a note for each figure that lacks input."""

    paths: list[Path]
    notes: list[str]


def write(
    boards: Sequence[Board], folder: Path, *, complete: bool = False, every: Sequence[Board] = ()
) -> Written:
    """Write every board's tables and figures below `folder`. Raises `UserError` when writing fails.

    every: all boards of the folder, where these are a part of them: figures across boards show the others
    too. complete: these are all boards of the folder, so files there of any other board are removed.
    """
    from benchmark.report.figures import board as plots
    from benchmark.report.figures import budget

    written = Written([], [])
    for name, content in files(boards).items():
        write_text(folder / name, content)
        written.paths.append(folder / name)
    with writing(folder):
        for board in boards:
            drawn = plots.draw(board, folder / "figures" / board.name)
            written.paths.extend(drawn.files)
            written.notes.extend(f"{board.name}: {note}" for note in drawn.notes)
        across = budget.draw(every or boards, folder / "figures")
        written.paths.extend(across.files)
        written.notes.extend(across.notes)
        if complete:
            _remove_others(folder, {b.name for b in boards} | {f.name for f in budget.families(boards)})
    return written


def _tables(folder: Path) -> list[Path]:
    """Return the tables of boards on disk; those of `bench ablate` lie beside them."""
    found = [path for pattern in _TABLES for path in sorted(folder.glob(pattern)) if path.is_file()]
    return [path for path in found if path.parent.name != "tables" or not path.name.startswith("ablation-")]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove tables and figures of other boards than these; files that `write` does not make stay."""
    for path in (path for path in _tables(folder) if path.stem not in names):
        path.unlink()
    for path in folder.glob("figures/*"):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            inside = [*path.iterdir()]
            ours = (p.suffix in (".svg", ".png") or p.name == "left-out.txt" for p in inside)
            if all(ours) and all(p.is_file() for p in inside):
                shutil.rmtree(path)


def check(boards: Sequence[Board], folder: Path, *, with_page: bool = False) -> list[str]:
    """Return a sentence for each table on disk that the records do not give.

    with_page: the page too, for the figures that lie there.
    """
    expected = files(boards)
    here = {path.relative_to(folder).as_posix() for path in _tables(folder)}
    found = [f"{name} belongs to no board of these records." for name in sorted(here - expected.keys())]
    if with_page:
        from benchmark.report import page

        expected[page.NAME] = page.html(boards, folder)
    return [sentence for name in expected if (sentence := _difference(folder, name, expected[name]))] + found


def _difference(folder: Path, name: str, expected: str) -> str:
    """The first line in which a file differs; "" where it does not."""
    if not (folder / name).is_file():
        return f"{name} is missing."
    here = (folder / name).read_bytes().decode("utf-8", errors="replace")
    lines = zip_longest(here.splitlines(keepends=True), expected.splitlines(keepends=True), fillvalue="")
    for number, (a, b) in enumerate(lines, 1):
        if a != b:
            same = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
            start = max(0, next(same, min(len(a), len(b))) - 40)
            a, b = (repr(line[start : start + 100]) if line else "nothing" for line in (a, b))
            return f"{name} differs from its records at line {number}: it has {a}, the records give {b}."
    return ""
