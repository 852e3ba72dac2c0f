"""Label sampling: what each setting promises, for every availability."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from torch import Tensor

from benchmark.errors import UserError
from datasets import labels

SETTINGS = ("full", "given", "one", "random", "fraction:0.6")
EXPECTED = {
    "full": "5d468d247bf51e1b",
    "given": "5d468d247bf51e1b",
    "one": "b1b72ea0197525dd",
    "random": "a249d602bb7f1b60",
    "fraction:0.6": "b0aa640c0e0fcc80",
}
SAMPLES = settings(max_examples=60, deadline=None)


@st.composite
def problems(draw: st.DrawFn, images: int = 40, tasks: int = 5) -> tuple[Tensor, Tensor, int]:
    """Distinct ids in any order, availability, seed."""
    number = draw(st.integers(1, images))
    width = draw(st.integers(1, tasks))
    ids = draw(st.lists(st.integers(0, 10**6), min_size=number, max_size=number, unique=True))
    rows = draw(st.lists(st.integers(0, 2**width - 1), min_size=number, max_size=number))
    available = torch.tensor([[bool(row >> task & 1) for task in range(width)] for row in rows])
    return torch.tensor(ids), available, draw(st.integers(0, 2**40))


def sample(ids: Tensor, available: Tensor, setting: str, seed: int) -> Tensor | None:
    """The mask, or None when a fraction is refused for leaving a task without a label."""
    try:
        return labels.sample(ids, available, setting, seed)
    except UserError:
        assert setting.startswith("fraction") and any(
            round(0.6 * n) == 0 for n in available.sum(0).tolist() if n
        )
        return None


@pytest.mark.parametrize("setting", SETTINGS)
@SAMPLES
@given(problem=problems(), shuffle=st.randoms(use_true_random=False))
def test_masks_respect_availability_and_ignore_the_order_of_ids(setting, problem, shuffle):
    ids, available, seed = problem
    mask = sample(ids, available, setting, seed)
    order = list(range(len(ids)))
    shuffle.shuffle(order)
    shuffled = sample(ids[order], available[order], setting, seed)
    if mask is None:
        assert shuffled is None
        return
    assert mask.dtype == torch.bool and mask.shape == available.shape
    assert not (mask & ~available).any()
    assert shuffled is not None and torch.equal(shuffled, mask[order])
    names = [f"task {column}" for column in range(mask.shape[1])]
    assert labels.mask_hash(ids[order], shuffled, names) == labels.mask_hash(ids, mask, names)


@SAMPLES
@given(problem=problems())
def test_full_and_given_hide_nothing(problem):
    ids, available, seed = problem
    for setting in ("full", "given"):
        mask = labels.sample(ids, available, setting, seed)
        assert torch.equal(mask, available)
        mask.fill_(False)  # the caller's availability is not handed out
        assert torch.equal(available, labels.sample(ids, available, "full", seed))


@SAMPLES
@given(problem=problems())
def test_one_gives_exactly_one_label_to_each_image_that_has_any(problem):
    ids, available, seed = problem
    mask = labels.sample(ids, available, "one", seed)
    assert torch.equal(mask.sum(1), available.any(1).long())


def every_load(available: Tensor) -> set[tuple[int, ...]]:
    """All counts per task that some one-label mask has: slow, by enumeration."""
    loads = {(0,) * available.shape[1]}
    for row in available.tolist():
        if any(row):
            loads = {
                (*load[:task], load[task] + 1, *load[task + 1 :])
                for load in loads
                for task, has in enumerate(row)
                if has
            }
    return loads


@SAMPLES
@given(problem=problems(images=9, tasks=4))
def test_one_is_as_even_as_availability_allows(problem):
    ids, available, seed = problem
    dealt = tuple(labels.sample(ids, available, "one", seed).sum(0).tolist())
    loads = every_load(available)
    assert dealt in loads
    assert sum(n * n for n in dealt) == min(sum(n * n for n in load) for load in loads)
    assert max(dealt) == min(max(load) for load in loads)
    assert min(dealt) == max(min(load) for load in loads)
    assert max(dealt) - min(dealt) == min(max(load) - min(load) for load in loads)


def nested(number: int) -> Tensor:
    """Five tasks: parts in a third of the images, normals in half, all else everywhere."""
    position = torch.arange(number)
    available = torch.ones(number, 5, dtype=torch.bool)
    available[:, 1] = position % 3 == 0
    available[:, 3] = position < number // 2
    return available


@pytest.mark.parametrize("number", [4998, 795, 64, 17])
def test_one_deals_evenly_over_scarce_labels(number):
    counts = labels.sample(torch.arange(number), nested(number), "one", 3).sum(0)
    assert counts.sum() == number
    assert counts.max() - counts.min() <= 1


def test_one_does_not_empty_a_task_of_the_images_that_have_a_scarce_label():
    available = torch.ones(3000, 5, dtype=torch.bool)
    available[:, 1] = torch.arange(3000) % 3 == 0
    mask = labels.sample(torch.arange(3000), available, "one", 0)
    others = mask[available[:, 1]].sum(0)[[0, 2, 3, 4]]
    # 600 of the 1000 images with parts get parts; the other 400 are shared evenly.
    assert others.sum() == 400
    assert others.min() >= 80 and others.max() <= 120


def test_one_is_fair_to_every_image():
    """Over seeds, an image with every label gets each task equally often, wherever it stands."""
    seeds, available = 600, torch.ones(10, 3, dtype=torch.bool)
    total = sum(labels.sample(torch.arange(10), available, "one", seed).double() for seed in range(seeds))
    deviation = (seeds * (1 / 3) * (2 / 3)) ** 0.5
    assert ((torch.as_tensor(total) - seeds / 3).abs() < 4 * deviation).all()


@SAMPLES
@given(problem=problems())
def test_random_labels_one_to_all_but_one_of_the_available_tasks(problem):
    ids, available, seed = problem
    mask = labels.sample(ids, available, "random", seed)
    for labelled, existing in zip(mask.sum(1).tolist(), available.sum(1).tolist(), strict=True):
        assert min(1, existing) <= labelled <= min(existing, max(1, existing - 1))


@SAMPLES
@given(problem=problems(), data=st.data())
def test_random_labels_of_an_image_do_not_depend_on_the_others(problem, data):
    ids, available, seed = problem
    some = data.draw(st.lists(st.sampled_from(range(len(ids))), min_size=1, unique=True))
    mask = labels.sample(ids, available, "random", seed)
    assert torch.equal(labels.sample(ids[some], available[some], "random", seed), mask[some])


def test_random_draws_number_and_subset_uniformly():
    number = 6000
    mask = labels.sample(torch.arange(number), torch.ones(number, 4, dtype=torch.bool), "random", 5)
    subsets = Counter(tuple(row) for row in mask.tolist())
    for k, ways in ((1, 4), (2, 6), (3, 4)):
        expected = number / 3 / ways
        found = [count for subset, count in subsets.items() if sum(subset) == k]
        assert len(found) == ways
        assert all(abs(count - expected) < 4 * expected**0.5 for count in found)


def test_random_has_the_statistics_of_the_published_split():
    """MTPSL's NYUv2 random-label split: 405 images with one label, 390 with two, none with none or three."""
    per_task, per_image = labels.counts(
        labels.sample(torch.arange(795), torch.ones(795, 3, dtype=torch.bool), "random", 0)
    )
    assert per_image[0] == per_image[3] == 0 and abs(per_image[1] - 397) < 60
    assert all(abs(count - 397) < 60 for count in per_task)


@SAMPLES
@given(problem=problems(), p=st.floats(0.05, 1), q=st.floats(0.05, 1))
def test_fractions_have_their_size_and_are_nested(problem, p, q):
    ids, available, seed = problem
    p, q = sorted((p, q))
    if any(round(p * n) == 0 for n in available.sum(0).tolist() if n):
        with pytest.raises(UserError, match="use a larger share"):
            labels.sample(ids, available, f"fraction:{p}", seed)
        return
    small, large = (labels.sample(ids, available, f"fraction:{share}", seed) for share in (p, q))
    assert not (small & ~large).any()
    assert small.sum(0).tolist() == [round(p * n) for n in available.sum(0).tolist()]
    assert torch.equal(labels.sample(ids, available, "fraction:1", seed), available)


def test_fractions_of_different_tasks_are_independent():
    mask = labels.sample(torch.arange(4000), torch.ones(4000, 2, dtype=torch.bool), "fraction:0.5", 1)
    both = int((mask[:, 0] & mask[:, 1]).sum())
    assert abs(both - 1000) < 150


@pytest.mark.parametrize("setting", ["one", "random", "fraction:0.5"])
def test_seeds_and_ids_matter(setting):
    available = torch.ones(60, 3, dtype=torch.bool)
    mask = labels.sample(torch.arange(60), available, setting, 0)
    assert torch.equal(mask, labels.sample(torch.arange(60), available, setting, 0))
    assert not torch.equal(mask, labels.sample(torch.arange(60), available, setting, 1))
    assert not torch.equal(mask, labels.sample(torch.arange(60) + 60, available, setting, 0))


def test_masks_of_seed_0_stay_what_they_are():
    """Recorded masks must be drawn again in years to come: these hashes may change with a new version of
    records alone.
    """
    ids, available = torch.arange(100), nested(100)
    names = ["semseg", "parts", "depth", "normals", "edge"]
    hashes = {
        setting: labels.mask_hash(ids, labels.sample(ids, available, setting, 0), names)
        for setting in SETTINGS
    }
    assert hashes == EXPECTED


@pytest.mark.parametrize(
    "setting",
    ["full", "given", "one", "random", "fraction:0.25", "fraction:1.0", "published:one", "published:random"],
)
def test_settings_survive_a_round_trip(setting):
    assert str(labels.parse(setting)) == setting
    assert labels.parse(str(labels.parse(setting))) == labels.parse(setting)


def test_one_share_has_one_name():
    assert {str(labels.parse(text)) for text in ("fraction:0.50", "fraction:.5", "fraction:5e-1")} == {
        "fraction:0.5"
    }


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "abc", "nan", "inf", "", "0.5:0.5"])
def test_bad_shares_are_refused(value):
    with pytest.raises(UserError, match=r"above 0 and at most 1, as in 'fraction:0\.25'"):
        labels.parse(f"fraction:{value}")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fraction", "above 0 and at most 1"),
        ("one:2", "takes no value; write 'one'"),
        ("randon", "did you mean 'random'"),
        ("fractoin:0.5", "did you mean 'fraction:p'"),
        ("published", "unknown label setting 'published'; did you mean 'published:one'"),
        ("published:on", "did you mean 'published:one'"),
        (
            "published:one",
            "label setting 'published:one' is for data with a split that papers publish, and these have none",
        ),
        ("", "known: fraction:p, full, given, one, published:one, published:random, random"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(UserError) as caught:
        labels.sample(torch.arange(2), torch.ones(2, 2, dtype=torch.bool), setting, 0)
    assert message in str(caught.value)


@pytest.mark.parametrize("which", ["one", "random"])
def test_a_published_split_is_used_as_it_is_where_labels_exist(which):
    splits = {"one": torch.eye(3, dtype=torch.bool), "random": ~torch.eye(3, dtype=torch.bool)}
    available = torch.ones(3, 3, dtype=torch.bool)
    available[1] = torch.tensor([False, False, True])
    for seed in (0, 1):
        mask = labels.sample(
            torch.tensor([4, 5, 9]), available, f"published:{which}", seed, splits.__getitem__
        )
        expected = splits[which].clone()
        expected[1, :2] = False
        assert torch.equal(mask, expected)


def test_other_settings_ask_for_no_published_split():
    def published(which):
        raise AssertionError(which)

    for setting in SETTINGS:
        labels.sample(torch.arange(9), torch.ones(9, 3, dtype=torch.bool), setting, 0, published)


def test_ids_must_be_distinct():
    with pytest.raises(ValueError, match="distinct"):
        labels.sample(torch.tensor([1, 1]), torch.ones(2, 2, dtype=torch.bool), "one", 0)


def test_hash_tells_every_single_label_ids_and_tasks_apart():
    ids, names = torch.arange(4), ["a", "b"]
    masks = [torch.tensor(cells).view(4, 2) for cells in itertools.product([False, True], repeat=8)]
    assert len({labels.mask_hash(ids, mask, names) for mask in masks}) == 256
    mask = masks[77]
    assert labels.mask_hash(ids + 1, mask, names) != labels.mask_hash(ids, mask, names)
    assert labels.mask_hash(ids, mask, ["a", "c"]) != labels.mask_hash(ids, mask, names)
    assert labels.mask_hash(ids, mask.flip(1), ["b", "a"]) == labels.mask_hash(ids, mask, names)


def test_summaries():
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    assert labels.shares(mask).tolist() == [0.75, 0.5, 0.25]
    assert labels.counts(mask) == ((3, 2, 1), (1, 1, 1, 1))
    assert labels.restrict(mask, [2, 0]).tolist() == [
        [False, True],
        [False, True],
        [False, False],
        [True, True],
    ]


def test_picture_shows_labels_hidden_labels_and_missing_ones():
    mask = torch.tensor([[True, False], [False, True], [False, False]])
    available = torch.tensor([[True, True], [False, True], [True, False]])
    figure = labels.picture(mask, ["depth", "parts"], available)
    (axes,) = figure.axes
    (image,) = axes.get_images()
    pixels = [[to_hex(cell) for cell in row] for row in image.get_array()]
    blue, orange, hidden, missing = (
        colour.lower() for colour in (*labels.COLOURS[:2], labels.HIDDEN, labels.MISSING)
    )
    assert pixels[:2] == [[blue, missing, hidden], [hidden, orange, missing]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["depth: 1 (33 %)", "parts: 1 (33 %)", "hidden", "does not exist"]


@pytest.mark.parametrize("number", [1, 61, 1000])
def test_picture_shows_every_image_once(number):
    mask = torch.ones(number, 3, dtype=torch.bool)
    cells = torch.as_tensor(labels.picture(mask, ["a", "b", "c"]).axes[0].get_images()[0].get_array().copy())
    assert ((cells - cells.new_tensor([0, 114 / 255, 178 / 255])).abs().amax(-1) < 1e-3).sum() == number


@pytest.mark.parametrize(
    ("setting", "every", "expected"),
    [
        ("full", False, True), ("fraction:1", False, True), ("fraction:0.5", False, False), ("given", False,
        False),
        ("random", False, False), ("given", True, True), ("fraction:0.999", True, True),
    ],
)  # fmt: skip
def test_labels_are_complete_by_their_setting_or_where_every_image_has_every_one(setting, every, expected):
    mask = torch.tensor([[True, True], [True, every]])
    assert labels.complete(setting, mask) is expected
