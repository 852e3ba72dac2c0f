"""Folders of one's own data: what a description means, and the sentence for each mistake in it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.spec import plan, registry
from datasets import packed, preparing, tasks
from datasets.layouts.toml_folder import TomlFolder
from datasets.own_data import OwnData
from datasets.packing import narrowed
from tests.datasets import folder_example
from tests.datasets.folder_example import TASKS, TEST, TOML, TRAIN, arrays, stem, taught, write

SIZE = (folder_example.HEIGHT, folder_example.WIDTH)
NAME = "own-data-kitchens"
LISTS = '[splits]\ntrain = "train.txt"\ntest = "test.txt"\n'


def prepare(folder: Path, data: Path, variant: str = NAME, **options: Any) -> tuple[packed.Store, bool]:
    return preparing.prepare(TomlFolder(folder), data, "own-data", variant, SIZE, "scale", **options)


def test_packed_and_unpacked_are_the_same_data_with_exactly_the_labels_that_exist(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    prepare(folder, data)
    for name in ("own-data", NAME):
        stored, read = registry.open_dataset(name, data), registry.open_dataset(name, folder)
        assert stored.variant == read.variant == NAME and stored.default_size == read.default_size == SIZE
        assert stored.tasks == read.tasks == TomlFolder(folder).tasks
        assert stored.here() == (f"{NAME} at 40x56",) and read.here() == (f"{NAME}, not packed",)
        for split, first, count in (("train", 0, TRAIN), ("test", TRAIN, TEST)):
            a, b = stored.split(split, SIZE), read.split(split, SIZE)
            assert a.fingerprint == b.fingerprint and torch.equal(a.images, b.images)
            exist = [[folder_example.has(task, first + i) for task in TASKS] for i in range(count)]
            assert a.available.tolist() == b.available.tolist() == exist


def test_a_description_may_give_a_share_another_fit_and_another_number_to_ignore(tmp_path: Path) -> None:
    text = TOML.replace(LISTS.strip(), "[splits]\ntest_share = 0.25")
    text = text.replace("width = 56", 'width = 64\nfit = "pad"')
    classes = 'classes = ["floor", "wall", "thing"]'
    folder = write(tmp_path, text.replace(classes, 'classes = ["floor", "thing"]\nignore = 1'))
    made = arrays(1)["semseg"]
    Image.fromarray(np.where(made == 255, 0, made)).save(folder / "labels" / f"{stem(1)}.png")
    source = TomlFolder(folder)
    expected = np.select([made == 1, made == 2], [255, 1], 0)
    assert np.array_equal(source.read("train", 1).labels["semseg"], expected)
    dataset = OwnData(folder)
    read = dataset.split("train", dataset.default_size, 1)
    assert read.extents is not None and read.extents.tolist() == [[*SIZE]]
    assert read.images.shape[2:] == (40, 64) and read.total == 9


def test_several_data_sets_and_sizes_in_one_folder(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    prepare(folder, data)
    prepare(folder, data, "own-data-baths")
    with pytest.raises(UserError, match="holds own-data-baths, own-data-kitchens; name one of them as data"):
        plan.make(["own-data"], [], data)
    for labels, settings in (("given", []), ("one", ["labels=one"])):
        cells = plan.make(["own-data"], [f"dataset={NAME}", *settings], data).cells
        found = {(c.variant, c.labels, c.protocol.tasks, c.protocol.size) for c in cells}
        assert found == {(NAME, labels, TASKS, SIZE)}
    (folder / "dataset.toml").write_text(TOML.replace('"thing"]', '"thing", "more"]'))
    preparing.prepare(TomlFolder(folder), data, "own-data", NAME, (80, 112), "scale")
    different = r"40x56 and .*80x112 were packed with different tasks; `bench data prepare --force`"
    with pytest.raises(UserError, match=different):
        _ = OwnData(data, NAME).tasks
    prepare(folder, data, replace=True)
    assert OwnData(data, NAME).tasks["semseg"].channels == 4 and OwnData(data, NAME).default_size == SIZE


def test_without_data_nothing_is_known(tmp_path: Path) -> None:
    dataset = registry.open_dataset(NAME, tmp_path)
    assert dataset.here() == () and registry.default_labels(NAME) == "given"
    with pytest.raises(UserError, match=f"there is no {NAME} in .*; `bench data prepare own-data PATH`"):
        _ = dataset.tasks
    write(tmp_path / "own-data")
    with pytest.raises(UserError, match="there is no own-data-baths"):
        _ = registry.open_dataset("own-data-baths", tmp_path).tasks
    assert OwnData.open(tmp_path, "own-data") is None


def test_a_store_that_does_not_say_what_its_tasks_are(tmp_path: Path) -> None:
    store, _ = prepare(write(tmp_path / "kitchens"), tmp_path / "data")
    path = store.folder / "manifest.json"
    for damage in (None, {"semseg": {}}, {"semseg": {"span": [1]}}, [1]):
        content = json.loads(path.read_text()) | {"definitions": damage}
        path.write_text(json.dumps(packed.sealed(content)))
        with pytest.raises(UserError, match=r"manifest.json is damaged \(definitions\); prepare .* --force"):
            _ = OwnData(tmp_path / "data").tasks
    for task in (tasks.semseg(("a", "b")), tasks.inverse_depth(), tasks.normals(), tasks.edge(0.011)):
        assert tasks.from_dict(json.loads(json.dumps(tasks.as_dict(task))) | {"test_images": 3}) == task


DEPTH, LABELS = 'folder = "depth"\n', 'folder = "labels"\n'
RGB = 'palette = ["#000000", [0, 0, 255], "#00ff00"]\n'


def test_a_teacher_s_maps_are_read_for_train_images_alone(tmp_path: Path) -> None:
    folder, data = taught(tmp_path / "kitchens"), tmp_path / "data"
    plain = OwnData(write(tmp_path / "plain")).split("train", SIZE)
    name = f"own-data-{TomlFolder(folder).variant}"
    assert name.startswith(f"{NAME}-teacher-") and TomlFolder(folder).teachers == ("depth",)
    prepare(folder, data, name)
    for place in (data, folder):  # packed, and as it is
        dataset = OwnData(place, NAME)
        train, test = (dataset.split(split, SIZE) for split in packed.SPLITS)
        assert dataset.variant == name and dataset.teachers == ("depth",) and not test.teacher
        assert list(train.teacher) == ["depth"] and train.teacher["depth"].dtype == torch.float16
        for i, maps in enumerate(train.teacher["depth"]):
            guess = np.where(arrays(i)["depth"] + 1 > 0, arrays(i)["depth"] + 1, 0) if i < TRAIN - 2 else 0
            assert np.array_equal(maps[0], np.broadcast_to(guess, SIZE).astype(np.float32).astype(np.float16))
        assert all(torch.equal(train.targets[task], plain.targets[task]) for task in TASKS)
        assert torch.equal(train.available, plain.available) and train.fingerprint != plain.fingerprint
        half = narrowed(train, 2, 5)
        assert torch.equal(half.teacher["depth"], train.teacher["depth"][2:5])
    for i in range(TRAIN, TRAIN + TEST):
        (folder / "guesses" / f"{stem(i)}.png").write_text("no map either, and longer")
    assert TomlFolder(folder).variant == name.removeprefix("own-data-")
    assert not prepare(folder, data, name)[1]  # the same samples
    np.save(folder / "guesses" / f"{stem(0)}.npy", arrays(0)["depth"].astype(np.float32) + 2)
    assert TomlFolder(folder).variant != name.removeprefix("own-data-")  # another id
    with pytest.raises(UserError, match="is prepared already, from files that held something else"):
        prepare(folder, data, name)
    (folder / "guesses" / f"{stem(1)}.npy").write_text("no map")
    with pytest.raises(UserError, match=f"guesses/{stem(1)}.npy"):
        prepare(folder, tmp_path / "other", name)


def test_a_train_image_with_a_teacher_s_map_is_still_found_among_the_test_images(tmp_path: Path) -> None:
    folder = taught(tmp_path / "kitchens")
    for name in ("images", "labels", "material", "depth", "normals", "edges", "saliency"):
        for path in (folder / name).glob(f"{stem(TRAIN)}.*"):
            path.unlink()
        for path in (folder / name).glob(f"{stem(0)}.*"):
            path.with_stem(stem(TRAIN)).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="1 of its test samples among its train samples"):
        prepare(folder, tmp_path / "data")


def test_joined_data_give_each_source_s_teacher(tmp_path: Path) -> None:
    own, other = taught(tmp_path / "kitchens"), write(tmp_path / "baths")
    text = (other / "dataset.toml").read_text().replace('"kitchens"', '"baths"')
    (other / "dataset.toml").write_text(text)
    for folder in (own, other):
        source = TomlFolder(folder)
        prepare(folder, tmp_path / "data", f"own-data-{source.variant}")
    joined = registry.open_dataset("own-data-kitchens:semseg:depth+own-data-baths:depth", tmp_path / "data")
    split, taught_ = joined.split("train", SIZE), OwnData(own).split("train", SIZE).teacher["depth"]
    assert joined.teachers == ("depth",) and list(split.teacher) == ["depth"]  # type: ignore[attr-defined]
    assert split.source is not None and torch.equal(split.teacher["depth"][split.source == 0], taught_)
    assert not split.teacher["depth"][split.source == 1].any()
    untaught = registry.open_dataset("own-data-kitchens:semseg+own-data-baths:depth", tmp_path / "data")
    assert untaught.teachers == ()  # type: ignore[attr-defined]


MISTAKES: list[tuple[str, str, str]] = [
    ("[size]", "[size", "dataset.toml is not valid TOML: .*; correct that line"),
    ('images = "images"', 'images = "images"\nspilts = 1', r"key in .*toml 'spilts'; did you mean 'splits'"),
    ('name = "kitchens"', "", r"toml has no name; add name = \"kitchens\", of small letters"),
    ('name = "kitchens"', 'name = "My K"', "name = 'My K' in .* is wrong; expected \"kitchens\", of small"),
    ('images = "images"', 'images = "../images"', r"images = '../images' in .* leads out of .*; name someth"),
    (LISTS, "", r"toml has no \[splits\]; add it, with train = "),
    ('test = "test.txt"', "", r'\[splits\] of .*toml has no test; add test = "test.txt"'),
    ('test = "test.txt"', 'test = "test.txt"\nsplit_seed = 5', "has both lists and split_seed; keep one of"),
    (LISTS, "[splits]\ntest_share = 0.2\nsplit_seed = -1\n", "split_seed = -1 in .* a whole number, 0 or"),
    (DEPTH, DEPTH + 'pattern = "d.png"\n', r"pattern = 'd.png' in \[tasks.depth\] .* is wrong; expected"),
    (DEPTH, DEPTH + 'pattern = "{name}.tif"\n', 'wrong; expected "{name}_depth.png": {name} once, perhap'),
    (DEPTH, DEPTH + 'pattern = "../{name}.png"\n', "pattern = .* leads out of .*; name something inside it"),
    ('images = "images"', 'images = {pattern = "{name}.png"}', r"\[images\] of .*toml has no folder; add"),
    (LABELS, LABELS + 'palette = ["#000000", [0, 0, 0], "#00ff00"]\n', "expected 3 different colours, those"),
    (LABELS, LABELS + RGB + "ignore = 255\n", "ignore = 255 in .* expected colours of pixels without a"),
    (LABELS, LABELS + RGB + 'ignore = "#00FF00"\n', "ignore = '#00FF00' in .* none of them in palette, such"),
    (DEPTH, DEPTH + 'palette = ["#000000"]\n', r"unknown key in \[tasks.depth\] of .*toml 'palette'; did"),
    ('test = "test.txt"', 'test = "test.txt"\ntest_share = 0.5', "has both lists and test_share; keep one"),
    (LISTS, "[splits]\ntest_share = 0.01\n", "test_share = 0.01 of 12 images in .* leaves none"),
    ("[size]\nheight = 40\nwidth = 56", "", r"toml has no \[size\]; add it, with height = 192 and width ="),
    ("height = 40", "height = 41", r"height = 41 in \[size\] of .* expected a multiple of 8, 32 to 8192"),
    ("width = 56", 'width = 56\nfit = "crop"', 'fit = \'crop\' in .* expected "scale" or "pad"'),
    ('kind = "depth"', 'kind = "disparity"', r"kind = 'disparity' in \[tasks.depth\] .* one of \"classes\""),
    ("[tasks.depth]", '[tasks."my depth"]', "'my depth' in .* cannot be the name of a task; use another"),
    ("unit = 0.001", "unit = 0", r"unit = 0 in \[tasks.depth\] .* expected metres a step of a .png"),
    ("unit = 0.001", "", r"\.png, and \[tasks.depth\] has no unit; add the metres a step of it, such as"),
    ('classes = ["wood", "stone"]', "", r"\[tasks.material\] of .* has no classes; add classes = a list of"),
    ('classes = ["wood", "stone"]', 'classes = ["wood", "wood"]', "a list of 2 to 255 different names"),
    ("ignore = 0", "ignore = 0.5", r"ignore = 0.5 in \[tasks.material\] .* expected a whole number, or nan"),
    ('kind = "edge"', 'kind = "edge"\nthreshold = inf', "threshold = inf in .* expected the least number"),
    ("height = 40", f"height = {10**30}", "is not valid TOML: it holds a whole number beyond 64 bits"),
    ('name = "kitchens"', f'name = "{"k" * 300}"', "name = 'kkk.* is wrong; expected"),
    ("ignore = 0", "ignore = 255", r"img 02.png holds class 2, but \[tasks.material\] .* numbered 0..1, and"),
    ("unit = 0.001", 'unit = 0.001\nteacher = "no"', "the folder .*/no is missing, which .*.toml names"),
    ("unit = 0.001", 'unit = 0.001\nteacher = "../a"', r"teacher = '../a' in \[tasks.depth\] .* leads out"),
    ("unit = 0.001", 'unit = 0.001\nteacher = "depth"', r"teacher in \[tasks.depth\] .* folder of its labe"),
    ("unit = 0.001", 'unit = 0.001\nteacher = "."', r"no label of teacher.depth .* teacher from \[tasks.d"),
    ('folder = "edges"', 'folder = "edge"', "the folder .*/edge is missing, which .*dataset.toml names; add"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOML
    source = TomlFolder(write(tmp_path, TOML.replace(old, new, 1)))
    with pytest.raises(UserError, match=message) as error:
        for split in packed.SPLITS:
            for i in range(len(source.names(split))):
                source.read(split, i)
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)
