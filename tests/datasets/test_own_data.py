"""Folders of one's own data: what is read of them, packed and unpacked, and the sentence for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.spec import plan, registry
from datasets import packed, tasks
from datasets.layouts.toml_folder import TomlFolder
from datasets.own_data import OwnData
from tests.datasets.folder_example import HEIGHT, TASKS, TEST, TOML, TRAIN, WIDTH, arrays, has, stem, write

SIZE = (HEIGHT, WIDTH)
NAME = "own-data-kitchens"


def prepare(folder: Path, data: Path, variant: str = NAME, **options: Any) -> tuple[packed.Store, bool]:
    return packed.prepare(TomlFolder(folder), data, "own-data", variant, SIZE, "scale", **options)


def test_every_label_is_read_as_it_was_meant(tmp_path: Path) -> None:
    source = TomlFolder(write(tmp_path / "kitchens"))
    assert (
        source.notes == () and source.variant == "kitchens" and source.size == SIZE and source.fit == "scale"
    )
    assert {name: task.kind for name, task in source.tasks.items()} == {
        "semseg": "classes", "material": "classes", "depth": "depth", "normals": "normals", "edge": "edge",
        "saliency": "saliency",
    }  # fmt: skip
    assert source.tasks["material"].classes == ("wood", "stone") and source.tasks["semseg"].channels == 3
    for split, first, count in (("train", 0, TRAIN), ("test", TRAIN, TEST)):
        assert source.names(split) == tuple(stem(first + i) for i in range(count))
        for i in range(count):
            sample, made = source.read(split, i), arrays(first + i)
            assert np.array_equal(sample.image, made["image"])
            assert list(sample.labels) == [task for task in TASKS if has(task, first + i)]
            for task in sample.labels.keys() & {"semseg", "material", "edge", "saliency"}:
                assert sample.labels[task].dtype == np.uint8 and np.array_equal(
                    sample.labels[task], made[task]
                ), task
            if "depth" in sample.labels:
                assert sample.labels["depth"].dtype == np.float32
                assert np.allclose(sample.labels["depth"], made["depth"], atol=1e-6)
            if "normals" in sample.labels:
                off = np.abs(sample.labels["normals"] - made["normals"]).max()
                assert off < (1e-6 if (first + i) % 2 else 0.02)  # eight bits a component
                assert (sample.labels["normals"][made["normals"] == 0] == 0).all() or not (first + i) % 2


def test_packed_and_unpacked_are_the_same_data_with_exactly_the_labels_that_exist(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    prepare(folder, data)
    for name in ("own-data", NAME):
        stored, read = registry.open_dataset(name, data), registry.open_dataset(name, folder)
        assert stored.variant == read.variant == NAME and stored.default_size == read.default_size == SIZE
        assert stored.tasks == read.tasks == TomlFolder(folder).tasks
        assert stored.here() == (f"{NAME} at {HEIGHT}x{WIDTH}",) and read.here() == (f"{NAME}, not packed",)
        for split, first, count in (("train", 0, TRAIN), ("test", TRAIN, TEST)):
            a, b = stored.split(split, SIZE), read.split(split, SIZE)
            assert a.fingerprint == b.fingerprint and torch.equal(a.images, b.images)
            assert (
                a.available.tolist()
                == b.available.tolist()
                == [[has(t, first + i) for t in TASKS] for i in range(count)]
            )


def test_a_description_may_give_a_share_and_another_fit(tmp_path: Path) -> None:
    lists = '[splits]\ntrain = "train.txt"\ntest = "test.txt"'
    share = TOML.replace(lists, "[splits]\ntest_share = 0.25").replace(
        "width = 56", 'width = 64\nfit = "pad"'
    )
    folder = write(tmp_path, share)
    source = TomlFolder(folder)
    every = [stem(i) for i in range(TRAIN + TEST)]
    assert source.names("train") == tuple(every[:9]) and source.names("test") == tuple(every[9:])
    dataset = OwnData(folder)
    read = dataset.split("train", dataset.default_size, 1)
    assert (
        read.extents is not None
        and read.extents.tolist() == [[HEIGHT, WIDTH]]
        and read.images.shape[2:] == (40, 64)
    )
    assert read.total == 9


def test_unknown_pixels_of_an_own_number_and_maps_of_an_own_name(tmp_path: Path) -> None:
    text = TOML.replace('classes = ["floor", "wall", "thing"]', 'classes = ["floor", "thing"]\nignore = 1')
    folder = write(tmp_path, text)
    made, read = arrays(1)["semseg"], TomlFolder(folder)
    Image.fromarray(np.where(made == 255, 0, made)).save(folder / "labels" / f"{stem(1)}.png")
    expected = np.select([made == 1, made == 2], [255, 1], 0)
    assert np.array_equal(read.read("train", 1).labels["semseg"], expected)
    Image.fromarray(made).save(folder / "labels" / "img1.png")
    Image.fromarray(made).save(folder / "labels" / ".img1.png")
    (folder / "labels" / "notes.txt").touch()
    assert TomlFolder(folder).notes == (
        f"1 files in {folder / 'labels'} have the name of no image, such as img1.png.",
    )


def test_a_photograph_lies_as_its_labels_do(tmp_path: Path) -> None:
    folder = write(tmp_path)
    made = arrays(1)["image"]
    turned = Image.fromarray(np.rot90(made))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(folder / "images" / f"{stem(1)}.PNG", exif=exif)
    assert np.array_equal(TomlFolder(folder).read("train", 1).image, made)


def test_palettes_two_colours_and_8_bit_depth(tmp_path: Path) -> None:
    folder = write(tmp_path)
    made = arrays(1)
    palette = Image.fromarray(made["semseg"], "L").convert("P")
    palette.putpalette([x for i in range(256) for x in (255 - i, i, 7)])
    palette.save(folder / "labels" / f"{stem(1)}.png")
    Image.fromarray(made["saliency"].astype(bool)).save(folder / "saliency" / f"{stem(1)}.png")
    Image.fromarray(np.full(SIZE, 200, np.uint8)).save(folder / "depth" / f"{stem(1)}.png")
    labels = TomlFolder(folder).read("train", 1).labels
    assert np.array_equal(labels["semseg"], made["semseg"]) and np.array_equal(
        labels["saliency"], made["saliency"]
    )
    assert np.allclose(labels["depth"], 0.2)


def test_a_folder_that_grew_is_packed_again_only_on_request(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    assert prepare(folder, data)[1] and not prepare(folder, data)[1]
    np.save(folder / "normals" / f"{stem(1)}.npy", arrays(1)["normals"])
    with pytest.raises(
        UserError,
        match=r"40x56 is prepared already, from files that held something else .*--force .*--variant",
    ):
        prepare(folder, data)
    before = OwnData(data).split("train", SIZE).available
    prepare(folder, data, replace=True)
    after = OwnData(data).split("train", SIZE).available
    assert (before != after).nonzero().tolist() == [[1, TASKS.index("normals")]]


def test_several_data_sets_in_one_folder(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    prepare(folder, data)
    prepare(folder, data, "own-data-baths")
    with pytest.raises(
        UserError, match="holds own-data-baths, own-data-kitchens; name one of them as dataset"
    ):
        plan.make(["own-data"], [], data)
    cells = plan.make(["own-data"], [f"dataset={NAME}"], data).cells
    assert {c.variant for c in cells} == {NAME} and {c.labels for c in cells} == {"given"}
    assert all(c.protocol.tasks == TASKS and c.protocol.size == SIZE for c in cells)
    assert {c.labels for c in plan.make(["own-data"], [f"dataset={NAME}", "labels=one"], data).cells} == {
        "one"
    }


def test_sizes_of_one_data_set_have_the_same_tasks(tmp_path: Path) -> None:
    folder, data = write(tmp_path / "kitchens"), tmp_path / "data"
    prepare(folder, data)
    (folder / "dataset.toml").write_text(TOML.replace('"thing"]', '"thing", "more"]'))
    packed.prepare(TomlFolder(folder), data, "own-data", NAME, (80, 112), "scale")
    with pytest.raises(
        UserError, match=r"40x56 and .*80x112 were packed with different tasks; `bench data prepare --force`"
    ):
        _ = OwnData(data).tasks
    prepare(folder, data, replace=True)
    assert OwnData(data).tasks["semseg"].channels == 4 and OwnData(data).default_size == SIZE


def test_without_data_nothing_is_known(tmp_path: Path) -> None:
    dataset = registry.open_dataset(NAME, tmp_path)
    assert not dataset.present() and dataset.here() == () and registry.default_labels(NAME) == "given"
    with pytest.raises(
        UserError,
        match=f"there is no {NAME} in .*; `bench data prepare own-data PATH` prepares it from a folder",
    ):
        _ = dataset.tasks
    write(tmp_path / "own-data")
    with pytest.raises(UserError, match="there is no own-data-baths"):
        _ = registry.open_dataset("own-data-baths", tmp_path).tasks
    assert OwnData.open(tmp_path, "own-data") is None
    with pytest.raises(UserError, match="--derive-normals needs a camera"):
        OwnData.open(tmp_path / "own-data", "own-data", derive_normals=True)


@pytest.mark.parametrize("damage", [None, {"semseg": {}}, {"semseg": {"span": [1]}}, [1]])
def test_a_store_that_does_not_say_what_its_tasks_are(tmp_path: Path, damage: Any) -> None:
    store, _ = prepare(write(tmp_path / "kitchens"), tmp_path / "data")
    content = json.loads((store.folder / "manifest.json").read_text())
    content["definitions"] = damage
    (store.folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"manifest.json is damaged \(definitions\); prepare the data again with --force"
    ):
        _ = OwnData(tmp_path / "data").tasks


@pytest.mark.parametrize(
    "task", [tasks.semseg(("a", "b")), tasks.inverse_depth(), tasks.normals(), tasks.edge(0.011)]
)
def test_a_task_survives_json(task: tasks.Task) -> None:
    assert tasks.from_dict(json.loads(json.dumps(tasks.as_dict(task))) | {"test_images": 3}) == task


DESCRIBED: dict[str, tuple[str, str, str]] = {
    "not toml": ("[size]", "[size", "dataset.toml is not valid TOML: .*; correct that line"),
    "unknown key": (
        'images = "images"',
        'images = "images"\nspilts = 1',
        r"unknown key in .*dataset.toml 'spilts'; did you mean 'splits'",
    ),
    "unknown task key": (
        "unit = 0.001",
        "units = 0.001",
        r"unknown key in \[tasks.depth\] of .*toml 'units'; did you mean 'unit'",
    ),
    "no name": ('name = "kitchens"', "", r"toml has no name; add name = \"kitchens\", of small letters"),
    "name": (
        'name = "kitchens"',
        'name = "My Kitchens"',
        "name = 'My Kitchens' in .* is wrong; expected \"kitchens\", of small",
    ),
    "images": ('images = "images"', "images = 3", 'images = 3 in .* is wrong; expected "images"'),
    "escape": (
        'images = "images"',
        'images = "../images"',
        "images = '../images' in .* leads out of .*; name something inside",
    ),
    "absolute": (
        'folder = "depth"',
        'folder = "/depth"',
        r"folder = '/depth' in \[tasks.depth\] .* leads out of",
    ),
    "no splits": (
        '[splits]\ntrain = "train.txt"\ntest = "test.txt"',
        "",
        r"toml has no \[splits\]; add it, with train = ",
    ),
    "one split": ('test = "test.txt"', "", r'\[splits\] of .*toml has no test; add test = "test.txt"'),
    "both": (
        'test = "test.txt"',
        'test = "test.txt"\ntest_share = 0.5',
        "has both lists and test_share; keep one of the two",
    ),
    "share": (
        'train = "train.txt"\ntest = "test.txt"',
        "test_share = 1.5",
        "test_share = 1.5 in .* expected a share between 0 and 1",
    ),
    "small share": (
        'train = "train.txt"\ntest = "test.txt"',
        "test_share = 0.01",
        "test_share = 0.01 of 12 images in .* leaves none",
    ),
    "not a table": (
        "[size]\nheight = 40\nwidth = 56",
        "",
        r"toml has no \[size\]; add it, with height = 192 and width = 256",
    ),
    "height": (
        "height = 40",
        "height = 41",
        r"height = 41 in \[size\] of .* is wrong; expected a multiple of 8, 32 or more",
    ),
    "fit": (
        "width = 56",
        'width = 56\nfit = "crop"',
        'fit = \'crop\' in .* is wrong; expected "scale" or "pad"',
    ),
    "no kind": (
        'kind = "depth"',
        "",
        r"\[tasks.depth\] of .* has no kind; add kind = one of \"classes\", \"depth\"",
    ),
    "kind": (
        'kind = "depth"',
        'kind = "disparity"',
        r"kind = 'disparity' in \[tasks.depth\] .* expected one of \"classes\"",
    ),
    "task name": (
        "[tasks.depth]",
        '[tasks."my depth"]',
        "'my depth' in .* cannot be the name of a task; use another",
    ),
    "taken name": (
        "[tasks.depth]",
        "[tasks.image]",
        "'image' in .* cannot be the name of a task; use another",
    ),
    "torch's name": (
        "[tasks.depth]",
        "[tasks.type]",
        "'type' in .* cannot be the name of a task; use another",
    ),
    "unit": ("unit = 0.001", "unit = 0", r"unit = 0 in \[tasks.depth\] .* expected metres a step of a .png"),
    "no unit": (
        "unit = 0.001",
        "",
        r"\.png, and \[tasks.depth\] has no unit; add the metres a step of it, such as unit = 0.001",
    ),
    "one class": (
        'classes = ["wood", "stone"]',
        'classes = ["wood"]',
        "expected a list of 2 to 255 different names",
    ),
    "no classes": (
        'classes = ["wood", "stone"]',
        "",
        r"\[tasks.material\] of .* has no classes; add classes = a list of",
    ),
    "same classes": (
        'classes = ["wood", "stone"]',
        'classes = ["wood", "wood"]',
        "expected a list of 2 to 255 different names",
    ),
    "ignore": ("ignore = 0", "ignore = 256", "ignore = 256 in .* expected a number of 0..255"),
    "class out of range": (
        "ignore = 0",
        "ignore = 255",
        r"material/img 02.png holds class 2, but \[tasks.material\] names 2 classes, numbered 0..1, and ig",
    ),
    "lost folder": (
        'folder = "edges"',
        'folder = "edge"',
        "the folder .*/edge is missing, which .*dataset.toml names; add it or",
    ),
    "no labels": (
        'folder = "edges"',
        'folder = "images"',
        "images holds no label of edge for any of the 8 train images; .* img 00.png",
    ),
}


def read_all(folder: Path) -> None:
    source = TomlFolder(folder)
    for split in packed.SPLITS:
        for i in range(len(source.names(split))):
            source.read(split, i)


@pytest.mark.parametrize("case", DESCRIBED)
def test_a_mistake_in_the_description_is_one_sentence(tmp_path: Path, case: str) -> None:
    old, new, message = DESCRIBED[case]
    assert old in TOML
    folder = write(tmp_path, TOML.replace(old, new, 1))
    if case == "no labels":
        for path in (folder / "images").glob("*.PNG"):
            Image.open(path).save(path.with_suffix(".webp"), lossless=True)
            path.unlink()
    with pytest.raises(UserError, match=message) as error:
        read_all(folder)
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 3", r"size in .*toml is not a table; write \[size\] and its keys below"),
        ("splits = 3", "splits in .*toml is not a table"),
        ("tasks = 3", "tasks in .*toml is not a table"),
        ("tasks.depth = 3", "tasks.depth in .*toml is not a table"),
        ("", r"toml has no \[splits\]"),
    ],
)
def test_what_should_be_a_table(tmp_path: Path, text: str, message: str) -> None:
    tables = {
        "splits": "splits.test_share = 0.5",
        "size": "size.height = 32\nsize.width = 32",
        "tasks": 'tasks.a.kind = "depth"',
    }
    others = "\n".join(line for key, line in tables.items() if text and not text.startswith(key))
    (tmp_path / "dataset.toml").write_text(f'name = "a"\nimages = "images"\n{others}\n{text}\n')
    with pytest.raises(UserError, match=message):
        _ = TomlFolder(tmp_path).description


def test_a_description_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"dataset.toml could not be read .*; give a text file in UTF-8"):
        _ = TomlFolder(tmp_path).description


def save(name: str, array: np.ndarray) -> Callable[[Path], Any]:
    return lambda folder: Image.fromarray(array).save(folder / name)


def listed(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "size of classes": (
        save("labels/img 01.png", np.zeros((8, 9), np.uint8)),
        r"labels/img 01.png has shape \(8, 9\); expected classes.* of its image's size, of shape \(40, 56\)",
    ),
    "size of depth": (
        save("depth/img 02.png", np.zeros((8, 9), np.uint16)),
        r"depth/img 02.png has shape \(8, 9\); expected depth",
    ),
    "size of normals": (
        lambda f: np.save(f / "normals/img 03.npy", np.zeros((8, 9, 3))),
        r"\(8, 9, 3\); expected unit vectors",
    ),
    "size of edges": (
        save("edges/img 02.png", np.zeros((8, 9), np.uint8)),
        "expected a map of edge, 8 bits a pixel",
    ),
    "colours": (
        save("labels/img 01.png", np.zeros((*SIZE, 3), np.uint8)),
        "has colour mode RGB, not one 8-bit channel",
    ),
    "millimetres": (
        lambda f: np.save(f / "depth/img 00.npy", np.full(SIZE, 2000.0)),
        r"metres in 0..1000 \(millimetres\? unit\?\)",
    ),
    "negative": (
        lambda f: np.save(f / "depth/img 00.npy", np.full(SIZE, -1.0)),
        "must hold metres in 0..1000",
    ),
    "nan": (
        lambda f: np.save(f / "depth/img 00.npy", np.full(SIZE, np.nan)),
        "NaN or infinite values; expected metres, 0 where unknown",
    ),
    "long normals": (
        lambda f: np.save(f / "normals/img 03.npy", np.full((*SIZE, 3), 1.0)),
        "vectors of length 1",
    ),
    "pickle": (
        lambda f: np.save(f / "depth/img 00.npy", np.array([{}]), allow_pickle=True),
        "damaged or not a plain .npy file",
    ),
    "damaged": (listed("labels/img 01.png", "no picture"), "labels/img 01.png is damaged or not a picture"),
    "two maps": (
        save("depth/img 00.png", np.zeros(SIZE, np.uint16)),
        "holds both img 00.npy and img 00.png; keep one of the two",
    ),
    "two images": (
        save("images/img 00.png", np.zeros((*SIZE, 3), np.uint8)),
        "holds both img 00.png and img 00.webp; keep one",
    ),
    "no such image": (
        listed("train.txt", "img 00\nimg 01.PNG\n"),
        "train.txt names 'img 01.PNG', but .*images holds no img 01.PNG with .jpg, .jpeg, .png or .webp",
    ),
    "overlap": (
        listed("test.txt", "img 08\nimg 02\n"),
        r"train.txt and .*test.txt share 1 images, such as 'img 02'; list each in one",
    ),
    "empty list": (
        listed("test.txt", ""),
        "test.txt is empty; expected names of images without suffix, one a line",
    ),
    "no list": (
        lambda f: (f / "test.txt").unlink(),
        "test.txt is missing; expected names of images without suffix",
    ),
    "no images": (
        lambda f: [p.unlink() for p in (f / "images").iterdir()],
        "images holds no .jpg, .jpeg, .png or .webp; put the",
    ),
    "no test label": (
        lambda f: [(f / "edges" / f"{stem(i)}.png").unlink() for i in range(8, 12) if has("edge", i)],
        r"edges holds no label of edge for any of the 4 test images; .* such as img 08.png: add some, or "
        r"remove \[tasks.edge\]",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_mistake_in_the_files_is_one_sentence(tmp_path: Path, case: str) -> None:
    change, message = FILES[case]
    folder = write(tmp_path)
    change(folder)
    with pytest.raises(UserError, match=message) as error:
        read_all(folder)
    assert str(error.value).endswith((".", "?")) and "\n" not in str(error.value)


def test_another_split_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'val'"):
        TomlFolder(write(tmp_path)).names("val")
