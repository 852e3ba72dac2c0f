"""What a board says in words: the answer first, then what the numbers are and what they cannot tell."""

from __future__ import annotations

from benchmark.report.board import RANKED_SEEDS, Board, Entry
from benchmark.report.formats import counted, interval, signed, with_interval
from benchmark.report.stats import seeds_to_decide


def sentences(board: Board) -> list[str]:
    """The caption of a board, each sentence on its own."""
    found = [verdict(board), _labels(board), _delta(board), _seeds(board), _baseline(board), _constant(board), *_warnings(board)]
    return [sentence for sentence in found if sentence]


def verdict(board: Board) -> str:
    """Which method makes the most of the labels, and whether that is sure."""
    name = board.group.protocol["reference"]
    if board.reference is None or not board.reference.units:
        return f"No Δm: no seed of the reference {name or '(the protocol names none)'} is complete in these results."
    lead = board.lead
    if lead is None:
        reason = "no other method has" if not any(e.units for e in board.entries if e is not board.reference) else "none shares"
        return f"No comparison yet: besides the reference {board.reference.label}, {reason} a complete seed."
    best, second, margin = lead.best, lead.second, lead.margin
    assert best.delta is not None
    if second is best or second is None or margin is None:
        return f"Highest Δm: {best.label}, {with_interval(best.delta)} %; there is no row to compare it with over the same seeds."
    if best.delta.value <= 0:
        found = f"No method beats {board.reference.label}: the nearest is {best.label} at Δm {with_interval(best.delta)} %"
        gap, rival = best.delta, board.reference.label
    else:
        found = (
            f"Highest Δm: {best.label}, {with_interval(best.delta)} %; ahead of {second.label} by {signed(margin.value)} points"
        )
        gap, rival = margin, second.label
        found += f" {interval(margin)}".rstrip()
    if gap.n < 2:
        return f"{found}. Not sure: one seed gives no interval."
    if not gap.excludes_zero():
        return f"{found}. Not sure: over {counted(gap.n, 'seed')} the interval includes 0, so chance can explain the difference."
    if gap.n < RANKED_SEEDS:
        return f"{found}. The interval excludes 0, but {gap.n} seeds are development: confirm with {RANKED_SEEDS} or more."
    return f"{found}. The interval excludes 0: the order of {best.label} and {rival} is more than noise over {gap.n} seeds."


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
    test = f"{next(iter(tested.values()))} images for each task" if len(tested) > 1 and len(set(tested.values())) == 1 else test
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
        f"Δm: mean over tasks of the relative change against {board.reference.label} on the same labels, in %, + is better; "
        f"in [ ] its 95 % interval over {unit}, with the noise of the reference; ± is the standard deviation over seeds."
    )


def _seeds(board: Board) -> str:
    current = [len(e.paired) for e in board.entries if e.delta and not e.row.outdated]
    if not current:
        return ""
    few, most = min(current), max(current)
    shown = counted(most, "seed") if few == most else f"{few} to {most} seeds"
    if most < RANKED_SEEDS:
        return f"{shown}: development, nothing is ranked ({RANKED_SEEDS} seeds rank)."
    return f"{shown}: rows with a tier share it unless their difference from its leader excludes 0; the others are not ranked."


def _baseline(board: Board) -> str:
    family = [e for e in board.entries if e.decidable is not None]
    if board.baseline is None or not family:
        return ""
    needed, most = seeds_to_decide(board.comparisons), max(e.versus.n if e.versus else 0 for e in family)
    state = "too few seeds to decide" if most < needed else "decidable where a row has them"
    against = f"{counted(board.comparisons, 'comparison')} with {board.baseline.label}"
    return f"{against}: an exact test needs {needed} seeds, at most {most} are in: {state}."


def _constant(board: Board) -> str:
    if not any(board.constant.means.values()):
        return ""
    below = [
        f"{entry.label} on {task.name}"
        for entry in board.entries
        for task in board.group.tasks
        if task.metric in entry.spreads.get(task.name, {})
        and task.metric in board.constant.means[task.name]
        and task.sign * (entry.spreads[task.name][task.metric].mean - board.constant.means[task.name][task.metric]) <= 0
    ]
    found = "constant: the best prediction that ignores the image, a floor and not a method"
    return f"{found}; NOT above it: {', '.join(below)}." if below else f"{found}; every method is above it on every task."


def _warnings(board: Board) -> list[str]:
    found = []
    for entry in board.entries:
        for pair, failures in entry.row.failed.items():
            found.append(f"Failed: {entry.label} seed {seed_name(pair)}: {failures[0].reason}")
        for pair, missing in entry.row.partial.items():
            found.append(f"Not counted: {entry.label} seed {seed_name(pair)}, whose runs lack {', '.join(missing)}.")
        if entry.row.outdated:
            found.append(f"Outdated: {entry.label} was computed by an earlier version of the method and is not ranked.")
        dropped = set(entry.units) - set(entry.paired)
        if entry.delta and dropped:
            seeds = ", ".join(map(str, sorted(dropped)))
            found.append(f"Left out of Δm: {entry.label} seed {seeds}, which the reference has not completed.")
    devices = {e.cost.device for e in board.entries if e.cost}
    if len(devices) > 1:
        found.append("Costs were measured on different devices and cannot be compared.")
    dirty = sorted({e.label for e in board.entries for r in e.row.records if r["environment"].get("dirty")})
    if dirty:
        found.append(f"Computed with uncommitted changes: {', '.join(dirty)}.")
    return found


def seed_name(pair: tuple[int, int]) -> str:
    """`0`, or `0.1` for label seed 0 with train seed 1."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}.{pair[1]}"


def seeds_cell(entry: Entry, planned: int) -> str:
    """`2/3, 1 failed`"""
    return f"{len(entry.units)}/{planned}" + (f", {entry.failed} failed" if entry.failed else "")
