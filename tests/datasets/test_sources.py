"""Several data sets as one: whose labels are seen, in which batches, and on what each task is tested."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.spec import registry
from benchmark.training.batches import Feed
from benchmark.training.build import check_labels
from benchmark.training.evaluate import TestSet
from datasets import labels, tasks
from datasets.base import Split
from datasets.sources import APART, Part, Sources
from datasets.tasks import Task
from tests.helpers import SIZE, TASKS, THREE, tiny_protocol, tiny_spec, tiny_split

STYLES = ("", "-evening", "-mist", "-grey")
NORMALISED = ((0.0,) * 3, (1.0,) * 3)
FEED: dict[str, Any] = {"seed": 1, "views": 0, "normalisation": NORMALISED, "device": "cpu"}


class Tiny:
    """A data set of `tiny_split`."""

    default_size, progress = SIZE, None

    def __init__(self, name: str, count: int, of: dict[str, Task]) -> None:
        self.name = self.variant = name
        self.count, self.tasks = count, of

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        whole = tiny_split(limit or self.count, seed=len(self.name) + (name == "test"))
        targets = {task: whole.targets[task.rstrip("x")] for task in self.tasks}
        available = torch.ones(len(whole), len(targets), dtype=torch.bool)
        return replace(whole, targets=targets, available=available)


def joined(*only: tuple[str, ...], counts: tuple[int, ...] = (4, 8, 12)) -> Sources:
    own = {name: TASKS[name] for name in THREE}
    names = ("first", "secondly", "thirdly, at last")
    return Sources([Part(Tiny(n, c, own), o) for n, c, o in zip(names, counts, only, strict=True)])  # type: ignore[arg-type]


def test_a_task_is_labelled_only_where_its_source_is_asked_for_it() -> None:
    data = joined(("semseg",), ("depth",), ("normals", "depth"))
    split = data.split("train", SIZE)
    assert data.variant == "first:semseg+secondly:depth+thirdly, at last:normals:depth"
    assert list(data.tasks) == ["semseg", "depth", "normals"] and split.source is not None
    for number, (seen, count) in enumerate(((("semseg",), 4), (("depth",), 8), (("normals", "depth"), 12))):
        here = split.source == number
        own = data.parts[number].dataset.split("train", SIZE)
        assert int(here.sum()) == count and torch.equal(split.images[here], own.images)
        assert torch.equal(split.ids[here], own.ids + number * APART)
        for t, (name, task) in enumerate(data.tasks.items()):
            assert bool((split.available[here, t] == (name in seen)).all())
            maps = split.targets[name][here]
            assert torch.equal(maps, own.targets[name]) if name in seen else bool((maps == task.ignore).all())
    # Any part has each source's share: what tuning sets aside is none that was joined last.
    shares = [split.source[k : k + 6].bincount(minlength=3).tolist() for k in range(0, 24, 6)]
    assert all(share == [1, 2, 3] for share in shares)
    assert len(data.split("train", SIZE, 7)) == 7
    assert data.split("train", SIZE).fingerprint != joined(*[()] * 3).split("train", SIZE).fingerprint


def test_tasks_of_one_name_share_a_head_only_where_they_agree() -> None:
    four, two = TASKS["semseg"], tasks.semseg(("wall", "rest"))
    depths = replace(tasks.depth(), span=(0.0, 80.0))
    parts = [{"semseg": four, "depth": tasks.depth()}, {"semseg": two, "depth": depths}, {"semseg": four}]
    data = Sources([Part(Tiny(n, 4, own)) for n, own in zip("abc", parts, strict=True)])  # type: ignore[arg-type]
    assert {name: task.name for name, task in data.tasks.items()} == {
        "semseg": "semseg", "depth": "depth", "semseg_2": "semseg_2"
    }  # fmt: skip
    own = {"semseg": four, "semseg_2": two}
    third = tasks.semseg(("one", "other", "third"))
    crowded = Sources([Part(Tiny("a", 4, own)), Part(Tiny("b", 4, {"semseg": third}))])  # type: ignore[arg-type]
    assert [len(task.classes) for task in crowded.tasks.values()] == [4, 2, 3]
    split = data.split("train", SIZE)
    assert split.available.float().mean(0).tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3])


def test_labels_are_drawn_within_each_source() -> None:
    data = joined((), (), ())
    train, test = data.split("train", SIZE), data.split("test", SIZE)
    mask = check_labels(tiny_spec(labels="one"), train, test)
    for number, count in enumerate((4, 8, 12)):
        dealt = mask[train.source == number].sum(0)
        assert int(dealt.sum()) == count and int(dealt.max() - dealt.min()) <= 1
    shown = labels.sample(train.ids, train.available, "one", 0, source=train.source)
    assert torch.equal(mask, shown)  # what `bench labels show` draws
    with pytest.raises(UserError, match="use 'given'"):
        check_labels(tiny_spec(labels="full"), train, test)


@pytest.mark.parametrize("sampling", ["proportional", "equal"])
def test_batches_hold_each_source_s_share(sampling: Any) -> None:
    data = joined(("semseg",), ("depth",), ("normals",))
    train = data.split("train", SIZE)
    protocol = tiny_protocol(sampling=sampling, batch=6, epochs=3.0)
    feed = Feed(train, train.available, data.tasks, protocol, **FEED)
    batches = [feed.batch(step) for step in range(feed.steps)]
    seen = torch.cat([batch.index for batch in batches])
    sources = [(batch.index // APART).bincount(minlength=3).tolist() for batch in batches]
    assert feed.steps == 12
    for batch in batches:  # what a batch shows is what its images' source labels
        assert torch.equal(batch.labelled, torch.eye(3, dtype=torch.bool)[batch.index // APART])
    times = [(seen[seen // APART == i]).unique(return_counts=True)[1].tolist() for i in range(3)]
    if sampling == "equal":
        assert all(counts == [2, 2, 2] for counts in sources)
        assert times == [[6] * 4, [3] * 8, [2] * 12]
    else:
        assert len({tuple(counts) for counts in sources}) > 1 and times == [[3] * 4, [3] * 8, [3] * 12]


def test_one_task_s_run_sees_its_sources_alone() -> None:
    data = joined(("semseg",), ("depth",), ("depth",))
    train = data.split("train", SIZE)
    protocol = tiny_protocol(tasks=("semseg", "depth"), sampling="equal")
    own = {"depth": TASKS["depth"]}
    feed = Feed(train, train.available, own, protocol, labelled_only=True, **FEED)
    counts = [(feed.batch(step).index // APART).bincount(minlength=3).tolist() for step in range(feed.steps)]
    assert feed.images == 20 and all(found == [0, 2, 2] for found in counts)


def test_scores_by_source_are_those_of_each_source_alone() -> None:
    data = joined(("semseg",), ("semseg", "depth"), ("normals",))

    class Constant(torch.nn.Module):
        def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            flat = images.mean(1, keepdim=True)
            return {"semseg": flat * torch.arange(4.0).view(1, 4, 1, 1), "depth": flat * 3 + 1,
                    "normals": torch.cat([flat, -flat, -flat - 0.1], 1)}  # fmt: skip

    def scored(split: Split, own: dict[str, Task]) -> Any:
        return TestSet(split, own, NORMALISED, 5, "cpu").scores(Constant(), "fp32")  # type: ignore[arg-type]

    whole = scored(data.split("test", SIZE), data.tasks)
    for name, sources in {"semseg": (0, 1), "depth": (1,), "normals": (2,)}.items():
        assert list(whole[name].by_source) == [data.parts[i].variant for i in sources]
        for i in sources:
            alone = scored(data.parts[i].dataset.split("test", SIZE), {name: TASKS[name]})[name].values
            found = whole[name].by_source[data.parts[i].variant]
            assert found == pytest.approx(alone, rel=1e-12, nan_ok=True)
    assert whole["semseg"].test_images == 12
    pooled = whole["semseg"].values["pixAcc"]
    parts = sorted(values["pixAcc"] for values in whole["semseg"].by_source.values())
    assert parts[0] < pooled < parts[1]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("scenes-mist+scenes-mist", "names a source twice"),
        ("scenes:smell+scenes-grey", "unknown task of scenes-v1 'smell'"),
        ("scenes+scenes:depth", "whose images would count twice"),
        ("scenes:depth:depth+scenes-grey", "names a task twice"),
        ("+".join(f"scenes{s}:semseg:depth:normals:edge:saliency:parts" for s in STYLES), "more than 200"),
        ("scenes-v1-fevening", "unknown variant of scenes"),
        ("scenes+nowhere", "unknown data set 'nowhere'"),
        ("scenes-fog", "unknown variant of scenes"),
        ("scenes+", "not the name of a data set"),
    ],
)
def test_what_cannot_be_joined_is_one_sentence(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        _ = registry.open_dataset(name, tmp_path).tasks


def test_styles_show_other_rooms_and_leave_the_scenes_as_they_were(tmp_path: Path) -> None:
    plain, *others = (registry.open_dataset(f"scenes{style}", tmp_path) for style in STYLES)
    images = [data.split("train", (32, 48), 2).images.float() for data in (plain, *others)]
    assert [data.variant for data in others] == ["scenes-v1-evening", "scenes-v1-mist", "scenes-v1-grey"]
    evening, mist, grey = (found.mean((0, 2, 3)) for found in images[1:])
    assert evening[0] > 1.3 * evening[2] and mist.std() < 25 and grey.max() - grey.min() < 0.01
    assert not torch.equal(images[0], images[3])
