"""Who is labelled: the label-sampling settings, as a pure function of (ids, availability, setting, seed).

`given`     exactly the labels that exist, none hidden: for data that are partial already.
`full`      the same labels, under the name that says that the data are meant to be complete.
`one`       one label an image, dealt over the tasks as evenly as availability allows (MTPSL's one-label).
`random`    k labels an image, k ~ U{1..max(1, K-1)} of the K tasks available in it, then a k-subset (MTPSL's
            random-label).
`fraction:p` each task on a share p of the images that have it; a larger p contains every smaller one.
`published:one`, `published:random` the papers' frozen splits, by `datasets.published`; no seed enters them.

Numbers come from counter-based streams with the ids as counters, so the order in which images are listed
changes nothing. Under `random` an image's labels do not even depend on which other images there are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark import streams
from benchmark.errors import UserError, unknown

NAMES = ("full", "given", "one", "random", "fraction")
PUBLISHED = ("published:one", "published:random")
KNOWN = ("full", "given", "one", "random", "fraction:p", *PUBLISHED)


@dataclass(frozen=True)
class Setting:
    """Hold a setting of `NAMES` or `PUBLISHED`, and `fraction`'s share p in (0, 1]; `str` gives its text."""

    name: str
    p: float | None = None

    def __str__(self) -> str:
        return self.name if self.p is None else f"{self.name}:{self.p!r}"


def parse(setting: str) -> Setting:
    """Read a setting such as "one" or "fraction:0.25". Raises `UserError` for an unknown one."""
    name, colon, value = setting.partition(":")
    if setting in PUBLISHED:
        return Setting(setting)
    if name not in NAMES:
        raise unknown("label setting", name if name != "published" else setting, KNOWN)
    if name != "fraction":
        if colon:
            raise UserError(f"label setting {setting!r} takes no value; write {name!r}.")
        return Setting(name)
    try:
        p = float(value)
    except ValueError:
        p = math.nan
    if not 0 < p <= 1:
        share = "a share of images above 0 and at most 1, as in 'fraction:0.25'"
        raise UserError(f"label setting {setting!r} needs {share}.")
    return Setting(name, p)


def sample(
    ids: Tensor, available: Tensor, setting: str, seed: int,
    published: Callable[[str], Tensor] | None = None, source: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Choose the labels that a run may see; (N, T) bool, none that is not.

    ids: (N,) int64 distinct stable sample numbers. available: (N, T) bool over the protocol's whole task set,
    so that runs on some of the tasks take columns of one and the same mask. published: gives the
    papers' split "one" or "random" of these samples and tasks, (N, T) bool; None where there is none. source:
    (N,) int64, of joined data sets, within each of which labels are drawn. Raises `UserError` for a bad
    setting, for a fraction so small that a task would lose its last label, for a published setting of data
    that have no published split, and for full labels of joined data sets.
    """
    chosen = parse(setting)
    if source is not None:
        if chosen.name == "full":
            raise UserError(
                "labels = 'full' says that none is missing, as joined data sets can't; use 'given'."
            )
        mask = torch.zeros_like(available)
        for number in source.unique():
            here = source == number
            mask[here] = sample(ids[here], available[here], setting, seed, published)
        return mask
    if available.dim() != 2 or ids.shape != available.shape[:1] or len(set(ids.tolist())) != len(ids):
        raise ValueError("labels.sample needs distinct ids (N,) and availability (N, T).")
    if chosen.name in PUBLISHED:
        if published is None:
            data = "data with a split that papers publish, and these have none"
            raise UserError(f"label setting {setting!r} is for {data}; use 'one'.")
        return published(setting.partition(":")[2]) & available
    if chosen.name == "one":
        return _one(ids, available, seed)
    if chosen.name == "random":
        return _random(ids, available, seed)
    if chosen.p is not None:
        return _fraction(ids, available, chosen.p, seed)
    return available.clone()


def _random(ids: Tensor, available: Tensor, seed: int) -> Tensor:
    tasks = available.shape[1]
    number = available.sum(1)
    draw = streams.uniform(seed, "labels random count", ids)
    k = torch.minimum((draw * (number - 1).clamp_min(1)).long() + 1, number)
    columns = torch.arange(tasks)
    # Distinct within an image.
    key = streams.bits(seed, "labels random subset", ids[:, None], columns) * tasks + columns
    rank = torch.where(available, key, torch.iinfo(torch.int64).max).argsort(1).argsort(1)
    return (rank < k[:, None]) & available


def _fraction(ids: Tensor, available: Tensor, p: float, seed: int) -> Tensor:
    mask = torch.zeros_like(available)
    for task in range(available.shape[1]):
        order = streams.order(seed, "labels fraction", ids[available[:, task]], task)
        keep = round(p * len(order))
        if len(order) and not keep:
            which = f"task {task + 1} of {available.shape[1]}"
            why = f"because only {len(order)} images have it; use a larger share"
            raise UserError(f"label setting 'fraction:{p!r}' leaves {which} without a label, {why}.")
        mask[:, task] = torch.isin(ids, order[:keep])
    return mask


def _one(ids: Tensor, available: Tensor, seed: int) -> Tensor:
    """Deal images in random order, each to the task with the fewest images so far that it can reach.

    A task is reached directly, or by passing an image dealt earlier on to another task that it has. Taking
    the least loaded task that any such chain reaches keeps the loads as even as availability allows: they
    minimise every symmetric convex cost, hence the largest and the spread at once (Harvey, Ladner, Lovasz,
    Tamir, "Semi-matchings for bipartite graphs and load balancing", 2006). With every label available this is
    a random permutation dealt round robin.
    """
    tasks = range(available.shape[1])
    has: list[list[bool]] = available.tolist()
    columns = torch.arange(len(tasks))
    ties: list[list[int]] = streams.bits(seed, "labels one tie", ids[:, None], columns).tolist()
    by_id = ids.argsort()
    rows = by_id[torch.searchsorted(ids[by_id], streams.order(seed, "labels one", ids))].tolist()
    dealt: list[list[int]] = [[] for _ in tasks]
    movable = [[0] * len(tasks) for _ in tasks]  # movable[t][u]: images dealt to t that have u as well

    def move(row: int, task: int, step: int) -> None:
        if step > 0:
            dealt[task].append(row)
        else:
            dealt[task].remove(row)
        for other in tasks:
            movable[task][other] += step * has[row][other]

    for row in rows:
        frontier = sorted((task for task in tasks if has[row][task]), key=lambda task: ties[row][task])
        previous: dict[int, int | None] = dict.fromkeys(frontier)
        while frontier:
            links: dict[int, int | None] = {}
            for other in (task for task in tasks if task not in previous):
                sources = [task for task in frontier if movable[task][other]]
                if sources:
                    # The task with most to give away gives: else one would lose all of a rare kind.
                    links[other] = max(sources, key=lambda task: (movable[task][other], ties[row][task]))
            previous |= links
            frontier = list(links)
        if not previous:
            continue
        # Of equal ones the first: the shortest chain, then chance.
        target = min(previous, key=lambda task: len(dealt[task]))
        while (source := previous[target]) is not None:
            passed_on = next(held for held in reversed(dealt[source]) if has[held][target])
            move(passed_on, source, -1)
            move(passed_on, target, +1)
            target = source
        move(row, target, +1)

    mask = torch.zeros_like(available)
    for task in tasks:
        mask[dealt[task], task] = True
    return mask


def mask_hash(ids: Tensor, mask: Tensor, tasks: Sequence[str]) -> str:
    """Hash who is labelled for which of the tasks (columns), whatever the order; 16 hex digits."""
    columns = sorted(range(len(tasks)), key=lambda column: tasks[column])
    rows = ids.argsort()
    digest = hashlib.sha256(json.dumps([tasks[column] for column in columns]).encode())
    digest.update(ids[rows].to(torch.int64).numpy().astype("<i8").tobytes())
    digest.update(mask[rows][:, columns].to(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def complete(setting: str, mask: Tensor) -> bool:
    """Tell whether a run's labels are complete.

    By their setting, `full` or all of `fraction`, so that one image without a label does not make full labels
    partial ones; or since every image carries every label.
    """
    return parse(setting) in (Setting("full"), Setting("fraction", 1.0)) or bool(mask.all())
