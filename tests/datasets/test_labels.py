"""Label settings: what each promises for every availability, masks that never change, and their picture."""

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.errors import UserError
from datasets import labels

# Recorded masks must be drawn again in years to come: these may change with a new version of records alone.
EXPECTED = {
    "full": "5d468d247bf51e1b", "given": "5d468d247bf51e1b", "one": "b1b72ea0197525dd",
    "random": "a249d602bb7f1b60", "fraction:0.6": "b0aa640c0e0fcc80",
}  # fmt: skip
SAMPLES = settings(max_examples=25, deadline=None)


@st.composite
def problems(draw: st.DrawFn, images: int = 30, tasks: int = 5) -> tuple[Tensor, Tensor, int]:
    """Distinct ids in any order, availability, seed."""
    number, width = draw(st.integers(1, images)), draw(st.integers(1, tasks))
    ids = draw(st.lists(st.integers(0, 10**6), min_size=number, max_size=number, unique=True))
    rows = draw(st.lists(st.integers(0, 2**width - 1), min_size=number, max_size=number))
    available = torch.tensor([[bool(row >> task & 1) for task in range(width)] for row in rows])
    return torch.tensor(ids), available, draw(st.integers(0, 2**40))


def nested(number: int) -> Tensor:
    """Five tasks: parts in a third of the images, normals in half, all else everywhere."""
    available = torch.ones(number, 5, dtype=torch.bool)
    available[:, 1] = torch.arange(number) % 3 == 0
    available[:, 3] = torch.arange(number) < number // 2
    return available


def ones(number: int, tasks: int) -> Tensor:
    return torch.ones(number, tasks, dtype=torch.bool)


def lost(available: Tensor, p: float) -> bool:
    """Whether a fraction leaves a task without its last label."""
    return any(round(p * n) == 0 for n in available.sum(0).tolist() if n)


@pytest.mark.parametrize("setting", EXPECTED)
@SAMPLES
@given(problem=problems(), shuffle=st.randoms(use_true_random=False))
def test_masks_respect_availability_whatever_the_order(setting: str, problem: Any, shuffle: Any) -> None:
    ids, available, seed = problem
    if setting == "fraction:0.6" and lost(available, 0.6):
        with pytest.raises(UserError, match="use a larger share"):
            labels.sample(ids, available, setting, seed)
        return
    mask = labels.sample(ids, available, setting, seed)
    order = list(range(len(ids)))
    shuffle.shuffle(order)
    shuffled = labels.sample(ids[order], available[order], setting, seed)
    assert mask.dtype == torch.bool and mask.shape == available.shape and not (mask & ~available).any()
    assert torch.equal(shuffled, mask[order])
    names = [f"task {column}" for column in range(mask.shape[1])]
    assert labels.mask_hash(ids[order], shuffled, names) == labels.mask_hash(ids, mask, names)
    if setting in ("full", "given"):
        assert torch.equal(mask, available)
        mask.fill_(False)  # the caller's availability is not handed out
        assert torch.equal(available, labels.sample(ids, available, "full", seed))
    if setting == "random":
        some = order[: max(1, len(ids) // 2)]
        assert torch.equal(labels.sample(ids[some], available[some], "random", seed), mask[some]), "of others"
        for labelled, existing in zip(mask.sum(1).tolist(), available.sum(1).tolist(), strict=True):
            assert min(1, existing) <= labelled <= min(existing, max(1, existing - 1))


def every_load(available: Tensor) -> set[tuple[int, ...]]:
    """All counts per task that some one-label mask has: slow, by enumeration."""
    loads = {(0,) * available.shape[1]}
    for row in available.tolist():
        has = [task for task, exists in enumerate(row) if exists]
        if has:
            loads = {(*load[:t], load[t] + 1, *load[t + 1 :]) for load in loads for t in has}
    return loads


@SAMPLES
@given(problem=problems(images=9, tasks=4))
def test_one_gives_each_image_one_label_as_evenly_as_availability_allows(problem: Any) -> None:
    ids, available, seed = problem
    mask = labels.sample(ids, available, "one", seed)
    assert torch.equal(mask.sum(1), available.any(1).long())
    dealt, loads = tuple(mask.sum(0).tolist()), every_load(available)
    assert dealt in loads
    assert sum(n * n for n in dealt) == min(sum(n * n for n in load) for load in loads)
    assert max(dealt) == min(map(max, loads)) and min(dealt) == max(map(min, loads))
    assert max(dealt) - min(dealt) == min(max(load) - min(load) for load in loads)


def test_one_deals_evenly_over_scarce_labels_without_emptying_their_images() -> None:
    for number in (4998, 795, 64, 17):
        counts = labels.sample(torch.arange(number), nested(number), "one", 3).sum(0)
        assert counts.sum() == number and counts.max() - counts.min() <= 1
    available = ones(3000, 5)
    available[:, 1] = torch.arange(3000) % 3 == 0
    mask = labels.sample(torch.arange(3000), available, "one", 0)
    others = mask[available[:, 1]].sum(0)[[0, 2, 3, 4]]
    # 600 of the 1000 images with parts get parts; the other 400 are shared evenly.
    assert others.sum() == 400 and others.min() >= 80 and others.max() <= 120


def test_one_is_fair_to_every_image() -> None:
    """Over seeds, an image with every label gets each task equally often, wherever it stands."""
    seeds = 300
    total = sum(labels.sample(torch.arange(10), ones(10, 3), "one", seed).double() for seed in range(seeds))
    deviation = (seeds * (1 / 3) * (2 / 3)) ** 0.5
    assert ((torch.as_tensor(total) - seeds / 3).abs() < 4 * deviation).all()


def test_random_draws_number_and_subset_uniformly_as_the_published_split_does() -> None:
    number = 6000
    mask = labels.sample(torch.arange(number), ones(number, 4), "random", 5)
    subsets = Counter(tuple(row) for row in mask.tolist())
    for k, ways in ((1, 4), (2, 6), (3, 4)):
        expected = number / 3 / ways
        found = [count for subset, count in subsets.items() if sum(subset) == k]
        assert len(found) == ways and all(abs(count - expected) < 4 * expected**0.5 for count in found)
    # MTPSL's NYUv2 random-label split: 405 images with one label, 390 with two, none with none or three.
    mask = labels.sample(torch.arange(795), ones(795, 3), "random", 0)
    per_task, per_image = mask.sum(0).tolist(), mask.sum(1).bincount(minlength=4).tolist()
    assert per_image[0] == per_image[3] == 0 and all(abs(n - 397) < 60 for n in (per_image[1], *per_task))


@SAMPLES
@given(problem=problems(), p=st.floats(0.05, 1), q=st.floats(0.05, 1))
def test_fractions_have_their_size_and_are_nested(problem: Any, p: float, q: float) -> None:
    ids, available, seed = problem
    p, q = sorted((p, q))
    if lost(available, p):
        with pytest.raises(UserError, match="use a larger share"):
            labels.sample(ids, available, f"fraction:{p}", seed)
        return
    small, large = (labels.sample(ids, available, f"fraction:{share}", seed) for share in (p, q))
    assert not (small & ~large).any()
    assert small.sum(0).tolist() == [round(p * n) for n in available.sum(0).tolist()]
    assert torch.equal(labels.sample(ids, available, "fraction:1", seed), available)


def test_masks_of_seed_0_stay_what_they_are() -> None:
    ids, available = torch.arange(100), nested(100)
    names = ["semseg", "parts", "depth", "normals", "edge"]
    masks = {setting: labels.sample(ids, available, setting, 0) for setting in EXPECTED}
    assert {setting: labels.mask_hash(ids, mask, names) for setting, mask in masks.items()} == EXPECTED


def test_settings_survive_a_round_trip_and_one_share_has_one_name() -> None:
    for setting in (*EXPECTED, "fraction:0.25", "fraction:1.0", "published:one", "published:random"):
        assert str(labels.parse(setting)) == setting
    half = {str(labels.parse(text)) for text in ("fraction:0.50", "fraction:.5", "fraction:5e-1")}
    assert half == {"fraction:0.5"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *((f"fraction:{p}", "above 0 and at most 1, as in 'fraction:0.25'") for p in ("0", "1.5", "-1", "x")),
        *((f"fraction{p}", "above 0 and at most 1") for p in ("", ":", ":nan", ":inf", ":0.5:0.5")),
        ("one:2", "takes no value; write 'one'"), ("randon", "did you mean 'random'"),
        ("fractoin:0.5", "did you mean 'fraction:p'"), ("published:on", "did you mean 'published:one'"),
        ("published", "unknown label setting 'published'; did you mean 'published:one'"),
        ("published:one", "is for data with a split that papers publish, and these have none"),
        ("", "known: fraction:p, full, given, one, published:one, published:random, random"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        labels.sample(torch.arange(2), ones(2, 2), setting, 0)
    assert message in str(caught.value)


def test_no_other_setting_asks_for_a_published_split_and_ids_are_distinct() -> None:
    for setting in EXPECTED:
        labels.sample(torch.arange(9), ones(9, 3), setting, 0, {}.__getitem__)
    with pytest.raises(ValueError, match="distinct"):
        labels.sample(torch.tensor([1, 1]), ones(2, 2), "one", 0)


def test_hash_tells_every_single_label_ids_and_tasks_apart() -> None:
    ids, names = torch.arange(4), ["a", "b"]
    masks = [torch.tensor(cells).view(4, 2) for cells in itertools.product([False, True], repeat=8)]
    assert len({labels.mask_hash(ids, mask, names) for mask in masks}) == 256
    mask = masks[77]
    assert labels.mask_hash(ids + 1, mask, names) != labels.mask_hash(ids, mask, names)
    assert labels.mask_hash(ids, mask, ["a", "c"]) != labels.mask_hash(ids, mask, names)
    assert labels.mask_hash(ids, mask.flip(1), ["b", "a"]) == labels.mask_hash(ids, mask, names)


def test_labels_are_complete_by_their_setting_or_since_all_are_there() -> None:
    partial = torch.tensor([[True, True], [True, False]])
    complete = {"full": True, "fraction:1": True, "fraction:0.5": False, "given": False, "random": False}
    assert {setting: labels.complete(setting, partial) for setting in complete} == complete
