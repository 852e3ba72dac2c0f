"""Results as DataFrames, and the boards of a folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmark.errors import UserError, unknown
from benchmark.report import reruns
from benchmark.report.board import Board, build
from benchmark.report.records import collect
from benchmark.report.tables import frame
from benchmark.spec import registry


def load_records(folder: str | Path) -> pd.DataFrame:
    """Return the finished runs of a folder, one row for each run x task x metric.

    folder: of runs, or of published results. Columns: run, protocol, dataset (its variant), labels, method,
    version, balance, weighting (a dict of its hyperparameters away from their defaults), lr_scale,
    hyperparameters (a dict), label_seed, train_seed, task, metric, value, primary (whether it is the task's
    primary metric), device, seconds. Raises `UserError` naming the file where a record is damaged.

    >>> table = benchmark.load_records("results")
    >>> table[table.primary].groupby(["method", "task"]).value.mean()
    """
    rows = []
    for record in collect(Path(folder)).records:
        spec, cost = record.spec, record["cost"]
        about = {"run": record.id, "protocol": spec["protocol"]["name"], "dataset": spec["variant"]}
        about |= {key: spec[key] for key in ("labels", "method")} | {"version": spec["method_version"]}
        about |= {"balance": spec["balance"], "weighting": spec.get("weighting", {})}
        about |= {"lr_scale": spec.get("lr_scale", 1.0)}
        about |= {key: spec[key] for key in ("hyperparameters", "label_seed", "train_seed")}
        for task in spec["tasks"]:
            for metric, value in record["metrics"][task].items():
                primary = metric == record["tasks"][task]["metric"]
                score = {"task": task, "metric": metric, "value": value, "primary": primary}
                rows.append(about | score | {"device": cost["device"], "seconds": cost.get("seconds")})
    return pd.DataFrame(rows)


def load_board(folder: str | Path, name: str) -> pd.DataFrame:
    """Return a board, one row for each of its rows, with the columns of its CSV.

    folder: of runs, or of published results; name: that of its file in `leaderboards/`. Raises `UserError`
    for a name that no board has.

    >>> board = benchmark.load_board("results", "PROTOCOL-DATASET-LABELS")
    >>> board[["method", "delta_m", "ci_low", "ci_high"]]
    """
    boards = {board.name: board for board in boards_of(Path(folder))}
    if name not in boards:
        raise unknown(f"board in {folder}", name, boards)
    return frame(boards[name])


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
    boards = build(collection, current)
    records = folder / "records"
    place = again or reruns.published(records if records.is_dir() else folder)
    if place and boards:
        boards = reruns.attached(boards, collect(place))
    if again and not any(board.reruns for board in boards):
        raise UserError(
            f"{again} holds no whole seed of a row in {folder}; --rerun names a folder in which the same "
            f"runs were made again."
        )
    return boards
