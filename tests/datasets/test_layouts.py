"""The readers of all layouts: what they make of good folders, and the sentence for each bad one."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from benchmark.errors import UserError
from datasets import fit
from datasets.layouts import nyuv2_facts, voc_parts
from datasets.layouts.files import load_mat, load_npy, read_list, source_variant
from datasets.layouts.mtan import CITYSCAPES, MtanCityscapes, MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from datasets.layouts.pascal_mt import CLASSES, SURFACES, PascalMt, edges, read_context_names
from datasets.layouts.toml_folder import TomlFolder
from tests.datasets import folders, pascal_folder
from tests.datasets.folders import FACTS, FILE, HEIGHT, LAYOUTS, WIDTH, Layout, mat_samples, write_mat

pytest.importorskip("h5py", reason="NYUv2's official .mat is read with h5py, of the extra `data`")
pytest.importorskip("skimage", reason="boundaries of PASCAL-Context need scikit-image, the extra `data`")
DTYPES = {"depth": np.float32, "normals": np.float32}
READERS = (MtanNYUv2, NyudMt, NyuMat, MtanCityscapes, PascalMt, TomlFolder)
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each layout's folder, written once; only to be read."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("layout") / name
            made[name].mkdir()
            LAYOUTS[name].write(made[name])
        return made[name]

    return get


@pytest.fixture
def copied(originals: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: shutil.copytree(originals(name), tmp_path / name)


def refused(folder: Path, read: Callable[[], object], message: str = ".") -> str:
    """The one sentence of what `read` raises, about something in a folder."""
    with pytest.raises(UserError, match=message) as caught:
        read()
    found = str(caught.value)
    assert "\n" not in found and found.endswith((".", "?")) and str(folder) in found, found
    return found


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
def test_what_is_read_is_what_was_written(name: str, originals: Callable[[str], Path]) -> None:
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
def test_a_folder_is_recognised_by_its_own_reader_alone(name: str, originals: Callable[[str], Path]) -> None:
    source = LAYOUTS[name].open(originals(name))
    assert [kind for kind in READERS if kind.detect(source.path)] == [type(source)]
    assert not any(kind.detect(source.path / "nowhere") for kind in READERS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_is_read_before_it_is_asked_for_and_splits_are_named(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].open(tmp_path / "nowhere")
    assert name == "own" or next(iter(source.tasks)) == "semseg"
    refused(tmp_path, lambda: source.names("train"))
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        source.names("tset")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_file_is_one_sentence(name: str, copied: Callable[[str], Path]) -> None:
    layout, folder = LAYOUTS[name], copied(name)
    files = binaries(name, folder) + [p for p in folder.rglob("*") if p.suffix in (".txt", ".toml")]
    for path in files:
        split = "test" if path.stem in ("val", "test") else "train"
        content = path.read_bytes()
        path.unlink()
        if name == "own" and path.parent.name not in ("images", "own"):
            read_split(layout, folder, split)  # an image without a file has no label of that task
        else:
            refused(folder, lambda split=split: read_split(layout, folder, split))
        path.write_bytes(content)


@pytest.mark.parametrize("name", LAYOUTS)
def test_half_a_file_is_one_sentence_that_names_it(name: str, copied: Callable[[str], Path]) -> None:
    layout, folder = LAYOUTS[name], copied(name)
    files = binaries(name, folder)
    assert len(files) >= (1 if name == "mat" else 3)
    for path in files:
        content = path.read_bytes()
        for kept in (content[: len(content) // 2], b""):
            path.write_bytes(kept)
            refused(path, lambda: read_split(layout, folder), "damaged")
        path.write_bytes(content)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_byte_is_read_or_one_sentence(name: str, copied: Callable[[str], Path]) -> None:
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
                if checked:
                    assert (
                        np.array_equal(found.image, whole.image)
                        and found.labels.keys() == whole.labels.keys()
                    )
                    assert all(
                        np.array_equal(found.labels[task], whole.labels[task]) for task in whole.labels
                    )
            except UserError as error:
                assert "\n" not in str(error) and str(error).endswith(".") and str(folder) in str(error)
        path.write_bytes(content)


def saved(value: Any, pickled: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays) if arrays else np.save(file, value, allow_pickle=pickled)
    return file.getvalue()


ONES = saved(np.ones((2, 3), np.float32))


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(9_989) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


NPY = {
    "a claim": (header("(1000000000000, 100000000000)"), "x.npy has more than 100 million pixels"),
    "a negative claim": (header("(-2, -3)") + bytes(24), "has more than 100 million"),
    "a claim of depth": (header("(1, 1, 1000000000)"), "is damaged or not a plain .npy file .it has"),
    "deep": (header("(" * 4_000 + "2" + ")" * 4_000), "is damaged or not a plain .npy file"),
    "many digits": (header("(" + "9" * 5_000 + ",)"), "is damaged or not a plain .npy file"),
    "more after its end": (ONES + b"\r\n", "it has 154 bytes and its header says 152"),
    "another version": (b"\x93NUMPY\x09" + ONES[7:], "is damaged or not a plain .npy file"),
    "pickle": (saved(np.array([{}]), pickled=True), "not hold one array of numbers but object; expected"),
    "archive": (saved(None, label=np.zeros(3)), "damaged or not a plain .npy file"),
    "open bracket": (ONES.replace(b"(2, 3)", b"(2, 3 ", 1), "damaged or not a plain .npy file"),
    "words": (saved(np.array(["a"])), "does not hold one array of numbers"),
    "NaN": (saved(np.full((2, 3), np.nan)), r"NaN or infinite values; expected maps of shape \(2, any\)"),
    "turned": (saved(np.ones((3, 2))), r"has shape \(3, 2\); expected maps of shape \(2, any\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPY)
def test_arrays_that_are_none(case: str, tmp_path: Path) -> None:
    path, (content, message) = tmp_path / "x.npy", NPY[case]
    path.write_bytes(content)
    refused(path, lambda: load_npy(path, "maps", (2, -1)), message)
    path.write_bytes(ONES)
    assert load_npy(path, "maps", (2, -1)).dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing; expected ids, one a line"), (b"\n\n", "is empty; expected ids"),
        (b"7\n3\n7\n", "names '7' twice"), (b"../../x\n", r"names '\.\./\.\./x', which is not a plain name"),
        (b"a\\b\n", "which is not a plain name"), (b"\xff\xfe7", "could not be read"),
    ],
)  # fmt: skip
def test_lists_that_are_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    if content is not None:
        path.write_bytes(content)
    refused(path, lambda: read_list(path, "ids"), message)


VARIANTS = (
    ('{"dataset": "nyuv2", "variant": "a-1.b"}', ""), ('\ufeff{"dataset": "nyuv2", "variant": "a-1.b"}', ""),
    ('{"dataset": "nyuv2", "variant": "a", "variant": "b"}', "could not be read .it says something twice"),
    *((f'{{"dataset": "nyuv2", "variant": {v}}}', "does not name a variant of nyuv2; expected JSON such as")
      for v in ("NaN", '"../x"', '"A"', f'"{"x" * 65}"', '["a"]')),
    ("[" * 100_000, "nested more than 50 deep"), ("", "could not be read"), ("[]", "does not name"),
    ('{"dataset": "cityscapes", "variant": "a"}', "does not name a variant of nyuv2"),
)  # fmt: skip


@pytest.mark.parametrize(("content", "message"), VARIANTS, ids=range(len(VARIANTS)))
def test_variants_are_named_once_by_plain_names(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "SOURCE.json").write_text(content)
    if message:
        refused(tmp_path, lambda: source_variant(tmp_path, "nyuv2"), message)
    else:
        assert source_variant(tmp_path, "nyuv2") == "a-1.b"


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


MAPS, VOC = "pascal-context/trainval/2008_000002.mat", "semseg/VOC12/2008_000002.png"
VALUES: list[tuple[str, str, Change, str]] = [
    ("mtan", "train/image/1.npy", lambda a: a.transpose(2, 0, 1), r"\(3, 12, 16\); .* shape \(12, 16, 3\)"),
    ("mtan", "train/image/1.npy", lambda a: a * 255, r"values in \[0, 1\], but those found .*\.\.255"),
    ("mtan", "train/label/1.npy", at(13), r"numbers -1\.\.12, but those found range over -1\.\.13"),
    ("mtan", "train/label/1.npy", at(1.5), r"numbers -1\.\.12"),
    ("mtan", "train/depth/1.npy", lambda a: a[..., 0], r"\(12, 16\); expected metres of shape \(12, 16, 1\)"),
    ("mtan", "train/depth/1.npy", at(-1), r"metres in 0\.\.100 .*range over -1\.\."),
    ("mtan", "train/depth/1.npy", lambda a: a * 1000, r"metres in 0\.\.100 \(millimetres\?\)"),
    ("mtan", "train/normal/1.npy", at(1), r"length 1 \(0 where unknown\), .*0\.\.1\.732"),
    ("city 7", "train/label_7/1.npy", at(7), r"numbers -1\.\.6, but those found range over -1\.\.7"),
    ("city 19", "train/label_19/1.npy", at(19), r"numbers -1\.\.18, .*-1\.\.19"),
    ("city 7", "train/depth/1.npy", at(-0.1), r"inverse depths in 0\.\.1000 .*-0\.1\.\."),
    ("city 7", "train/depth/1.npy", lambda a: a[:-1, :, 0], r"\(7, 16\); .*shape \(8, 16\)"),
    ("nyud png", "segmentation/3.png", lambda a: a + np.uint8(1), r"classes 0\.\.40 .*over 1\.\.41"),
    ("nyud png", "segmentation/3.png", lambda a: a.astype(np.uint16) * 300, r"classes 0\.\.40 .*\.\.1\.2e"),
    ("nyud png", "normals/3.png", lambda a: a[1:], r"shape \(11, 16, 3\); expected normals"),
    ("nyud png", "normals/3.png", full(250), "vectors of length 1"),
    ("nyud npy", "normals/3.npy", full(0.1, dtype=float), "vectors of length 1"),
    ("nyud npy", "edge/3.npy", full(255), r"edges of 0 and 1, .*255\.\.255"),
    ("pascal", MAPS, full(460, dtype=int), r"numbers 0\.\.459, .*460\.\.460"),
    ("pascal", MAPS, full(np.nan, dtype=float), r"numbers 0\.\.459"),
    ("pascal", MAPS, lambda a: np.array("floor"), r"one array of numbers; .*\(21, 28"),
    ("pascal", MAPS, lambda a: a.T, r"\(28, 21\); .*\(21, 28"),
    ("pascal", VOC, full(21), r"classes 0\.\.20, or 255 where void, .*21\.\.21"),
    ("pascal", VOC, full(0, 21, 28, 3), "holds RGB of 8 bits a channel, not one number a pixel"),
    ("pascal", "sal_distill/2008_000002.png", full(0, 21, 27), r"\(21, 27\); .*\(21, 28"),
    ("own", "labels/img 01.png", full(0, 8, 9), r"\(8, 9\); expected classes.* of its image's size"),
    ("own", "depth/img 02.png", full(0, 8, 9, dtype=np.uint16), r"\(8, 9\); expected depth"),
    ("own", "depth/img 00.npy", full(2000.0, dtype=float), r"in 1e-05..1000, 0 .*\(millimetres\? unit\?\)"),
    ("own", "normals/img 03.npy", full(0, 8, 9, 3), r"\(8, 9, 3\); expected unit vectors"),
    ("own", "edges/img 02.png", full(0, 8, 9), "expected a map of edge of its image's size"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "change", "message"), VALUES)
def test_values_that_cannot_be(
    name: str, file: str, change: Change, message: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(name)
    edit(folder / file, change)
    refused(folder / file, lambda: read_split(LAYOUTS[name], folder), message)


def drop(*files: str) -> Callable[[Path], object]:
    return lambda root: [
        shutil.rmtree(root / f) if (root / f).is_dir() else (root / f).unlink() for f in files
    ]


def text(file: str, content: str) -> Callable[[Path], object]:
    return lambda root: (root / file).write_text(content)


def move(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / old).rename(root / new)


def picture(file: str, *shape: int) -> Callable[[Path], object]:
    return lambda root: Image.fromarray(np.zeros(shape, np.uint8)).save(root / file)


KNOWN = {427: "tvmonitor", 158: "floor", 360: "pillow", 2: "lamp", 187: "walls"}
NAMES = "".join(f"{i}: {KNOWN.get(i, f'class{i}')}\r\n" for i in range(1, 460))
SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    ("mtan", drop("train/depth"), r"train/depth is missing; MTAN's layout is \{train,val\}/\{image,"),
    ("mtan", drop("train/depth/2.npy"), "train must hold equally many .*image 3, label 3, depth 2, normal 3"),
    ("mtan", lambda f: [p.unlink() for p in f.glob("train/*/*")], "at least one, but holds: image 0"),
    ("mtan", move("train/label/1.npy", "train/label/7.npy"), r"train/label holds 3 .npy files but no 1\.npy"),
    ("mtan", move("train/depth/0.npy", "train/depth/00.npy"), r"holds 3 \.npy files but no 0\.npy"),
    ("city 19", drop("train/label_19"), "train/label_19 is missing"),
    ("nyud png", drop("depth"), r"the folder .*/depth is missing; the NYUD_MT layout is .*perhaps edge/\."),
    ("nyud png", drop("images/3.png"), r"images/3\.jpg is missing; neither is there 3\.png; expected one"),
    ("nyud npy", drop("edge/3.npy"), r"edge/3\.npy is missing; neither is there 3\.png"),
    ("pascal", drop(VOC), r"pascal-context/2008_000002\.png is missing; neither is there .*VOC12"),
    ("pascal", picture("JPEGImages/2008_000002.jpg", 22, 28, 3), r"has shape \(21, 28\).*\(22, 28\)"),
    ("pascal", text("labels.txt", "20: tvmonitor\n"), r"labels\.txt names class 427 None; expected PASCAL"),
    ("pascal", text("labels.txt", "427: x\n"), r"labels\.txt names class 427 'x'; expected"),
    ("pascal", text("labels.txt", "floor\n"), r"has the line 'floor'; expected .* such as '427: tvmonitor'"),
    ("pascal", text("labels.txt", "460: x\n"), r"has the line '460: x'; .*each id 0\.\.459 once"),
    ("pascal", text("labels.txt", "1: x\n1: y\n"), r"has the line '1: y'; .*each id 0\.\.459 once"),
    ("own", picture("depth/img 00.png", 40, 56), "holds both 'img 00.npy' and 'img 00.png'; keep one of"),
    ("own", picture("images/img 00.png", 40, 56, 3), "holds both 'img 00.png' and 'img 00.webp'; keep one"),
    ("own", text("train.txt", "img 00\nimg 01.PNG\n"), "names 'img 01.PNG', but .* holds no such im"),
    ("own", text("test.txt", "img 08\nimg 02\n"), "share 1 images, such as 'img 02'; list each in one"),
    ("own", lambda f: [p.unlink() for p in (f / "images").iterdir()], "images holds no file ending in .jp"),
    ("own", lambda f: [p.unlink() for p in f.glob("edges/img [01][0189].png")], "any of the 4 test images"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "message"), SPOILT)
def test_folders_that_are_not_whole(
    name: str, spoil: Callable[[Path], object], message: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(name)
    spoil(folder)
    refused(folder, lambda: read_split(LAYOUTS[name], folder), message)


def test_classes_and_split_are_the_official_ones() -> None:
    train, test = nyuv2_facts.official_split("train"), nyuv2_facts.official_split("test")
    assert (len(train), len(test)) == (795, 654) and sorted(train + test) == list(range(1, 1450))
    assert list(train) == sorted(train) and list(test) == sorted(test)
    names = nyuv2_facts.names(40)
    assert len(names) == 40 and names[:3] == ("wall", "floor", "cabinet") and names[39] == "otherprop"
    # Cabinet, ceiling, chair, floor and wall are the numbers 3, 4, 5, 11 and 21 of the file's own list.
    for number, name in {3: "cabinet", 4: "ceiling", 5: "chair", 11: "floor", 21: "wall"}.items():
        assert names[nyuv2_facts.from_894(40)[number]] == name
        of_13 = nyuv2_facts.names(13)[nyuv2_facts.from_894(13)[number]]
        assert of_13 == ("furniture" if name == "cabinet" else name)
    for classes in (13, 40):
        table = nyuv2_facts.from_894(classes)
        assert table.shape == (895,) and table[0] == 255
        assert sorted(set(table[1:].tolist())) == list(range(classes))
    assert {number: len(set(names)) for number, names in CITYSCAPES.items()} == {7: 7, 19: 19}
    assert CITYSCAPES[19][0] == "road" and CITYSCAPES[19][18] == "bicycle"


def test_other_ways_to_store_the_same(copied: Callable[[str], Path]) -> None:
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


def test_eight_bits_know_no_zero_and_an_edge_is_more_than_half(copied: Callable[[str], Path]) -> None:
    folder = copied("nyud png")
    pixels, grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8), np.full((HEIGHT, WIDTH), 127, np.uint8)
    pixels[0], pixels[1, :, 0], pixels[2] = 127, 127, (126, 128, 1)
    pixels[3, 5] = (129, 128, 128)  # as short as a vector can be that is known
    grey[4] = 128
    folders.save(folder / "normals/3.png", pixels)
    folders.save(folder / "edge/3.png", grey)
    labels = NyudMt(folder, 40).read("train", 1).labels
    assert labels["normals"].any(-1).sum(1).tolist() == [0, 0, WIDTH, 1] + [0] * (HEIGHT - 4)
    assert np.allclose(labels["normals"][2], np.array([-3, 1, -253]) / np.sqrt(9 + 1 + 253**2), atol=1e-6)
    assert np.allclose(labels["normals"][3, 5], np.array([3, 1, 1]) / np.sqrt(11), atol=1e-6)
    assert labels["edge"].nonzero()[0].tolist() == [4] * WIDTH
    shutil.rmtree(folder / "edge")
    source = NyudMt(folder, 13)
    assert list(source.tasks) == list(source.read("train", 0).labels) == ["semseg", "depth", "normals"]


def test_the_white_border_is_cut_off(tmp_path: Path) -> None:
    number = FACTS["train"][0]
    whole = mat_samples((480, 640))[number]
    sample = NyuMat(write_mat(tmp_path / FILE, {number: whole}, 1449), 40).read("train", 0)
    inside = np.s_[45:471, 41:601]
    assert np.array_equal(sample.image, whole["image"][inside]) and sample.image.shape == (426, 560, 3)
    assert np.array_equal(sample.labels["depth"], whole["depth"][inside])
    label = whole["label40"][inside]
    assert np.array_equal(sample.labels["semseg"], np.where(label == 0, 255, label - 1))


@pytest.mark.parametrize("size", [(480, 640), (240, 320)])
def test_normals_of_a_plane_are_derived_with_the_right_camera(size: tuple[int, int], tmp_path: Path) -> None:
    """A floor seen by the toolbox's camera, which counts pixels from 1: X = (column - cx) Z / fx."""
    step = 640 / size[1]
    row, column = ((np.arange(n) + 0.5) * step + 0.5 for n in size)  # of the 480x640 image, counted from 1
    x, y = np.meshgrid((column - 325.582449) / 518.857901, (row - 253.736166) / 519.469611)
    plane = np.array([0.05, 0.4, 0.3])  # n.p = 1: below and ahead
    depth = (1 / (plane[0] * x + plane[1] * y + plane[2])).astype(np.float32)
    assert depth.min() > 0.5 and depth.max() < 20
    made = {"image": np.zeros((*size, 3), np.uint8), "depth": depth, "label": np.ones(size)}
    source = NyuMat(write_mat(tmp_path / FILE, {FACTS["test"][0]: made}), 13, derive_normals=True)
    assert source.variant == "derived-normals-9x9" and len(source.notes) == 2
    assert list(source.tasks) == ["semseg", "depth", "normals"]
    normals = source.read("test", 0).labels["normals"]
    assert normals.shape[:2] == ((426, 560) if size == (480, 640) else size)
    assert np.abs(normals - -plane / np.linalg.norm(plane)).max() < 2e-4
    assert normals[..., 1].max() < 0 and normals[..., 2].max() < 0  # up, and towards the camera


def rewrite(path: Path, kind: str, array: np.ndarray | None) -> None:
    """Put another dataset in the place of one, or nothing."""
    import h5py

    with h5py.File(path, "a") as file:
        del file[kind]
        if array is not None:
            file.create_dataset(kind, data=array, compression="gzip")


def broken_chunk(path: Path) -> None:
    """Overwrite the compressed depth of the first image to train on."""
    import h5py

    with h5py.File(path) as content:
        info = content["depths"].id.get_chunk_info_by_coord((FACTS["train"][0] - 1, 0, 0))
    data = bytearray(path.read_bytes())
    data[info.byte_offset : info.byte_offset + info.size] = bytes(info.size)
    path.write_bytes(data)


def fewer(path: Path) -> None:
    write_mat(path, {3: mat_samples()[FACTS["train"][0]]}, images=24)


def put(kind: str, shape: tuple[int, ...], dtype: Any, value: float = 0) -> Callable[[Path], None]:
    return lambda path: rewrite(path, kind, np.full(shape, value, dtype))


def elsewhere(how: str) -> Callable[[Path], None]:
    """Depths that lie in another place or file, which anyone may have chosen."""

    def act(path: Path) -> None:
        import h5py

        other = path.with_name("other.h5")
        with h5py.File(path, "a") as file:
            shape, dtype = file["depths"].shape, file["depths"].dtype
            if how == "soft link":
                file.move("depths", "other")
                file["depths"] = h5py.SoftLink("/other")
                return
            with h5py.File(other, "w") as more:
                more.create_dataset("depths", data=file["depths"][:], compression="gzip")
            del file["depths"]
            if how == "link":
                file["depths"] = h5py.ExternalLink("other.h5", "/depths")
            elif how == "storage":
                place = [(str(other), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("depths", shape, dtype, external=place)
            else:
                layout = h5py.VirtualLayout(shape, dtype)
                layout[:] = h5py.VirtualSource(str(other), "depths", shape, dtype)
                file.create_virtual_dataset("depths", layout)

    return act


def claim(path: Path) -> None:
    """Zeros that nobody stored, of 90,000 x 90,000 pixels."""
    import h5py

    with h5py.File(path, "a") as file:
        del file["depths"]
        file.create_dataset("depths", (1449, 90_000, 90_000), np.float32, chunks=(1, 100, 100))


MAT: list[tuple[Callable[[Path], object], str]] = [
    (elsewhere("link"), "holds depths in another place; expected NYUv2's"),
    (elsewhere("soft link"), "holds depths in another place; expected NYUv2's"),
    (elsewhere("storage"), "holds depths in another file; expected NYUv2's"),
    (elsewhere("virtual"), "holds depths in another file; expected NYUv2's"),
    (claim, "holds depths larger than any of NYUv2's; expected"),
    (lambda p: p.unlink() or os.mkfifo(p), "is missing; expected NYUv2's"),
    (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500)), "damaged or not a MATLAB 7.3 file"),
    (lambda p: rewrite(p, "depths", None), "has no dataset 'depths'; expected NYUv2's"),
    (put("images", (1449, 3, 32, 24), np.uint16), r"type uint16 .*expected uint8 of shape \(1449, 3, W, H\)"),
    (put("images", (24, 32, 3, 1449), np.uint8), r"holds images of type uint8 and shape \(24, 32"),
    (put("labels", (32, 24), np.uint16), r"holds labels of type uint16 and shape \(32, 24\)"),
    (put("labels", (1449, 32, 25), np.uint16), "holds images, depths and labels of different"),
    (fewer, r"holds 24 images, but the official split is of 1449; expected NYUv2's .*, whole\."),
    (put("labels", (1449, 32, 24), np.uint16, 895), r"labels/3 must hold classes 0\.\.894 .*895\.\.895"),
    (put("depths", (1449, 32, 24), np.float32, 1500), r"depths/3 must hold metres in 0\.\.100"),
    (put("depths", (1449, 32, 24), np.float32, np.nan), r"depths/3 must hold metres in 0\.\.100"),
    (broken_chunk, r"depths/3 could not be read \(.*\); .*labeled\.mat is damaged, get it anew\."),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), MAT)
def test_official_files_that_are_none(
    spoil: Callable[[Path], object], message: str, copied: Callable[[str], Path]
) -> None:
    path = copied("mat") / FILE
    spoil(path)
    refused(path, lambda: read_split(LAYOUTS["mat"], path), message)


def test_tasks_of_pascal_are_the_papers(copied: Callable[[str], Path]) -> None:
    folder = copied("pascal")
    source = PascalMt(folder)
    assert list(source.tasks) == ["semseg", "parts", "saliency", "normals", "edge"]
    assert source.tasks["semseg"].classes == CLASSES and len(CLASSES) == 21 and CLASSES[15] == "person"
    parts = "background, head, torso, upper arm, lower arm, upper leg, lower leg"
    assert source.tasks["parts"].classes == tuple(parts.split(", "))
    assert voc_parts.CLASS_OF == pascal_folder.GROUPS and len(voc_parts.CLASS_OF) == 24
    row = fit.fit(source.read("train", 1), source.tasks, (32, 32), "pad")
    assert row.extent == (30, 17) and (row.targets["parts"] == 255).all()
    first, stored = "2008_000002", source.read("train", 0).labels["semseg"]
    Image.fromarray(np.zeros_like(stored)).save(folder / f"semseg/pascal-context/{first}.png")
    assert np.array_equal(PascalMt(folder).read("train", 0).labels["semseg"], stored), "VOC's go first"
    Image.fromarray(np.full((21, 28, 3), 127, np.uint8)).save(folder / f"normals_distill/{first}.png")
    assert not PascalMt(folder).read("train", 0).labels["normals"].any()


def test_boundaries_of_noise_and_where_classes_cancel() -> None:
    """A class with as far a class above it as below has no boundary in the published maps."""
    random = np.random.default_rng(0)
    for _ in range(4):
        fine = random.integers(1, 4, (13, 17)).astype(np.int32)
        coarse = pascal_folder.blocks(random, 23, 31, np.arange(1, 460)).astype(np.int32)
        assert all((edges(context) == pascal_folder.slow_edges(context)).all() for context in (fine, coarse))
    ramp = np.repeat(np.arange(0, 9, 2, dtype=np.int32)[:, None], 6, 1)
    assert edges(ramp)[2].sum() == 0 and pascal_folder.slow_edges(ramp)[2].sum() == 0
    largest = np.array([[459, 0, 459], [0, 459, 0], [459, 0, 459]], np.uint16)
    assert (edges(largest) == pascal_folder.slow_edges(largest)).all()


@pytest.mark.parametrize("place", ["labels.txt", "pascal-context/labels.txt"])
def test_labels_txt_says_which_normals_are_kept(place: str, copied: Callable[[str], Path]) -> None:
    folder = copied("pascal")
    (note,) = PascalMt(folder).notes
    assert PascalMt(folder).variant == "fewer-normals" and all(name in note for name in SURFACES)
    assert f"{folder} has no labels.txt" in note and "prepare again" in note and "\n" not in note
    (folder / place).write_text(NAMES)
    source = PascalMt(folder)
    assert source.notes == () and source.variant is None
    expected = pascal_folder.slow_normals(pascal_folder.content(0), {427, 158, 360, 2})
    assert np.abs(source.read("train", 0).labels["normals"] - expected).max() < 1e-6
    (folder / place).write_bytes(b"\xff\xfe\x00")
    refused(folder, lambda: read_context_names(folder / place), "could not be read .*expected PASCAL-Con")


@pytest.mark.parametrize("form", ["bare struct", "cells", "column", "no objects"])
def test_other_nestings_of_the_part_struct_are_read_alike(form: str, tmp_path: Path) -> None:
    mask = np.eye(4, dtype=np.uint8)
    person = pascal_folder.Thing("person", 15, mask, [("head", mask), ("lfoot", mask[::-1])])
    things = [person, pascal_folder.Thing("dog", 12, mask)]
    anno: Any = pascal_folder.anno("x", [] if form == "no objects" else things)
    if form == "bare struct":  # one object and one part, not in arrays of them
        anno = {"imname": "x", "objects": {"class_ind": 15, "parts": {"part_name": "head", "mask": mask}}}
    elif form == "cells":
        cell = np.empty((1, 1), object)
        cell[0, 0] = anno["objects"][0, 0]
        anno["objects"][0, 0] = cell
    elif form == "column":
        anno["objects"][0, 0] = anno["objects"][0, 0].reshape(-1, 1)
    savemat(tmp_path / "x.mat", {"anno": anno})
    parts = voc_parts.load_parts(tmp_path / "x.mat", (4, 4))
    wanted = mask if form == "bare struct" else np.maximum(mask, 6 * mask[::-1])
    assert parts is None if form == "no objects" else (parts == wanted).all()


def part(name: object = "head", mask: object = None, key: str = "part_name") -> dict[str, Any]:
    parts = pascal_folder.struct([{key: name, "mask": np.ones((21, 28)) if mask is None else mask}])
    person = pascal_folder.struct([{"class": "person", "class_ind": 15.0, "parts": parts}])
    return {"anno": pascal_folder.struct([{"imname": "x", "objects": person}])}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"anno": np.ones((2, 2))}, "holds float64 values where a struct belongs"),
        (part(key="name"), "has a struct without the field part_name"),
        (part("tail"), "has a person's part named 'tail'; expected one of hair, head, lear"),
        (part(mask=np.ones((28, 21))), r"has shape \(28, 21\); expected a mask of head of shape \(21, 28"),
        (part(mask="x"), "does not hold one array of numbers; expected a mask of head"),
    ],
)  # fmt: skip
def test_part_structs_that_are_none(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", content)
    refused(tmp_path, lambda: voc_parts.load_parts(tmp_path / "x.mat", (21, 28)), message)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")


def array(kind: int, sides: tuple[int, ...], content: bytes, name: bytes = b"") -> bytes:
    parts = (element(6, struct.pack("<II", kind, 0)), element(5, struct.pack(f"<{len(sides)}i", *sides)))
    return element(14, b"".join((*parts, element(1, name), content)))


def nested(depth: int) -> bytes:
    inner = array(6, (1, 1), element(9, bytes(8)))
    for _ in range(depth):
        inner = array(1, (1, 1), inner)
    return inner


UINT8 = element(2, bytes(4))
STREAM = zlib.compress(array(9, (2, 2), UINT8, b"LabelMap"), 0)
WHOLE = struct.pack("<II", 15, len(STREAM)) + STREAM
MAT_5: list[tuple[bytes, str]] = [
    (array(9, (2, 2), UINT8, b"LabelMap"), ""),
    (array(9, (64_000, 48_000), UINT8, b"LabelMap"), "claims 64000x48000 elements"),
    (array(1, (64_000, 48_000), nested(0), b"LabelMap"), "claims 64000x48000 elements"),
    (array(1, (1, 1), nested(60), b"LabelMap"), "nested more than 50 deep"),
    (array(99, (2, 2), UINT8, b"LabelMap"), "it is damaged"),
    (array(9, (2, 2), element(99, bytes(4)), b"LabelMap"), "it is damaged"),
    (array(9, (2, 2), struct.pack("<II", 2, 400) + bytes(8), b"LabelMap"), "it is damaged"),
    (element(15, zlib.compress(bytes((1 << 20) + 8))), "holds more than 1 MiB"),
    (WHOLE, ""),  # and a class of array that scipy would look up beyond the end of a table
    (WHOLE.replace(struct.pack("<IIB", 6, 8, 9), struct.pack("<IIB", 6, 8, 200)), "incorrect data check"),
    (array(9, (2, 2), UINT8, b"other"), "has no variable 'LabelMap'; expected a map"),
    (element(15, zlib.compress(array(9, (2, 2), UINT8, b"LabelMap"))[:-3]), "is cut off|incomplete"),
]


@pytest.mark.parametrize(("content", "message"), MAT_5, ids=range(len(MAT_5)))
def test_a_mat_that_claims_or_nests_is_refused_before_it_is_parsed(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.layouts.files.LARGEST_MAT", 1 << 20)
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + content)
    if message:
        refused(path, lambda: load_mat(path, "LabelMap", "a map"), message)
    else:
        assert load_mat(path, "LabelMap", "a map").shape == (2, 2)


def test_names_and_lists_of_other_desktops(copied: Callable[[str], Path]) -> None:
    """A byte-order mark, accents in two parts, what macOS keeps beside files; a pipe for an image."""
    folder = copied("own")
    before = TomlFolder(folder).read("train", 1)
    for path in folder.rglob("img 01.*"):
        path.rename(path.with_name("cafe\u0301" + path.suffix))
        path.with_name("._cafe\u0301" + path.suffix).write_bytes(b"x")
    for name in ("train.txt", "dataset.toml"):
        text = (folder / name).read_text().replace("img 01", "caf\u00e9")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
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
    after = source.read("train", 1)
    assert before.labels.keys() == after.labels.keys() and np.array_equal(before.image, after.image)
    (folder / "images" / "img 03.PNG").unlink()
    os.mkfifo(folder / "images" / "img 03.PNG")
    refused(folder, lambda: source.read("train", 3), "could not be read: it is no plain file")


def test_what_may_not_be_read_is_named(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so that permission is taken away in the program."""
    folder = copied("own")

    def closed(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", closed)
        refused(folder, lambda: TomlFolder(folder).names("train"), "depth could not be read: Permission deni")
    source = TomlFolder(folder)
    source.names("train")
    monkeypatch.setattr("datasets.layouts.pixels.check_plain", closed)
    refused(folder, lambda: source.read("train", 0), "img 00.webp could not be read: Permission denied; ex")
