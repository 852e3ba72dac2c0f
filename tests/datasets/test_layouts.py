"""The readers of all layouts: what they make of good folders, and the sentence for each bad one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from benchmark.errors import UserError
from datasets.layouts.base import Sample
from datasets.layouts.mtan import CITYSCAPES, MtanCityscapes, MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from datasets.layouts.pascal_mt import PascalMt
from datasets.layouts.toml_folder import TomlFolder
from tests.datasets.folder_example import save
from tests.datasets.folders import FILE, HEIGHT, LAYOUTS, WIDTH, Folders, Layout, refused

DTYPES = {"depth": np.float32, "normals": np.float32}
READERS = (MtanNYUv2, NyudMt, NyuMat, MtanCityscapes, PascalMt, TomlFolder)
Change = Callable[[Any], object]  # of an array, or of a folder


def read_split(layout: Layout, folder: Path, split: str = "train") -> None:
    source = layout.open(folder)
    names = source.names(split)
    for i in layout.numbers[split]:
        if i < len(names):
            source.read(split, i)


def binaries(name: str, folder: Path) -> list[Path]:
    """The files of the first sample to train on."""
    names = {"pascal": "2008_000002", "own": "img 00", "nyud png": "7", "nyud npy": "7", "mat": FILE[:-4]}
    unread = {"val", {"city 7": "label_19", "city 19": "label_7"}.get(name)}
    return sorted(p for p in folder.rglob("*") if p.stem == names.get(name, "0") and not unread & {*p.parts})


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_read_is_what_was_written(name: str, originals: Folders) -> None:
    layout, folder = LAYOUTS[name], originals(name)
    source = layout.open(folder)
    for split, numbers in layout.numbers.items():
        names = source.names(split)
        assert len(set(names)) == len(names) > max(numbers)
        for i in numbers:
            sample, wanted = source.read(split, i), layout.expected(folder, split, i)
            assert set(sample.labels) == wanted.keys() - {"image"} <= set(source.tasks)
            for key, values in (sample.labels | {"image": sample.image}).items():
                assert values.dtype == DTYPES.get(key, np.uint8) and values.shape == wanted[key].shape, key
                assert values.flags.writeable or key == "image"  # torch warns of others
                off = layout.off.get(key, 0)
                assert np.abs(values - wanted[key].astype(float)).max() <= off, (key, split, i)
                if key in DTYPES:
                    known = wanted[key] != 0
                    assert np.array_equal(values.any(-1), known.any(-1)), "known stays known"
                if key == "normals":
                    assert np.abs(np.linalg.norm(values[known.any(-1)], axis=-1) - 1).max() < 1e-6


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_recognised_by_its_own_reader_alone(name: str, originals: Folders) -> None:
    """Nothing is read before it is asked for."""
    nowhere, source = originals(name) / "nowhere", LAYOUTS[name].open(originals(name))
    assert [kind for kind in READERS if kind.detect(source.path)] == [type(source)]
    assert not any(kind.detect(nowhere) for kind in READERS)
    absent = LAYOUTS[name].open(nowhere)
    refused(nowhere, lambda: absent.names("train"))
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        absent.names("tset")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_that_is_missing_or_half_there_is_named(name: str, copied: Folders) -> None:
    layout, folder = LAYOUTS[name], copied(name)
    files = binaries(name, folder)
    assert len(files) >= (1 if name == "mat" else 3)
    for path in [*files, *(p for p in folder.rglob("*") if p.suffix in (".txt", ".toml"))]:
        split = "test" if path.stem in ("val", "test") else "train"
        content = path.read_bytes()
        path.unlink()
        if name == "own" and path.parent.name not in ("images", "own"):
            read_split(layout, folder, split)  # an image without a file has no label of that task
        else:
            refused(folder, lambda split=split: read_split(layout, folder, split))
        for kept in (content[: len(content) // 2], b"") if path in files else ():
            path.write_bytes(kept)
            refused(path, lambda: read_split(layout, folder), "damaged")
        path.write_bytes(content)


def same(a: Sample, b: Sample) -> bool:
    maps = all(np.array_equal(a.labels[task], b.labels.get(task)) for task in a.labels)
    return maps and a.labels.keys() == b.labels.keys() and np.array_equal(a.image, b.image)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_byte_is_read_or_one_sentence(name: str, copied: Folders) -> None:
    """Anywhere in a file, its header above all; whatever a reader makes of it, nothing else is raised."""
    layout, folder, random = LAYOUTS[name], copied(name), np.random.default_rng(3)
    whole = layout.open(folder).read("train", 0)
    for path in binaries(name, folder):
        content = path.read_bytes()
        checked = path.suffix == ".png" or (path.suffix == ".mat" and name == "pascal")  # which has checksums
        for end in (100, 100, 100, 2000, *[len(content)] * (8 if checked else 2)):
            damaged = bytearray(content)
            damaged[random.integers(min(end, len(content)))] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            try:
                found = layout.open(folder).read("train", 0)
                assert not checked or same(found, whole)
            except UserError as error:
                assert "\n" not in str(error) and str(error).endswith(".") and str(folder) in str(error)
        path.write_bytes(content)


def at(value: float) -> Change:
    def put(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float64)
        array[2, 3] = value
        return array

    return put


def edit(path: Path, change: Change) -> None:
    if path.suffix == ".npy":
        np.save(path, change(np.load(path)))
    elif path.suffix == ".mat":
        savemat(path, {"LabelMap": change(loadmat(path)["LabelMap"])})
    else:
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def full(value: float, *shape: int, dtype: Any = np.uint8) -> Change:
    return lambda array: np.full(shape or array.shape, value, dtype)


def drop(file: str) -> Change:
    return lambda root: shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()


def text(file: str, content: str) -> Change:
    return lambda root: (root / file).write_text(content)


def move(old: str, new: str) -> Change:
    return lambda root: (root / old).rename(root / new)


def picture(file: str, *shape: int) -> Change:
    return lambda root: Image.fromarray(np.zeros(shape, np.uint8)).save(root / file)


MAPS, VOC = "pascal-context/trainval/2008_000002.mat", "semseg/VOC12/2008_000002.png"
BAD: list[tuple[str, str, Change, str]] = [  # layout; a file whose array is changed, or none; the sentence
    ("mtan", "train/image/1.npy", lambda a: a.transpose(2, 0, 1), r"\(3, 12, 16\); .* shape \(12, 16, 3\)"),
    ("mtan", "train/image/1.npy", lambda a: a * 255, r"values in \[0, 1\], but those found .*\.\.255"),
    ("mtan", "train/label/1.npy", at(13), r"numbers -1\.\.12, but those found range over -1\.\.13"),
    ("mtan", "train/label/1.npy", at(1.5), r"numbers -1\.\.12"),
    ("mtan", "train/depth/1.npy", lambda a: a * 1000, r"metres in 0\.\.100 \(millimetres\?\)"),
    ("mtan", "train/normal/1.npy", at(1), r"length 1 \(0 where unknown\), .*0\.\.1\.732"),
    ("city 19", "train/label_19/1.npy", at(19), r"numbers -1\.\.18, .*-1\.\.19"),
    ("city 7", "train/depth/1.npy", at(-0.1), r"inverse depths in 0\.\.1000 .*-0\.1\.\."),
    ("nyud png", "segmentation/3.png", lambda a: a + np.uint8(1), r"classes 0\.\.40 .*over 1\.\.41"),
    ("nyud png", "normals/3.png", full(250), "vectors of length 1"),
    ("nyud npy", "edge/3.npy", full(255), r"edges of 0 and 1, .*255\.\.255"),
    ("pascal", MAPS, full(460, dtype=int), r"numbers 0\.\.459, .*460\.\.460"),
    ("pascal", MAPS, full(np.nan, dtype=float), r"numbers 0\.\.459"),
    ("pascal", MAPS, lambda a: np.array("floor"), r"one array of numbers; .*\(21, 28"),
    ("pascal", VOC, full(21), r"classes 0\.\.20, or 255 where void, .*21\.\.21"),
    ("pascal", "sal_distill/2008_000002.png", full(0, 21, 27), r"\(21, 27\); .*\(21, 28"),
    ("own", "labels/img 01.png", full(0, 8, 9), r"\(8, 9\); expected classes.* of its image's size"),
    ("own", "depth/img 00.npy", full(2000.0, dtype=float), r"in 1e-05..1000, 0 .*\(millimetres\? unit\?\)"),
    ("mtan", "", drop("train/depth"), r"train/depth is missing; MTAN's layout is \{train,val\}/\{image,"),
    ("mtan", "", drop("train/depth/2.npy"), "must hold equally many .*image 3, label 3, depth 2, normal 3"),
    ("mtan", "", lambda f: [p.unlink() for p in f.glob("train/*/*")], "at least one, but holds: image 0"),
    ("mtan", "", move("train/label/1.npy", "train/label/7.npy"), r"label holds 3 .npy files but no 1\."),
    ("nyud png", "", drop("depth"), r"the folder .*/depth is missing; the NYUD_MT layout is .*perhaps edge/"),
    ("nyud png", "", drop("images/3.png"), r"images/3\.jpg is missing; neither is there 3\.png; expected"),
    ("pascal", "", drop(VOC), r"pascal-context/2008_000002\.png is missing; neither is there .*VOC12"),
    ("pascal", "", picture("JPEGImages/2008_000002.jpg", 22, 28, 3), r"has shape \(21, 28\).*\(22, 28\)"),
    ("pascal", "", text("labels.txt", "20: tvmonitor\n"), r"labels\.txt names class 427 None; expected PASC"),
    ("pascal", "", text("labels.txt", "floor\n"), r"has the line 'floor'; expected .* such as '427: tvmonit"),
    ("pascal", "", text("labels.txt", "1: x\n1: y\n"), r"has the line '1: y'; .*each id 0\.\.459 once"),
    ("own", "", text("train.txt", "img 00\nimg 01.PNG\n"), "names 'img 01.PNG', but .* holds no such im"),
    ("own", "", text("test.txt", "img 08\nimg 02\n"), "share 1 images, such as 'img 02'; list each in one"),
    ("own", "", lambda f: [p.unlink() for p in f.glob("images/*")], "images holds no file ending in .jp"),
    ("own", "", lambda f: [p.unlink() for p in f.glob("edges/img [01][0189].png")], "any of the 4 test imag"),
]


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_is_one_sentence(bad: tuple[str, str, Change, str], copied: Folders) -> None:
    name, file, change, message = bad
    folder = copied(name)
    edit(folder / file, change) if file else change(folder)
    refused(folder / file, lambda: read_split(LAYOUTS[name], folder), message)


def test_other_ways_to_store_the_same(copied: Folders) -> None:
    """float64, a desktop's files, creases of resized normals; depth without a channel, labels left out."""
    folder = copied("mtan")
    before = MtanNYUv2(folder).read("train", 1)
    for path in folder.rglob("*.npy"):
        edit(path, lambda a: a.astype(np.float64))
    (folder / "train/image/._0.npy").write_bytes(b"x")
    (folder / "train/depth/Thumbs.db").write_bytes(b"x")
    again = MtanNYUv2(folder).read("train", 1)
    assert all(np.allclose(again.labels[name], values, atol=1e-7) for name, values in before.labels.items())
    edit(folder / "train/normal/1.npy", at(0.3))
    crease = MtanNYUv2(folder).read("train", 1).labels["normals"][2, 3]
    assert np.allclose(crease, 1 / np.sqrt(3), atol=1e-6)
    city = copied("city 7")
    depth = MtanCityscapes(city, 7).read("train", 0).labels["depth"]
    edit(city / "train/depth/0.npy", lambda a: a[..., 0])
    shutil.rmtree(city / "train/label_19")
    assert np.array_equal(MtanCityscapes(city, 7).read("train", 0).labels["depth"], depth)
    assert {number: len(set(names)) for number, names in CITYSCAPES.items()} == {7: 7, 19: 19}
    assert CITYSCAPES[19][0] == "road" and CITYSCAPES[19][18] == "bicycle"


def test_eight_bits_know_no_zero_and_an_edge_is_more_than_half(copied: Folders) -> None:
    folder = copied("nyud png")
    pixels, grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8), np.full((HEIGHT, WIDTH), 127, np.uint8)
    pixels[0], pixels[1, :, 0], pixels[2] = 127, 127, (126, 128, 1)
    pixels[3, 5] = (129, 128, 128)  # as short as a vector can be that is known
    grey[4] = 128
    save(folder / "normals/3.png", pixels)
    save(folder / "edge/3.png", grey)
    labels = NyudMt(folder, 40).read("train", 1).labels
    assert labels["normals"].any(-1).sum(1).tolist() == [0, 0, WIDTH, 1] + [0] * (HEIGHT - 4)
    assert np.allclose(labels["normals"][2], np.array([-3, 1, -253]) / np.sqrt(9 + 1 + 253**2), atol=1e-6)
    assert np.allclose(labels["normals"][3, 5], np.array([3, 1, 1]) / np.sqrt(11), atol=1e-6)
    assert labels["edge"].nonzero()[0].tolist() == [4] * WIDTH
    shutil.rmtree(folder / "edge")
    source = NyudMt(folder, 13)
    assert list(source.tasks) == list(source.read("train", 0).labels) == ["semseg", "depth", "normals"]


def test_names_and_lists_of_other_desktops(copied: Folders) -> None:
    """A byte-order mark, accents in two parts, what macOS keeps beside files; a pipe for an image."""
    folder = copied("own")
    before = TomlFolder(folder).read("train", 1)
    for path in folder.rglob("img 01.*"):
        path.rename(path.with_name("cafe\u0301" + path.suffix))
        path.with_name("._cafe\u0301" + path.suffix).write_bytes(b"x")
    for name in ("train.txt", "dataset.toml"):
        content = (folder / name).read_text().replace("img 01", "caf\u00e9")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
    source = TomlFolder(folder)
    assert source.names("train")[1] == "caf\u00e9" and source.notes == ()
    odd = os.fsdecode(os.fsencode(folder / "labels") + b"/\xff.png")
    for file, message in (
        (folder / "labels" / "caf\u00e9.PNG", "holds both 'cafe.u0301.png' and 'caf.xe9.PNG'; keep"),
        (Path(odd), "holds '.udcff.png', whose name is no text in UTF-8, or"),
        (folder / "labels" / "a\n.png", "holds 'a.n.png', whose .* or direction mark; rename"),
    ):
        file.write_bytes(b"")
        refused(folder, lambda: TomlFolder(folder).names("train"), message)
        file.unlink()
    (folder / "labels" / "Icon\r").touch()  # what is not read may be called as it likes
    assert TomlFolder(folder).names("train") == source.names("train")
    assert same(before, source.read("train", 1))
    (folder / "images" / "img 03.PNG").unlink()
    os.mkfifo(folder / "images" / "img 03.PNG")
    refused(folder, lambda: source.read("train", 3), "could not be read: it is no plain file")


def test_what_may_not_be_read_is_named(copied: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so that permission is taken away in the program."""
    folder = copied("own")

    def closed(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", closed)
        refused(folder, lambda: TomlFolder(folder).names("train"), "depth could not be read: Permission deni")
    source = TomlFolder(folder)
    source.names("train")
    monkeypatch.setattr("datasets.layouts.files.check_plain", closed)
    refused(folder, lambda: source.read("train", 0), "img 00.webp could not be read: Permission denied; ex")
