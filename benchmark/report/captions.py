"""What a board says in words: the answer first, then what the numbers are and what they cannot tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmark.report import origins
from benchmark.report.board import RANKED_SEEDS, Board, Entry
from benchmark.report.formats import counted, interval, signed, with_interval
from benchmark.report.naming import value_text
from benchmark.report.statistics import ALPHA, seeds_to_decide
from benchmark.spec.tuning import alike, of_rates

DEMONSTRATION = "This board shows the tool: too few images, steps and seeds to rank methods."
UNEVEN = 0.5  # share by which the times of a row's seeds may differ before a board says so


def sentences(board: Board) -> list[str]:
    """The caption of a board, each sentence on its own."""
    found = [
        verdict(board),
        demonstration(board),
        _held_out(board),
        _labels(board),
        _delta(board),
        _seeds(board),
    ]
    found += [baseline(board), _constant(board)]
    return [sentence for sentence in (*found, *_unsaid(board), _tuned(board), *_warnings(board)) if sentence]


def verdict(board: Board) -> str:
    """Which method makes the most of the labels, and whether that is sure."""
    against = _against_constant(board)
    if against and all(above == [] for above, _ in against.values()):
        nothing = "No method has learnt more than the best constant prediction on any task"
        return f"{nothing}{'; Δm compares noise here' if board.lead else ''}. {_ahead(board)}"
    below = against.get(board.reference.label, ([], []))[1] if board.reference else []
    if below and board.lead and board.reference:
        worse = (
            f"The reference {board.reference.label} is not above the best constant prediction on "
            f"{' and '.join(below)}"
        )
        return f"{_ahead(board)} {worse}, so every Δm here is larger than what was learnt."
    return _ahead(board)


def demonstration(board: Board) -> str:
    """That a board is none to rank methods by; empty where it may be one."""
    return DEMONSTRATION if board.group.protocol["demonstration"] else ""


def _held_out(board: Board) -> str:
    if board.group.protocol["judge"] == "test":
        return ""
    share = f"{board.group.protocol['holdout']:.0%}"
    return (
        f"For tuning only: judged on the last {share} of the train images, which no run was trained on. "
        f"This is not a score."
    )


def _tuned(board: Board) -> str:
    """How keywords were searched, and whether alike for all: a method with more trials than another has had
    more luck.
    """
    specs = {e.label: e.row.records[0].spec for e in board.entries if e.row.records and not e.row.outdated}
    found = {label: str(spec.get("tuning", "")) for label, spec in specs.items()}
    searched = {spec["method"] for label, spec in specs.items() if found[label]}
    if not searched:
        return ""
    # A search is of numbers with a fraction unless the method says otherwise, as one that was searched does.
    free = {
        label for label, spec in specs.items() if spec["method"] not in searched and not _has_fractions(spec)
    }
    rate = any(of_rates(how) for how in found.values())
    if rate:  # which every method has
        free = set()
    said = "; ".join(
        f"{label}: {how or ('nothing to search' if label in free else 'none')}"
        for label, how in found.items()
    )
    counted_in = [how for label, how in found.items() if label not in free]
    same = all(alike(how, counted_in[0]) for how in counted_in)
    verdict = "the same for all" if same else "NOT the same for all, so differences may come from it"
    return f"Search of {'learning rates' if rate else 'keywords'}, {verdict}: {said}."


def _has_fractions(spec: dict[str, Any]) -> bool:
    return any(isinstance(value, float) for value in spec["hyperparameters"].values())


def undefined(tasks: Iterable[str]) -> str:
    """`Δm is undefined: the reference scores 0 on semseg`"""
    return f"Δm is undefined: the reference scores 0 on {' and '.join(tasks)}"


def without_delta(board: Board) -> str:
    """Why no row has a delta m, without a full stop."""
    tasks = next((e.undefined for e in board.entries if e.undefined), ())
    return undefined(tasks) if tasks else "no row has a Δm, because no seed of the reference is complete"


def _ahead(board: Board) -> str:
    name = board.group.protocol["reference"]
    if board.reference is None or not board.reference.units:
        return (
            f"No Δm: no seed of the reference {name or '(the protocol names none)'} is complete in these "
            f"results."
        )
    lead = board.lead
    if lead is None:
        if any(e.undefined for e in board.entries):
            return f"{without_delta(board)}."
        reason = (
            "no other method has"
            if not any(e.units for e in board.entries if e is not board.reference)
            else "none shares"
        )
        return f"No comparison yet: besides the reference {board.reference.label}, {reason} a complete seed."
    best, second, margin = lead.best, lead.second, lead.margin
    assert best.delta is not None
    left_out = [e for e in board.entries if e.delta and not e.row.outdated and not e.whole(board.planned)]
    among = " of the rows with every planned seed" if best not in left_out and left_out else ""
    if second is best or second is None or margin is None:
        alone = "there is no row to compare it with over the same seeds"
        return f"Highest Δm{among}: {best.label}, {with_interval(best.delta)} %; {alone}."
    if best.delta.value <= 0:
        found = (
            f"No method beats {board.reference.label}: the nearest is {best.label} at Δm "
            f"{with_interval(best.delta)} %"
        )
        gap, rival = best.delta, board.reference.label
    else:
        ahead = f"ahead of {second.label} by {signed(margin.value)} points"
        found = f"Highest Δm{among}: {best.label}, {with_interval(best.delta)} %; {ahead}"
        gap, rival = margin, second.label
        found += f" {interval(margin)}".rstrip()
    if gap.n < 2:
        return f"{found}. Not sure: one seed gives no interval."
    if gap.excludes_zero() is None:
        return f"{found}. Not sure: {counted(gap.n, 'seed')} without any spread give no interval."
    if not gap.excludes_zero():
        return (
            f"{found}. Not sure: over {counted(gap.n, 'seed')} the interval includes 0, so chance can "
            f"explain the difference."
        )
    if demonstration(board):
        return f"{found}. The interval excludes 0, but a demonstration ranks nothing."
    if gap.n < RANKED_SEEDS:
        return (
            f"{found}. The interval excludes 0, but {gap.n} seeds are development: confirm with "
            f"{RANKED_SEEDS} or more."
        )
    if best in left_out:
        return f"{found}. Not sure: it lacks a planned seed."
    if lead.p is None:
        few = f"{gap.n} seeds are too few for an exact test, which takes {seeds_to_decide(1)}"
        return f"{found}. Likely, not sure: the interval excludes 0, but {few}."
    if lead.p > ALPHA:
        return f"{found}. Not sure: the interval excludes 0, but the exact test does not (p = {lead.p:.2g})."
    sure = f"the order of {best.label} and {rival} is more than noise over {gap.n} seeds"
    return f"{found}. The interval excludes 0, and so does the exact test (p = {lead.p:.2g}): {sure}."


def label_counts(board: Board) -> dict[str, str]:
    """{task: `64`, or `61-66` where seeds differ}: training images whose label the setting shows."""
    counts: dict[str, set[int]] = {}
    for record in (r for e in board.entries for r in e.row.records):
        for task, count in record["label_counts"].items():
            counts.setdefault(task, set()).add(int(count))
    ordered = [t.name for t in board.group.tasks if t.name in counts]
    return {t: "-".join(str(v) for v in sorted({min(counts[t]), max(counts[t])})) for t in ordered}


def _labels(board: Board) -> str:
    g = board.group
    images = {r["images"] for e in board.entries if e.row.records for r in e.row.records if not r["one_task"]}
    shown = ", ".join(f"{task} {count}" for task, count in label_counts(board).items())
    tested = {t.name: t.test_images for t in g.tasks if t.test_images is not None}
    test = ", ".join(f"{task} {count}" for task, count in tested.items())
    test = (
        f"{next(iter(tested.values()))} images for each task"
        if len(tested) > 1 and len(set(tested.values())) == 1
        else test
    )
    return (
        f"{g.variant}, label setting '{g.labels}'. Training images with a visible label: {shown or 'unknown'}"
        + (f" (of {max(images)} images)" if images else "")
        + (f". Tested on {test}." if test else ".")
    )


def _delta(board: Board) -> str:
    if board.reference is None or not board.reference.units:
        return ""
    unit = "train seeds (one mask: training noise only)" if board.group.fixed_mask else "label seeds"
    return (
        f"Δm: mean over tasks of the relative change against {board.reference.label} on the same labels, in "
        f"%, + is better; "
        f"in [ ] its 95 % interval over {unit}, with the noise of the reference; ± is the standard deviation "
        f"over seeds."
    )


def _seeds(board: Board) -> str:
    current = [len(e.paired) for e in board.entries if e.delta and not e.row.outdated]
    if not current:
        return ""
    few, most = min(current), max(current)
    shown = counted(most, "seed") if few == most else f"{few} to {most} seeds"
    if demonstration(board):
        return f"{shown}: demonstration, nothing is ranked."
    if most < RANKED_SEEDS:
        return f"{shown}: development, nothing is ranked ({RANKED_SEEDS} seeds rank)."
    shares = "share it unless their difference from its leader excludes 0, uncorrected for their number"
    return f"{shown}: rows with a tier {shares}; the others are not ranked."


def baseline(board: Board) -> str:
    """How the comparisons with the baseline came out, or what they still need; empty without any."""
    family = [e for e in board.entries if e.decidable is not None]
    if board.baseline is None or not family:
        return ""
    needed, most = seeds_to_decide(board.comparisons), max(e.versus.n if e.versus else 0 for e in family)
    state = "too few seeds to decide" if most < needed else "decidable where a row has them"
    first = max(
        (e for e in family if e.versus), key=lambda e: e.versus.value if e.versus else 0.0, default=None
    )
    state += (
        f"; the largest difference is that of {first.label}, {with_interval(first.versus)} points"
        if first
        else ""
    )
    against = f"{counted(board.comparisons, 'comparison')} with {board.baseline.label}"
    found = f"{against}: an exact test needs {needed} seeds, at most {most} are in: {state}"
    holm = {e.label: e.compared.p_holm for e in family if e.compared and e.compared.p_holm is not None}
    if not holm:
        return f"{found}."
    values = {e.label: e.versus.value for e in family if e.versus}
    named: dict[str, list[str]] = {"better": [], "worse": []}
    for label, p in holm.items():
        if p <= ALPHA:
            named["better" if values[label] > 0 else "worse"].append(f"{label} (p = {p:.2g})")
    apart = "; ".join(
        f"{word} than it, after correction: {', '.join(rows)}" for word, rows in named.items() if rows
    )
    return f"{found}; {apart or 'none differs from it'}."


def absent_references(board: Board) -> list[str]:
    """A sentence for each reference that delta m could be held against and that these results do not hold."""
    if not any(e.delta for e in board.entries):
        return []
    found = [e.beside.against for e in board.entries]
    name = board.group.protocol["reference"]
    missing = {
        "at equal epochs": (any(a.equal_epochs for a in found), "budget=epochs"),
        "at equal optimiser steps": (any(a.equal_steps for a in found), "budget=steps"),
        "trained on every label": (any(a.full_labels for a in found), "labels=full"),
    }
    return [
        f"These results hold no {name} {what} over seeds of these rows; "
        f"a run of {name} in the same plan with --set {cure} makes it."
        for what, (there, cure) in missing.items()
        if not there
    ]


def _constant(board: Board) -> str:
    if not any(board.constant.means.values()):
        return ""
    found = "constant: the best prediction that ignores the image, a floor and not a method"
    against = _against_constant(board)
    if not against:
        return f"{found}."
    if not any(below for _, below in against.values()):
        return f"{found}; every method is above it on every task."
    if not any(above for above, _ in against.values()):
        return f"{found}; no method is above it on any task."
    rows = [
        f"{label} on {' and '.join(below) if above else 'any task'}"
        for label, (above, below) in against.items()
        if below
    ]
    return f"{found}; NOT above it: {'; '.join(rows)}."


def _against_constant(board: Board) -> dict[str, tuple[list[str], list[str]]]:
    """{row: the tasks on which it is above the constant prediction, and those on which it is not}, outdated
    rows left out.
    """
    found: dict[str, tuple[list[str], list[str]]] = {}
    for entry in (e for e in board.entries if not e.row.outdated):
        for task in board.group.tasks:
            spread, floor = (
                entry.spreads[task.name].get(task.metric),
                board.constant.means[task.name].get(task.metric),
            )
            if spread is not None and floor is not None:
                above, below = found.setdefault(entry.label, ([], []))
                (above if task.sign * (spread.mean - floor) > 0 else below).append(task.name)
    return found


def _unsaid(board: Board) -> list[str]:
    """What rows change without saying so in their labels, because all rows of a method share it."""
    unsaid = {e.row.method: e.row.unsaid for e in board.entries if e.row.unsaid}
    values = {
        m: ", ".join(f"{name}={value_text(v)}" for name, v in changed.items())
        for m, changed in sorted(unsaid.items())
    }
    return [f"{method} runs with {text}, away from its defaults." for method, text in values.items()]


def _warnings(board: Board) -> list[str]:
    found = []
    for entry in board.entries:
        for pair, failures in entry.row.failed.items():
            found.append(f"Failed: {entry.label} seed {seed_name(pair)}: {failures[0].reason}")
        for pair, missing in entry.row.partial.items():
            found.append(
                f"Not counted: {entry.label} seed {seed_name(pair)}, whose runs lack {', '.join(missing)}."
            )
        if entry.row.outdated:
            version = f"version {entry.row.version} of the method (current {entry.row.newest})"
            ranks = "is not ranked"
            if entry is board.reference and entry.delta:
                ranks = "is the reference of every Δm here, so nothing is ranked"
            found.append(f"Outdated: {entry.label} was computed by {version} and {ranks}.")
        if entry.undefined and board.lead:
            found.append(f"{entry.label}: {undefined(entry.undefined)}.")
        dropped = set(entry.units) - set(entry.paired)
        if entry.delta and dropped:
            seeds = ", ".join(map(str, sorted(dropped)))
            found.append(
                f"Left out of Δm: {entry.label} seed {seeds}, which the reference has not completed."
            )
    if any(e.failed or e.row.partial for e in board.entries):
        found.append(
            "A row that lacks a planned seed is not ranked, and nothing is put in the place of what it lacks."
        )
    devices = {e.cost.device for e in board.entries if e.cost}
    if len(devices) > 1:
        found.append("Costs were measured on different devices and cannot be compared.")
    if rows := uneven(board):
        found.append(
            f"Times differ by more than {UNEVEN:.0%} between seeds of {', '.join(rows)}: the machine did "
            f"other work."
        )
    return found + origins.sentences(board)


def uneven(board: Board) -> list[str]:
    """The rows whose seeds took very different times to train."""
    times = {e.label: [s.cost.seconds for s in e.row.seeds.values() if s.cost.seconds] for e in board.entries}
    return [label for label, found in times.items() if found and max(found) > (1 + UNEVEN) * min(found)]


def seed_name(pair: tuple[int, int]) -> str:
    """`0`, or `0.1` for label seed 0 with train seed 1."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}.{pair[1]}"


def seeds_cell(entry: Entry, planned: int) -> str:
    """`2/3, 1 failed`"""
    return f"{len(entry.units)}/{planned}" + (f", {entry.failed} failed" if entry.failed else "")
