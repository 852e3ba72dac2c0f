"""The reader of PASCAL_MT folders: what it makes of good ones, pixel by pixel, and what it says of bad
ones.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from benchmark.errors import UserError
from datasets import fit
from datasets.layouts import voc_parts
from datasets.layouts.files import load_mat
from datasets.layouts.pascal_mt import CLASSES, SURFACES, PascalMt, edges, read_context_names
from tests.datasets import pascal_folder as folder

pytest.importorskip("skimage", reason="boundaries of PASCAL-Context need scikit-image, the extra `data`")
FIRST = "2008_000002"
GROUPS = {
    **dict.fromkeys(("hair", "head", "lear", "rear", "leye", "reye", "lebrow", "rebrow", "mouth", "nose"), 1),
    **dict.fromkeys(("neck", "torso"), 2),
    **dict.fromkeys(("luarm", "ruarm"), 3),
    **dict.fromkeys(("llarm", "rlarm", "lhand", "rhand"), 4),
    **dict.fromkeys(("luleg", "ruleg"), 5),
    **dict.fromkeys(("llleg", "rlleg", "lfoot", "rfoot"), 6),
}


def slow_parts(things: list[folder.Thing], shape: tuple[int, int]) -> np.ndarray | None:
    people = [thing for thing in things if thing.name == "person" and thing.parts]
    target = np.zeros(shape, int)
    for person in people:
        for name, mask in person.parts:
            for row in range(shape[0]):
                for column in range(shape[1]):
                    if mask[row, column]:
                        target[row, column] = GROUPS[name]
    return target if people else None


def slow_normals(content: folder.Content, kept: set[int]) -> np.ndarray:
    result = np.zeros(content.normals.shape)
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            vector = [2 * int(x) / 255 - 1 for x in content.normals[row, column]]
            unknown = all(abs(x) <= 1 / 255 + 1e-12 for x in vector)
            if int(content.context[row, column]) in kept and not unknown:
                result[row, column] = np.array(vector) / sum(x * x for x in vector) ** 0.5
    return result


def slow_edges(context: np.ndarray) -> np.ndarray:
    height, width = context.shape

    def at(row: int, column: int) -> int:
        mirrored = [
            -i if i < 0 else 2 * (n - 1) - i if i >= n else i for i, n in ((row, height), (column, width))
        ]
        return int(context[mirrored[0], mirrored[1]])

    found = np.zeros(context.shape, bool)
    for row in range(height):
        for column in range(width):
            around = at(row - 1, column) + at(row + 1, column) + at(row, column - 1) + at(row, column + 1)
            found[row, column] = around != 4 * at(row, column)
    return slow_thin(found)


def slow_thin(lines: np.ndarray) -> np.ndarray:
    """Guo and Hall's parallel thinning with two sub-iterations (CACM 1989), neighbours counted from the east
    anticlockwise.
    """
    lines = lines.copy()
    steps = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    while True:
        before = lines.copy()
        for half in (0, 4):
            drop = []
            for row, column in zip(*np.nonzero(lines), strict=True):
                x = []
                for down, right in steps:
                    inside = 0 <= row + down < lines.shape[0] and 0 <= column + right < lines.shape[1]
                    x.append(bool(inside and lines[row + down, column + right]))
                crossings = sum(not x[2 * i] and (x[2 * i + 1] or x[(2 * i + 2) % 8]) for i in range(4))
                first = sum(x[2 * i] or x[2 * i + 1] for i in range(4))
                second = sum(x[2 * i + 1] or x[(2 * i + 2) % 8] for i in range(4))
                y = x[half:] + x[:half]
                if (
                    crossings == 1
                    and 2 <= min(first, second) <= 3
                    and not ((y[1] or y[2] or not y[7]) and y[0])
                ):
                    drop.append((row, column))
            for place in drop:
                lines[place] = False
        if (lines == before).all():
            return lines


@pytest.mark.parametrize(("split", "ids"), [("train", slice(0, 3)), ("test", slice(3, 4))])
def test_a_sample_holds_what_the_files_hold(tmp_path, split, ids):
    made = folder.write(tmp_path)
    source = PascalMt(tmp_path)
    assert source.names(split) == tuple(folder.SIZES)[ids]
    for i, name in enumerate(source.names(split)):
        content, sample = made[name], source.read(split, i)
        height, width = folder.SIZES[name]
        assert sample.image.shape == (height, width, 3) and sample.image.dtype == np.uint8
        assert (sample.image == np.asarray(Image.open(tmp_path / "JPEGImages" / f"{name}.jpg"))).all()
        parts = slow_parts(content.things, (height, width))
        assert ("parts" in sample.labels) == (parts is not None) == (name != "2008_000003")
        for task, label in sample.labels.items():
            assert label.dtype == (np.float32 if task == "normals" else np.uint8), task
            assert label.shape == ((height, width, 3) if task == "normals" else (height, width)), task
        assert set(sample.labels) == set(source.tasks) - ({"parts"} if parts is None else set())
        if parts is not None:
            assert (sample.labels["parts"] == parts).all() and len(np.unique(parts)) > 3
        saliency = sample.labels["saliency"]
        for row in range(height):
            for column in range(width):
                assert sample.labels["semseg"][row, column] == content.semseg[row, column]
                assert saliency[row, column] == (1 if content.saliency[row, column] / 255 > 0.5 else 0)
        assert set(np.unique(saliency)) == {0, 1}
        normals = slow_normals(content, {158, 440, 427, 284})
        known = (normals != 0).any(2)
        assert 0.1 < known.mean() < 0.9
        assert np.abs(sample.labels["normals"] - normals).max() < 1e-6
        assert ((sample.labels["normals"] != 0).any(2) == known).all()
        assert np.abs(np.linalg.norm(sample.labels["normals"][known], axis=-1) - 1).max() < 1e-6
        assert (sample.labels["edge"] == slow_edges(content.context)).all() and 0 < sample.labels[
            "edge"
        ].mean() < 1


def test_a_sample_fits_a_frame(tmp_path):
    folder.write(tmp_path)
    source = PascalMt(tmp_path)
    for i, name in enumerate(source.names("train")):
        sample = source.read("train", i)
        assert all(
            array.flags.writeable for array in (sample.image, *sample.labels.values())
        )  # torch warns of others
        row = fit.fit(sample, source.tasks, (32, 32), "pad")
        assert row.extent == folder.SIZES[name] and row.image.shape == (3, 32, 32)
        assert (row.targets["parts"] == 255).all() == (name == "2008_000003")


def test_classes_of_voc_go_before_those_of_pascal_context(tmp_path):
    made = folder.write(tmp_path)
    Image.fromarray(np.zeros_like(made[FIRST].semseg)).save(
        tmp_path / "semseg" / "pascal-context" / f"{FIRST}.png"
    )
    assert (PascalMt(tmp_path).read("train", 0).labels["semseg"] == made[FIRST].semseg).all()


def test_boundaries_of_noise_lines_and_cancelling_classes():
    """Also where the Laplacian cancels: a class with as far a class above it as below has no boundary in the
    published maps.
    """
    random = np.random.default_rng(0)
    for _ in range(10):
        context = random.integers(1, 4, (13, 17)).astype(np.int32)
        assert (edges(context) == slow_edges(context)).all()
        coarse = folder.blocks(random, 23, 31, np.arange(1, 460)).astype(np.int32)
        assert (edges(coarse) == slow_edges(coarse)).all()
    ramp = np.repeat(np.arange(0, 9, 2, dtype=np.int32)[:, None], 6, 1)
    assert edges(ramp)[2].sum() == 0 and slow_edges(ramp)[2].sum() == 0
    assert not edges(np.full((5, 6), 7, np.int32)).any()


def test_the_largest_class_does_not_overflow():
    context = np.array([[459, 0, 459], [0, 459, 0], [459, 0, 459]], np.int32)
    assert (edges(context) == slow_edges(context)).all()


def test_tasks_are_the_papers(tmp_path):
    tasks = PascalMt(tmp_path).tasks
    assert list(tasks) == ["semseg", "parts", "saliency", "normals", "edge"]
    assert tasks["semseg"].channels == 21 and tasks["semseg"].classes == CLASSES and CLASSES[15] == "person"
    assert tasks["parts"].classes == (
        "background",
        "head",
        "torso",
        "upper arm",
        "lower arm",
        "upper leg",
        "lower leg",
    )
    assert voc_parts.CLASS_OF == GROUPS and len(GROUPS) == 24


def test_a_folder_is_recognised_and_is_what_its_authors_publish(tmp_path):
    assert not PascalMt.detect(tmp_path) and not PascalMt.detect(tmp_path / "nowhere")
    folder.write(tmp_path)
    assert PascalMt.detect(tmp_path) and PascalMt(tmp_path).variant == "fewer-normals"
    assert PascalMt.layout == "pascal_mt" and PascalMt(tmp_path).path == tmp_path


def test_the_test_writer_nests_as_the_real_files_do(tmp_path):
    """Indexed as code for VOC's part annotations does it, by position."""
    made = folder.write(tmp_path)
    objects = loadmat(tmp_path / "human_parts" / f"{FIRST}.mat")["anno"][0][0][1]
    assert loadmat(tmp_path / "human_parts" / f"{FIRST}.mat")["anno"].dtype.names == ("imname", "objects")
    assert objects.shape == (1, 3) and objects.dtype.names == ("class", "class_ind", "mask", "parts")
    for i, thing in enumerate(made[FIRST].things):
        assert objects[0][i][0][0] == thing.name and objects[0][i][1][0][0] == thing.index
        assert objects[0][i][2].dtype == np.uint8 and (objects[0][i][2] == thing.mask).all()
        parts = objects[0][i][3]
        assert parts.shape == ((1, len(thing.parts)) if thing.parts else (0, 0))
        for j, (name, mask) in enumerate(thing.parts):
            assert parts.dtype.names == ("part_name", "mask")
            assert parts[0][j][0][0] == name and (parts[0][j][1] == mask).all()


@pytest.mark.parametrize("form", ["bare struct", "cells", "column", "no objects"])
def test_other_nestings_of_the_part_struct_are_read_alike(tmp_path, form):
    mask = np.eye(4, dtype=np.uint8)
    things = [
        folder.Thing("person", 15, mask, [("head", mask), ("lfoot", mask[::-1])]),
        folder.Thing("dog", 12, mask),
    ]
    anno = folder.anno("x", [] if form == "no objects" else things)
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
    if form == "no objects":
        assert parts is None
    elif form == "bare struct":
        assert parts is not None and (parts == mask).all()
    else:
        assert parts is not None and (parts == np.maximum(mask, 6 * mask[::-1])).all()


KNOWN = {427: "tvmonitor", 158: "floor", 360: "pillow", 2: "lamp", 187: "walls"}


def labels_text(changes: dict[int, str] = KNOWN) -> str:
    return "".join(f"{i}: {changes.get(i, f'class{i}')}\r\n" for i in range(1, 460))


@pytest.mark.parametrize("place", ["labels.txt", "pascal-context/labels.txt"])
def test_labels_txt_says_which_normals_are_kept(tmp_path, place):
    made = folder.write(tmp_path)
    (note,) = PascalMt(tmp_path).notes
    assert (
        "has no labels.txt" in note and str(tmp_path) in note and "prepare again" in note and "\n" not in note
    )
    assert all(name in note for name in SURFACES)
    (tmp_path / place).write_text(labels_text())
    source = PascalMt(tmp_path)
    assert source.notes == ()
    for i, name in enumerate(source.names("train")):
        expected = slow_normals(made[name], {427, 158, 360, 2})
        assert np.abs(source.read("train", i).labels["normals"] - expected).max() < 1e-6


def test_an_image_of_unknown_normals_has_none(tmp_path):
    made = folder.write(tmp_path)
    flat = np.full_like(made[FIRST].normals, 127)
    flat[::2] = 128
    Image.fromarray(flat).save(tmp_path / "normals_distill" / f"{FIRST}.png")
    assert not PascalMt(tmp_path).read("train", 0).labels["normals"].any()


def test_splits_are_named(tmp_path):
    folder.write(tmp_path)
    with pytest.raises(UserError, match="unknown split 'tset'; did you mean 'test'"):
        PascalMt(tmp_path).names("tset")


def test_boundaries_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.morphology", None)
    with pytest.raises(UserError, match=r"need scikit-image; install it with `pip install -e '\.\[data\]'`"):
        edges(np.zeros((4, 4), np.int32))


Spoil = Callable[[Path], None]


def remove(*names: str) -> Spoil:
    return lambda root: [(root / name).unlink() for name in names] and None


def damage(name: str) -> Spoil:
    """Cut a file in half."""
    return lambda root: (
        (root / name).write_bytes((root / name).read_bytes()[: (root / name).stat().st_size // 2]) and None
    )


def flip(name: str, place: int) -> Spoil:
    """Change a bit of a byte; the last ones hold the check sum."""

    def spoil(root: Path) -> None:
        stored = bytearray((root / name).read_bytes())
        stored[place] ^= 1
        (root / name).write_bytes(stored)

    return spoil


def text(name: str, content: str) -> Spoil:
    return lambda root: (root / name).write_text(content) and None


def picture(name: str, *shape: int, value: int = 0) -> Spoil:
    return lambda root: Image.fromarray(np.full(shape, value, np.uint8)).save(root / name)


def mat(name: str, **content: object) -> Spoil:
    return lambda root: savemat(root / name, content)


def part(
    name: str = "head", size: tuple[int, int] = (21, 28), mask: object = None, key: str = "part_name"
) -> Spoil:
    parts = folder.struct([{key: name, "mask": np.ones(size) if mask is None else mask}])
    person = folder.struct([{"class": "person", "class_ind": 15.0, "mask": np.ones(size), "parts": parts}])
    return mat(PARTS, anno=folder.struct([{"imname": "x", "objects": person}]))


LIST, JPG = "ImageSets/Context/train.txt", f"JPEGImages/{FIRST}.jpg"
VOC, CONTEXT_PNG = f"semseg/VOC12/{FIRST}.png", "semseg/pascal-context/2008_000003.png"
CONTEXT, PARTS = f"pascal-context/trainval/{FIRST}.mat", f"human_parts/{FIRST}.mat"
NORMALS, SALIENCY = f"normals_distill/{FIRST}.png", f"sal_distill/{FIRST}.png"
SIZE = r"shape \(21, 28"

BAD: dict[str, tuple[Spoil, str]] = {
    "no list": (remove(LIST), r"train\.txt is missing; expected ids of images, one a line"),
    "an empty list": (text(LIST, "\n\n"), r"train\.txt is empty; expected ids of images"),
    "an id twice": (text(LIST, f"{FIRST}\n{FIRST}\n"), rf"train\.txt names '{FIRST}' twice"),
    "a path as an id": (
        text(LIST, "../../secret\n"),
        r"train\.txt names '\.\./\.\./secret', which is not a plain name",
    ),
    "a path of Windows": (text(LIST, "a\\b\n"), r"names 'a\\\\b', which is not a plain name"),
    "an id without files": (
        text(LIST, "2011_1\n"),
        r"JPEGImages/2011_1\.jpg is missing; expected an RGB picture",
    ),
    "no image": (remove(JPG), rf"{JPG} is missing"),
    "half an image": (damage(JPG), rf"{JPG} is damaged or not a picture"),
    "no image but text": (text(JPG, "hello"), rf"{JPG} is damaged or not a picture"),
    "image of another size": (
        picture(JPG, 22, 28, 3),
        r"LabelMap|" + CONTEXT + r" has shape \(21, 28\).*\(22, 28\)",
    ),
    "no LabelMap file": (remove(CONTEXT), rf"{CONTEXT} is missing; expected a map of classes"),
    "half a LabelMap": (damage(CONTEXT), rf"{CONTEXT} is damaged"),
    "a bit of LabelMap": (flip(CONTEXT, -1), rf"{CONTEXT} is damaged"),
    "text for LabelMap": (
        text(CONTEXT, "hello, this is not MATLAB" * 20),
        rf"{CONTEXT} is damaged or not a MATLAB 5 file",
    ),
    "no LabelMap": (mat(CONTEXT, other=np.ones((21, 28))), rf"{CONTEXT} has no variable 'LabelMap'"),
    "LabelMap of text": (
        mat(CONTEXT, LabelMap="floor"),
        rf"{CONTEXT} does not hold one array of numbers; .*{SIZE}",
    ),
    "LabelMap of another size": (
        mat(CONTEXT, LabelMap=np.ones((28, 21))),
        rf"{CONTEXT} has shape \(28, 21\); .*{SIZE}",
    ),
    "class 460": (
        mat(CONTEXT, LabelMap=np.full((21, 28), 460)),
        rf"{CONTEXT} must hold whole numbers 0\.\.459, .*460\.\.460",
    ),
    "class -1": (
        mat(CONTEXT, LabelMap=np.full((21, 28), -1)),
        rf"{CONTEXT} must hold whole numbers 0\.\.459",
    ),
    "class 1.5": (
        mat(CONTEXT, LabelMap=np.full((21, 28), 1.5)),
        rf"{CONTEXT} must hold whole numbers 0\.\.459",
    ),
    "class NaN": (
        mat(CONTEXT, LabelMap=np.full((21, 28), np.nan)),
        rf"{CONTEXT} must hold whole numbers 0\.\.459",
    ),
    "no semseg": (remove(VOC), rf"semseg/pascal-context/{FIRST}\.png is missing; neither is there .*{VOC}"),
    "half a semseg": (damage(VOC), rf"{VOC} is damaged or not a picture"),
    "semseg of another size": (picture(VOC, 28, 21), rf"{VOC} has shape \(28, 21\); .*{SIZE}"),
    "semseg in colour": (picture(VOC, 21, 28, 3), rf"{VOC} has colour mode RGB, not one 8-bit channel"),
    "semseg class 21": (
        picture(VOC, 21, 28, value=21),
        rf"{VOC} must hold classes 0\.\.20, or 255 where void, .*21\.\.21",
    ),
    "no saliency": (remove(SALIENCY), rf"{SALIENCY} is missing; expected a grey map of saliency"),
    "half a saliency": (damage(SALIENCY), rf"{SALIENCY} is damaged"),
    "saliency of another size": (picture(SALIENCY, 21, 27), rf"{SALIENCY} has shape \(21, 27\); .*{SIZE}"),
    "no normals": (remove(NORMALS), rf"{NORMALS} is missing; expected normals as colours"),
    "half normals": (damage(NORMALS), rf"{NORMALS} is damaged"),
    "normals of another size": (picture(NORMALS, 20, 28, 3), rf"{NORMALS} has shape \(20, 28, 3\); .*{SIZE}"),
    "no parts": (remove(PARTS), rf"{PARTS} is missing; expected the struct anno of VOC's part annotations"),
    "half of the parts": (damage(PARTS), rf"{PARTS} is damaged"),
    "a bit of the parts": (flip(PARTS, 400), rf"{PARTS} is damaged"),
    "no anno": (mat(PARTS, other=1), rf"{PARTS} has no variable 'anno'"),
    "anno of numbers": (
        mat(PARTS, anno=np.ones((2, 2))),
        rf"{PARTS} holds float64 values where a struct belongs",
    ),
    "anno without objects": (
        mat(PARTS, anno={"imname": "x"}),
        rf"{PARTS} has a struct without the field objects",
    ),
    "part without a name": (part(key="name"), rf"{PARTS} has a struct without the field part_name"),
    "unknown part": (
        part("tail"),
        rf"{PARTS} has a person's part named 'tail'; expected one of hair, head, lear",
    ),
    "numbered part": (part(7), rf"{PARTS} has a person's part named '7'; expected one of"),
    "part of another size": (
        part(size=(28, 21)),
        rf"{PARTS} has shape \(28, 21\); expected a mask of head of {SIZE}",
    ),
    "part of text": (part(mask="x"), rf"{PARTS} does not hold one array of numbers; expected a mask of head"),
    "labels.txt of 59": (
        text("labels.txt", "1: aeroplane\n20: tvmonitor\n"),
        r"labels\.txt names class 427 None; expected PASCAL-Con",
    ),
    "another labels.txt": (
        text("labels.txt", labels_text({})),
        r"labels\.txt names class 427 'class427'; expected",
    ),
    "labels.txt of lines": (
        text("labels.txt", "floor\n"),
        r"labels\.txt has the line 'floor'; expected .* such as '427: tvmonitor'",
    ),
    "labels.txt too long": (
        text("labels.txt", "460: x\n"),
        r"labels\.txt has the line '460: x'; .*each id 0\.\.459 once",
    ),
    "an id again": (
        text("labels.txt", "1: x\n1: y\n"),
        r"labels\.txt has the line '1: y'; .*each id 0\.\.459 once",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_named_in_one_sentence(tmp_path, case):
    spoil, message = BAD[case]
    folder.write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        PascalMt(tmp_path).read("train", 0)
    assert (
        "\n" not in str(caught.value)
        and str(caught.value).endswith(".")
        and str(tmp_path) in str(caught.value)
    )


def test_damage_is_noticed_before_it_is_parsed(tmp_path):
    """A damaged class of array in a long stream: scipy would look it up in a table of its own, beyond the
    end.
    """
    path = tmp_path / "x.mat"
    savemat(path, {"LabelMap": np.zeros((400, 500), np.uint16)})
    stored = path.read_bytes()
    element = bytearray(zlib.compress(stored[128:], 0))
    whole = bytes(element)
    place = element.index(struct.pack("<IIB", 6, 8, 11)) + 8  # uint16 is class 11
    element[place] = 200
    for content in (whole, bytes(element)):
        path.write_bytes(stored[:128] + struct.pack("<II", 15, len(content)) + content)
        if content is whole:
            assert not load_mat(path, "LabelMap", "a map").any()
    with pytest.raises(
        UserError, match=r"x\.mat is damaged \(error: .*incorrect data check\); expected a map\."
    ):
        load_mat(path, "LabelMap", "a map")


def test_bytes_for_names_are_refused(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"labels\.txt could not be read .*expected PASCAL-Context's list"):
        read_context_names(tmp_path / "labels.txt")
