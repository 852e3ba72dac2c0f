"""A data set of one's own: written by `bench new --dataset`, checked by `bench check`, and used."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize as unit

from benchmark.contract import datasets as contract_data
from benchmark.errors import UserError
from benchmark.spec import plugins, registry
from datasets import scenes
from datasets.base import Split
from tests.commands import sets
from tests.conftest import Bench
from tests.helpers import TASKS, failures, replace_in, tiny_split
from tests.test_own_method import clean, only_check


def fill(data: Path) -> None:
    """Twenty train and four test images of 24x32 for the template's reader; labels are partial."""
    for split, count in (("train", 20), ("test", 4)):
        folder = data / "my-rooms" / split
        folder.mkdir(parents=True)
        for i in range(count):
            draws = np.random.default_rng(i + 100 * (split == "test"))
            Image.fromarray(draws.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(folder / f"{i:02d}.jpg")
            if i % 2 or split == "test":
                classes = Image.fromarray(draws.integers(0, 3, (24, 32), dtype=np.uint8))
                classes.save(folder / f"{i:02d}-semseg.png")
            if not i % 2 or split == "test":
                np.save(folder / f"{i:02d}-depth.npy", draws.uniform(1, 4, (24, 32)).astype(np.float32))


@pytest.fixture
def mine(bench: Bench, tmp_path: Path) -> Path:
    file = tmp_path / "my_rooms.py"
    assert f"bench check {file}" in bench.ok("new", "my_rooms", "--dataset", "--out", tmp_path)
    fill(tmp_path / "data")
    return file


def test_what_new_writes_keeps_the_contract_and_runs(bench: Bench, mine: Path, tmp_path: Path) -> None:
    assert clean(mine)
    data = ("--data", tmp_path / "data")
    out = bench.ok("check", mine, *data)
    assert "my-rooms passes all 6 checks" in out and "--set dataset=my-rooms" in out
    settings = sets("seeds=1", "epochs=1", "dataset=my-rooms", 'tasks=["semseg", "depth"]', "labels=given")
    run = ("run", "--plugin", mine, "multi_task", *settings, "--results", tmp_path / "runs", *data)
    assert "my-rooms-v1" in bench.ok(*run)
    assert "nothing to do" in bench.ok(*run)
    assert "my-rooms-v1" in bench.ok("leaderboard", "--results", tmp_path / "runs")  # without the plug-in
    public = ("--all", "--published-in", tmp_path / "public", "--results", tmp_path / "runs")
    code, out, err = bench("publish", *public)
    assert code == 2 and "1 runs of data, labels or methods of your own" in out, out + err
    assert "my-rooms" in bench.ok("data", "list", "--plugin", mine, *data)
    bench.ok("data", "show", "my-rooms", "--plugin", mine, "--out", tmp_path / "sheet.png", *data)
    assert (tmp_path / "sheet.png").exists()
    show = ("labels", "show", "my-rooms", *data)
    assert "images by number of labels" in bench.ok(*show, "--plugin", mine)
    code, _, err = bench(*show)
    assert code == 2 and "unknown data set 'my-rooms'" in err


def test_the_longest_of_two_names_is_meant_and_a_path_is_none(mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "scenes_big.py"
    other.write_text(mine.read_text().replace("my-rooms", "scenes-big"))
    plugins.use(other)
    assert registry.dataset("scenes-big-v1").name == "scenes-big"
    assert registry.dataset("scenes-v1") is scenes.Scenes
    for name in ("own-data-/../../V", "own-data-..\\V", "scenes\n", "", "own-data-" + 300 * "x"):
        with pytest.raises(UserError, match="is not the name of a data set; give one of letters, digits"):
            registry.dataset(name)


def test_the_data_sets_of_the_tree_keep_the_contract(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SIZES", {"train": 20, "test": 18})  # splits are read whole
    assert "scenes passes all 6 checks" in bench.ok("check", "scenes")


HASH = "hashlib.sha256(images.tobytes() + semseg.tobytes() + depth.tobytes())"
DEPTH, IDS = '"depth": torch.from_numpy(depth)', "ids=torch.arange(len(files))"
BROKEN = {
    "licence": ('licence: ClassVar[str] = "what it may be used for"', 'licence = ""', "description",
                "licence is not a text"),
    "variant": ('variant = "my-rooms-v1"', 'variant = "rooms-v1"', "description",
                "does not start with the name 'my-rooms'"),
    "task": ('"depth": depth()}', '"range": depth()}', "description",
             r"tasks\['range'\] is not a Task called 'range'"),
    "dtype": ("targets={", "targets={'depth': torch.from_numpy(depth), ", "shapes",
              r"targets \['depth', 'semseg'\], not"),
    "float": ("torch.from_numpy(images)", "torch.from_numpy(images).float()", "shapes",
              r"train images is .* float32, not"),
    "class": ("images[i], ext", "row.targets['semseg'][:] = 7\n            images[i], ext", "values",
              "train semseg holds 7, which is neither one of 3 classes nor 255"),
    "absent": ("(depth > 0).any((1, 2, 3))", "(depth > -1).any((1, 2, 3))", "values",
               "available without a labelled pixel"),
    "ids": (IDS, "ids=torch.zeros(len(files), dtype=torch.int64)", "samples", "ids that are not"),
    "both": ("(self.folder / name)", '(self.folder / "train")', "samples",
             "the image of train sample '00' is in test, too"),
    "chance": ("hashlib.sha256(images", "hashlib.sha256(np.random.bytes(8) + images", "repeatable",
               "two contents or"),
    "limit": ("[:limit]", "[-(limit or 0):]", "repeatable", "are not those that a limit gives"),
    "one print": (HASH, "hashlib.sha256(b'')", "repeatable", "has one fingerprint for"),
    "later": ("images[i], ext", "row.targets['depth'][:] -= 9 * (i > 16)\n            images[i], ext",
              "values", "train depth holds values that are negative"),
    "millimetres": (DEPTH, '"depth": torch.from_numpy(1000 * depth)', "values",
                    r"depth has a median of 2\d\d\d, which looks like millimetres; give metres"),
    "one size": ("files = sorted(", "size = self.default_size\n        files = sorted(", "sizes",
                 r"train at 48x64 images is .* not \(2, 3, 48, 64\)"),
    "negative id": (IDS, f"{IDS} - 1", "samples", "train has the negative id -1"),
    "gradient": (DEPTH, f"{DEPTH}.requires_grad_()", "shapes", "depth requires a gradient; detach it"),
    "empty": ("if not files:", "if name == 'test':\n            files = []\n        elif not files:",
              "shapes", "test has no sample"),
    "of sizes": (HASH, "hashlib.sha256(f'{name} {len(files)}'.encode())", "sizes",
                 "train has one fingerprint for two sizes"),
    "of splits": (HASH, "hashlib.sha256(f'{min(len(files), 4)} {size}'.encode())", "samples",
                  "train and test have one fingerprint"),
    "raises": ("files = sorted(", "files = 1 / 0 or sorted(", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_its_reason(
    bench: Bench, mine: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, check, reason = BROKEN[case]
    only_check(check, contract_data, monkeypatch)
    replace_in(mine, old, new)
    code, out, err = bench("check", mine, "--json", "--data", tmp_path / "data")
    assert code == 1, out + err
    found = {f["check"]: f["reason"] for f in json.loads(out) if not f["kept"]}
    if case == "raises":
        assert found == {"reading": "ZeroDivisionError: division by zero"}
    else:
        assert check in found and re.search(reason, found[check]), found


class Rooms:
    """All six tasks, 20 train and 6 test samples of equal names; `odd` changes what is read."""

    name, variant, summary, source, licence = "rooms", "rooms-v1", "rooms", "made up", "any"
    default_size, tasks = (32, 64), TASKS

    def __init__(self, odd: Callable[[Split], Split]) -> None:
        self.odd = odd

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        whole = tiny_split(20 if name == "train" else 6, seed=int(name == "test"), size=size)
        part = slice(limit)
        targets = {task: target[part] for task, target in whole.targets.items()}
        samples = (whole.ids[part], whole.names[part], whole.images[part], targets, whole.available[part])
        return self.odd(Split(*samples, f"{name} {limit} {size}"))


def with_normals(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Split], Split]:
    def odd(split: Split) -> Split:
        vectors = change(split.targets["normals"].float() / 127)
        return replace(split, targets=split.targets | {"normals": (vectors * 127).round().to(torch.int8)})

    return odd


@pytest.mark.parametrize(
    ("odd", "check", "reason"),
    [
        (lambda split: split, "", ""),
        (with_normals(lambda n: (n + 1) / 2), "values", r"of length \d+, which is neither 127 nor 0"),
        (with_normals(lambda n: 0.8 * n), "values", "train normals holds a vector of length 10"),
        (with_normals(unit), "", ""),
        (with_normals(lambda n: unit((n + 1) / 2)), "values", "normals holds no negative component"),
        (with_normals(torch.zeros_like), "values", "of sample 'tiny-0' is available without a"),
        (lambda split: replace(split, targets=split.targets | {"edge": split.targets["edge"] * 255}), "", ""),
    ],
    ids=["whole", "halves", "short", "unit", "unit halves", "none", "no edge"],
)  # fmt: skip
def test_values_of_every_kind_of_task_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, odd: Callable[[Split], Split], check: str, reason: str
) -> None:
    monkeypatch.setattr(registry, "open_dataset", lambda name, data: Rooms(odd))
    found = failures(contract_data.check("rooms", tmp_path))
    assert list(found) == ([check] if check else []) and re.search(reason, found.get(check, "")), found


def test_bad_input_is_one_sentence(bench: Bench, mine: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["check", mine, "--data", tmp_path / "none"], "there is no .jpg in"),
        (["check", mine, "--set", "batch=2", "--data", tmp_path / "data"], "--set batch=2 is for methods;"),
    ):
        assert message in bench.refused(*arguments)
    for name, text, message in (
        ("scenes", mine.read_text(), "has the same name as the built-in data set scenes; rename it"),
        ("other", mine.read_text(), "other.py defines 0 classes with name = 'other'"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        assert message in bench.refused("check", tmp_path / f"{name}.py", "--data", tmp_path / "data")
