"""Folders as people have them: patterns of names, sub-folders, colour maps, splits that are drawn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from datasets import preparing
from datasets.layouts.toml_folder import TomlFolder
from datasets.own_data import OwnData
from tests.datasets.folder_example import save

H, W = 32, 40
IMAGE = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
CLASSES = np.arange(H * W).reshape(H, W) // 100 % 3
MILLIMETRES = (CLASSES * 500 + 1000).astype(np.uint16)
COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 64]], np.uint8)
PALETTE = 'palette = ["#000000", "#800000", [0, 128, 64]]'
DEPTH = '[tasks.depth]\nkind = "depth"\nunit = 0.001\n'
SEMSEG = '[tasks.semseg]\nkind = "classes"\nclasses = ["a", "b", "c"]\n'
NAMES = tuple(f"{i:02d}" for i in range(10))
DEPTHS = {"depth/{}.png": MILLIMETRES}


def folder(root: Path, tasks: str, files: dict[str, np.ndarray], images: str = '"images"') -> TomlFolder:
    """Ten images; `files` are {path with {} for an image's name: map}."""
    for i, name in enumerate(NAMES):
        for path, values in files.items():
            save(root / path.format(name), values if values is not IMAGE else IMAGE // (i + 1))
    share = "splits = { test_share = 0.3 }\nsize = { height = 32, width = 40 }\n"
    (root / "dataset.toml").write_text(f'name = "x"\nimages = {images}\n{share}{tasks}')
    return TomlFolder(root)


def every(source: TomlFolder) -> list[str]:
    """Read all; the names."""
    names = []
    for split in ("train", "test"):
        for i, name in enumerate(source.names(split)):
            sample = source.read(split, i)
            names.append(name)
            assert {*sample.labels} == {*source.tasks}
            if "depth" in sample.labels:
                assert np.allclose(sample.labels["depth"], MILLIMETRES / 1000)
            if "semseg" in sample.labels:
                assert np.array_equal(sample.labels["semseg"], CLASSES)
    return sorted(names)


GREY = CLASSES.astype(np.uint8)
LAYOUTS: dict[str, tuple[str, str, dict[str, np.ndarray], str]] = {
    "stems with suffixes in one folder": (
        '{folder = ".", pattern = "{name}.png"}',
        f'{DEPTH}folder = "."\npattern = "{{name}}_depth.png"\n'
        f'{SEMSEG}folder = "."\npattern = "{{name}}_seg.png"',
        {"{}.png": IMAGE, "{}_depth.png": MILLIMETRES, "{}_seg.png": GREY},
        "{}",
    ),
    "a folder a task, and suffixes": (
        '{folder = "rgb", pattern = "{name}_rgb.png"}',
        f'{DEPTH}folder = "depth"\npattern = "{{name}}_depth_zbuffer.png"',
        {"rgb/p_{}_rgb.png": IMAGE, "depth/p_{}_depth_zbuffer.png": MILLIMETRES},
        "p_{}",
    ),
    "sub-folders": (
        '"images"',
        f'{DEPTH}folder = "depth"\n{SEMSEG}folder = "depth/classes"',
        {"images/kitchen/a/{}.jpg": IMAGE, "depth/kitchen/a/{}.png": MILLIMETRES,
         "depth/classes/kitchen/a/{}.png": GREY},
        "kitchen/a/{}",
    ),
    "a folder a scene": (
        '{folder = ".", pattern = "{dir}/color/{name}.jpg"}',
        f'{DEPTH}folder = "."\npattern = "{{dir}}/depth/{{name}}.png"\n'
        f'{SEMSEG}folder="classes"\npattern="{{name}}/ids.png"',
        {"s1/b/color/{}.jpg": IMAGE, "s1/b/depth/{}.png": MILLIMETRES, "classes/s1/b/{}/ids.png": GREY},
        "s1/b/{}",
    ),
    "maps below the images": (
        '"."', f'{DEPTH}folder = "depth"', {"{}.png": IMAGE, "depth/{}.png": MILLIMETRES}, "{}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_as_it_lies(layout: str, tmp_path: Path) -> None:
    images, tasks, files, name = LAYOUTS[layout]
    source = folder(tmp_path, tasks, files, images)
    assert every(source) == [name.format(each) for each in NAMES]
    assert len(source.notes) == 1, source.notes  # nothing is left aside
    lists = 'splits = { train = "train.txt", test = "test.txt" }'
    toml = (tmp_path / "dataset.toml").read_text().replace("splits = { test_share = 0.3 }", lists)
    (tmp_path / "dataset.toml").write_text(toml)
    for split, names in (("train", NAMES[:6]), ("test", NAMES[6:8])):
        (tmp_path / f"{split}.txt").write_text("\n".join(name.format(each) for each in names))
    source = TomlFolder(tmp_path)
    assert source.names("test") == (name.format("06"), name.format("07"))
    assert ["2 in neither list" in note for note in source.notes] == [True]


def link(path: str, to: str) -> Callable[[Path], None]:
    return lambda root: (root / path).symlink_to(root / to)


TREES: dict[str, tuple[str, str, Callable[[Path], object], str]] = {
    "two of one stem": ('"images"', "", lambda root: save(root / "images/a/01.png", IMAGE),
                        r"images holds both 'a/01.jpg' and 'a/01.png'; keep one of the two\."),
    "a link out": ('"images"', "", link("images/a/99.jpg", "../away.jpg"),
                   r"99.jpg is a link out of .*; put what it leads to there instead\."),
    "a link in a circle": ('"images"', "", link("images/a/a.jpg", "images/a/a.jpg"), "read: Too many levels"),
    "a folder that is a link": ('"images"', "", link("images/b", "images/a"),
                                r"images/b is a link to a folder; put what it leads to there instead\."),
    "a control mark": ('"images"', "", lambda root: save(root / "images/a\x1b/01.jpg", IMAGE),
                       r"images holds 'a\\x1b/01.jpg', whose name .* control"),
    "two meanings": ('{folder = "images", pattern = "{name}_1.png"}',
                     'folder = "images"\npattern = "da{name}.png"',
                     lambda root: save(root / "images/da0_1.png", IMAGE),
                     r"da0_1.png is meant by images \(named {name}_1.png\) and \[tasks.depth\] \(named da"),
    "an image and a map": ('"images"', 'folder = "images"', lambda root: save(root / "images/7.png", IMAGE),
                           r"7.png is meant by images \(ending in .jpg, .* and \[tasks.depth\] \(ending in"),
    "no map": ('"images"', 'pattern = "{name}_d.png"', lambda root: None,
               r"no label of depth for any of the 7 train images; .*/0\d_d.png: .*left aside .*: 10 others"),
    "no image": ('{folder = "images", pattern = "{name}_rgb.jpg"}', "", lambda root: None,
                 r"images holds no file named {name}_rgb.jpg; put the images there\. left aside .*: 10 "),
}  # fmt: skip


@pytest.mark.parametrize("case", TREES)
def test_what_could_be_read_wrongly_is_one_sentence(case: str, tmp_path: Path) -> None:
    images, keys, change, message = TREES[case]
    tasks = DEPTH + 'folder = "depth"\n' * ("folder" not in keys) + keys
    source = folder(tmp_path / "x", tasks, {"images/a/{}.jpg": IMAGE, "depth/a/{}.png": MILLIMETRES}, images)
    save(tmp_path / "away.jpg", IMAGE)
    change(tmp_path / "x")
    with pytest.raises(UserError, match=message) as error:
        every(source)
    assert "\n" not in str(error.value)


def test_what_is_bounded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, f'{DEPTH}folder = "depth"', {"images/{}.jpg": IMAGE, **DEPTHS})
    (tmp_path / "images" / "/".join("d" * 40)).mkdir(parents=True)
    with pytest.raises(UserError, match="more than 2000000 files, or folders more than 32 deep; name the"):
        TomlFolder(tmp_path).names("train")
    monkeypatch.setattr("datasets.layouts.toml_files.MOST", 9)
    with pytest.raises(UserError, match="depth holds more than 9 files"):
        TomlFolder(tmp_path).names("train")


def in_a_palette(values: np.ndarray) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8)[::1] + np.uint8(3), "P")
    picture.putpalette(bytes(9) + COLOURS.tobytes())
    return picture


def test_colours_are_the_classes_of_a_palette(tmp_path: Path) -> None:
    files = {"images/{}.png": IMAGE, "m/{}.png": COLOURS[CLASSES]}
    source = folder(tmp_path, f'{SEMSEG}folder = "m"\n{PALETTE}\nignore = "#ffffff"', files)
    in_a_palette(CLASSES).save(tmp_path / "m" / "00.png")
    assert every(source) == list(NAMES)
    odd, first = COLOURS[CLASSES], tmp_path / "m" / f"{source.names('train')[0]}.png"
    odd[5, 7] = 255
    save(first, odd)
    assert source.read("train", 0).labels["semseg"][5, 7] == 255
    odd[6, 9] = (128, 0, 1)
    save(first, odd)
    message = r"m/0\d.png has the colour #800001 in row 6, column 9, .* neither palette nor ignore"
    with pytest.raises(UserError, match=message):
        source.read("train", 0)
    save(first, GREY)
    with pytest.raises(UserError, match="holds grey of 8 bits a channel, not RGB of 8; expected classes of"):
        source.read("train", 0)


def test_a_split_is_drawn_by_seed_and_moves_little_when_images_come(tmp_path: Path) -> None:
    x = tmp_path / "x"

    def drawn(seed: str) -> tuple[str, ...]:
        folder(x, f'{DEPTH}folder = "depth"', {"images/{}.png": IMAGE, **DEPTHS})
        toml = (x / "dataset.toml").read_text().replace("0.3", f"0.3{seed}")
        (x / "dataset.toml").write_text(toml)
        count, source = len(list((x / "images").iterdir())), TomlFolder(x)
        test, train = source.names("test"), source.names("train")
        assert len(test) == round(0.3 * count) and len({*test, *train}) == len(test) + len(train) == count
        counted = f"drew {len(test)} images for testing, such as {test[0]}, and left {len(train)} for tra"
        assert counted in source.notes[0] and "split_seed = " + (seed[-1:] or "0") in source.notes[0]
        return test

    test = drawn("")
    assert test == drawn(", split_seed = 0") == ("01", "05", "08")
    first = OwnData(x).split("test", (H, W)).fingerprint
    preparing.prepare(TomlFolder(x), tmp_path / "d", "own-data", "own-data-x", (H, W), "scale")
    drawn(", split_seed = 2")
    assert OwnData(x).split("test", (H, W)).fingerprint != first
    with pytest.raises(UserError, match=r"is prepared already, with other splits: \['0\d.*; --forc"):
        preparing.prepare(TomlFolder(x), tmp_path / "d", "own-data", "own-data-x", (H, W), "scale")
    for more in range(10, 30, 2):
        save(x / "images" / f"{more}.png", IMAGE // (more + 1))
        later = drawn("")
        assert len({*test} - {*later}) <= 1  # one more image takes the place of one other, at most
        test = later
