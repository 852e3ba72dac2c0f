"""PASCAL-Context in the PASCAL_MT layout: its tasks, boundaries, normals and part annotations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datasets import fit
from datasets.layouts.pascal_mt import (
    CLASS_OF,
    CLASSES,
    SURFACES,
    PascalMt,
    edges,
    load_parts,
    read_context_names,
)
from tests.datasets import pascal_folder
from tests.datasets.folders import Folders, refused

KNOWN = {427: "tvmonitor", 158: "floor", 360: "pillow", 2: "lamp", 187: "walls"}
NAMES = "".join(f"{i}: {KNOWN.get(i, f'class{i}')}\r\n" for i in range(1, 460))


def test_tasks_of_pascal_are_the_papers(copied: Folders) -> None:
    folder = copied("pascal")
    source = PascalMt(folder)
    assert list(source.tasks) == ["semseg", "parts", "saliency", "normals", "edge"]
    assert source.tasks["semseg"].classes == CLASSES and len(CLASSES) == 21 and CLASSES[15] == "person"
    parts = "background, head, torso, upper arm, lower arm, upper leg, lower leg"
    assert source.tasks["parts"].classes == tuple(parts.split(", "))
    assert CLASS_OF == pascal_folder.GROUPS and len(CLASS_OF) == 24
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
    fine = random.integers(1, 4, (13, 17)).astype(np.int32)
    coarse = pascal_folder.blocks(random, 23, 31, np.arange(1, 460)).astype(np.int32)
    assert all((edges(context) == pascal_folder.slow_edges(context)).all() for context in (fine, coarse))
    ramp = np.repeat(np.arange(0, 9, 2, dtype=np.int32)[:, None], 6, 1)
    assert edges(ramp)[2].sum() == 0 and pascal_folder.slow_edges(ramp)[2].sum() == 0
    largest = np.array([[459, 0, 459], [0, 459, 0], [459, 0, 459]], np.uint16)
    assert (edges(largest) == pascal_folder.slow_edges(largest)).all()


@pytest.mark.parametrize("place", ["labels.txt", "pascal-context/labels.txt"])
def test_labels_txt_says_which_normals_are_kept(place: str, copied: Folders) -> None:
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
    parts = load_parts(tmp_path / "x.mat", (4, 4))
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
    refused(tmp_path, lambda: load_parts(tmp_path / "x.mat", (21, 28)), message)
