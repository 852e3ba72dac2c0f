"""The words below a board: a verdict line, facts about its runs, and fixed footnotes."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from benchmark.report.board import Board
from benchmark.report.formats import counted, with_interval
from benchmark.report.grouping import value_text
from benchmark.report.records import Record
from benchmark.report.references import REFERENCES
from benchmark.report.rows import shipped_values
from benchmark.report.statistics import seeds_to_decide
from benchmark.spec.source import equal_code
from benchmark.spec.tuning import alike, of_rates

UNKNOWN = "not known to be trained: the protocol holds no trial of twice the epochs"
Fact = tuple[str, str]


def verdict(board: Board) -> str:
    """Return the row with the highest delta m, its lead, and whether that is sure."""
    if not board.lead:
        return f"No comparison: {without_delta(board)}."
    best, *second = board.lead
    found = f"Highest Δm: {best.label}, {with_interval(best.delta)} %"
    compared = board.verdicts.pair(best.row, second[0].row) if second else None
    if compared is None:
        return f"{found}; no other row shares its seeds."
    margin = compared.estimate
    if margin.value > 0:
        found += f"; ahead of {second[0].label} by {with_interval(margin)}"
    elif second[0] is board.reference:
        found = f"No row is above {second[0].label}. {found}"
    else:  # the two do not rest on the same seeds
        found += f"; over the seeds of both {with_interval(margin)} against {second[0].label}"
    if board.withheld:
        return f"{found}. {board.withheld}"
    if compared.reason:
        return f"{found}. Not sure: {compared.reason.rstrip('.')}."
    return f"{found}. Sure: exact sign-flip test, corrected p = {compared.p_holm:.2g}."


def without_delta(board: Board) -> str:
    """Why no row has a delta m, without a full stop."""
    if tasks := next((e.undefined for e in board.entries if e.undefined), ()):
        return f"Δm is undefined, as the reference scores 0 on {' and '.join(tasks)}"
    if board.reference is None or not board.reference.units:
        return f"no seed of the reference {board.group.protocol['reference']} is complete".replace("  ", " ")
    return f"no other row shares a complete seed with the reference {board.reference.label}"


def facts(board: Board) -> list[Fact]:
    """Return (name, value) of the runs of a board: data, then limits of their use."""
    return [(name, text) for name, text in (*_data(board), *_rows(board), *origins(board)) if text]


def _data(board: Board) -> Iterator[Fact]:
    g, protocol = board.group, board.group.protocol
    records, listed = [r for row in g.rows for r in row.records], []
    for task in g.tasks:
        counts = {int(n) for r in records if (n := r["label_counts"].get(task.name)) is not None}
        listed += [f"{task.name} {'-'.join(map(str, sorted({min(counts), max(counts)})))}"] if counts else []
    images = [r["images"] for r in records if not r["one_task"]]
    yield "labelled train images", ", ".join(listed) + (f" of {max(images)}" if images else "")
    minutes = next((m for row in g.rows if (m := g.minutes(row)) is not None), None)
    yield (
        "labelling",
        "" if minutes is None else f"{minutes:,.0f} minutes, at {value_text(protocol['cost'])} a label",
    )
    tried = {"", *(trial.split()[0] for trial in protocol["doubled"])}
    lacking = sorted({protocol["reference"], protocol["baseline"]} - tried)
    known = not lacking or protocol["demonstration"]
    yield "training", "" if known else f"{UNKNOWN} for {', '.join(lacking)}"
    yield "test images", ", ".join(f"{t.name} {t.test_images}" for t in g.tasks if t.test_images is not None)
    if protocol["judge"] != "test":
        where = f"evaluated on the last {protocol['holdout']:.0%} of the train images"
        yield "no scores, for tuning only", where
    unit, rest = ("train", " under one label mask: training noise only") if g.fixed_mask else ("label", "")
    yield "seeds", f"{counted(len(g.planned), f'{unit} seed')}{rest}"
    compared = [e.compared for e in board.entries if e.compared and not e.role]
    if tested := [c for *_, c in board.verdicts.contrasts] or compared:
        against = f"comparisons with {board.baseline.label}" if board.baseline else ""
        needed = f"{tested[0].family}, decidable from {seeds_to_decide(tested[0].family)} seeds"
        yield "named contrasts" if tested[0].contrast else against, needed
    run = {name for e in board.entries for name in e.against}
    if any(e.delta for e in board.entries):
        missing = [text for name, text in REFERENCES.items() if name not in run]
        yield f"references not run ({protocol['reference']})", ", ".join(missing)
    yield _tuning(board)


def _tuning(board: Board) -> Fact:
    """How rows were tuned. A method without a fractional hyperparameter needs no search but that of rates."""
    specs = {e.label: e.row.records[0].spec for e in board.entries if e.row.records}
    found = {label: str(spec.get("tuning", "")) for label, spec in specs.items()}
    searched = {spec["method"] for label, spec in specs.items() if found[label]}
    rates = any(map(of_rates, found.values()))
    for label, spec in specs.items():
        fractions = any(isinstance(value, float) for value in spec["hyperparameters"].values())
        if not found[label] and (rates or fractions or spec["method"] in searched):
            found[label] = "none"
    counted_in = [how for how in found.values() if how]
    equal = all(alike(how, counted_in[0]) for how in counted_in)
    listed = "; ".join(f"{label}: {how or 'nothing to tune'}" for label, how in found.items())
    return "tuning" if equal else "tuning, NOT the same for all rows", listed if searched else ""


def _rows(board: Board) -> Iterator[Fact]:
    for method, unsaid in sorted({e.row.method: e.row.unsaid for e in board.entries if e.row.unsaid}.items()):
        yield f"{method} runs with", ", ".join(f"{name}={value_text(v)}" for name, v in unsaid.items())
    below: dict[str, list[str]] = defaultdict(list)
    for e, t in ((e, t) for e in board.entries for t in board.group.tasks):
        values, floor = e.metrics[t.name].get(t.metric), board.constant[t.name].get(t.metric)
        if values is not None and floor is not None and t.sign * (values.mean() - floor) <= 0:
            below[e.label].append(t.name)
    listed = (f"{label} on {', '.join(tasks)}" for label, tasks in below.items())
    yield "not above the constant prediction", "; ".join(listed)
    for e in board.entries:
        for pair, failures in e.row.failed.items():
            yield "failed", f"{e.label} seed {seed_name(pair)}: {failures[0].reason}"
        for pair, lacking in e.row.partial.items():
            yield "incomplete", f"{e.label} seed {seed_name(pair)} lacks {', '.join(lacking)}"
        if e.delta and (dropped := sorted(set(e.units) - set(e.paired))):
            text = f"{e.label} seed {', '.join(map(str, dropped))}, for want of the reference's"
            yield "left out of Δm", text
    earlier = (f"{name} ({counted(runs, 'run')})" for name, runs in board.group.earlier.items())
    yield "earlier versions, on no board", ", ".join(earlier)
    devices = {e.row.cost["device"] for e in board.entries if e.row.cost}
    yield "devices differ, costs are not comparable", "; ".join(sorted(devices)) if len(devices) > 1 else ""
    for label, again in board.reruns.items():
        yield "run again on another device", f"{label}: {'; '.join(again.devices)}" if again.devices else ""


def origins(board: Board) -> Iterator[Fact]:
    """Facts about the code and the files that a board's records come from."""
    protocol, rows = board.group.protocol, {row.label: row.records for row in board.group.rows}
    shipped = shipped_values(protocol["name"]) or protocol
    if shipped["version"] != protocol["version"]:
        current = f"current v{shipped['version']}"
        yield "other version of the protocol", f"{protocol['name']} v{protocol['version']}, {current}"
    dirty = [x for x, rs in rows.items() if any(r["environment"].get("dirty") for r in rs)]
    yield "uncommitted changes", ", ".join(dirty)
    mixed = [label for label, rs in rows.items() if len(_sources(rs)) > 1]
    yield "runs of one row by different code", ", ".join(mixed)
    unsealed = [label for label, rs in rows.items() if any("digest" not in r.content for r in rs)]
    yield "no digest, so edits go unseen", ", ".join(unsealed)
    bare = {label: sorted(r.id for r in rs if r.arrays is None) for label, rs in rows.items()}
    named = [f"{label} ({textwrap.shorten(', '.join(ids), 60)})" for label, ids in bare.items() if ids]
    yield "no per-image statistics, so no interval over test images", ", ".join(named)


def _sources(records: Sequence[Record]) -> set[frozenset[str]]:
    """The hashes of the code that computed records, each with those of the same numbers."""
    found = {(r["spec"]["method"], r["source"]) for r in records if r.content.get("source")}
    return {equal_code(*each) for each in found}


def footnotes(board: Board) -> list[str]:
    """Return the fixed footnotes of a board's table."""
    name = board.group.protocol["reference"]
    return [
        f"Δm: mean over tasks of the relative change against {name} on the same labels and seeds, in %, + is "
        "better; [ ]: 95 % interval over seeds, with the reference's noise; ±: standard deviation over them.",
        "tier: rows that cannot be told from the best of them; a group, not a test.",
        "constant: the best prediction that ignores the image, a floor and not a method.",
    ]


def notes(board: Board) -> list[str]:
    """Return `facts` and `footnotes` as lines."""
    return [f"{name}: {text}" for name, text in facts(board)] + footnotes(board)


def other_code(board: Board, sources: Mapping[str, frozenset[str]]) -> str:
    """Return the rows that other code computed, "" without any.

    sources: {method: hashes of code of today's numbers}. It is no part of a table: a changed line must not
    make published ones wrong.
    """
    today = ((e, sources.get(e.row.method)) for e in board.entries)
    rows = [e.label for e, source in today if source and _sources(e.row.records) - {source}]
    cure = "`bench run --force` runs them again; bump the version if numbers move"
    return f"computed by other code: {', '.join(rows)}; {cure}" if rows else ""


def warnings(boards: Sequence[Board], sources: Mapping[str, frozenset[str]]) -> list[str]:
    """`origins` and `other_code` of all boards, one sentence each."""
    found = []
    for board in boards:
        listed = [f"{name}: {text}" for name, text in origins(board) if text]
        found += [f"{board.name}: {text}." for text in (*listed, other_code(board, sources)) if text]
    return found


def seed_name(pair: tuple[int, int]) -> str:
    """`0`, or `0.1` for label seed 0 with train seed 1."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}.{pair[1]}"
