"""Parts of people in VOC's part annotations (Chen et al., CVPR 2014): 24 names in the papers' 6 groups.

human_parts/{id}.mat holds the struct `anno` (imname, objects); objects(i): class, class_ind, mask, parts;
parts(j): part_name, mask. Masks have the image's size; an object without parts has an empty matrix there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from datasets.layouts.base import Array
from datasets.layouts.files import load_mat, numbers

CLASSES = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
PERSON = 15  # among VOC's 20 object classes
WHAT = "the struct anno of VOC's part annotations"
GROUPS = {
    "head": ("hair", "head", "lear", "rear", "leye", "reye", "lebrow", "rebrow", "mouth", "nose"),
    "torso": ("neck", "torso"),
    "upper arm": ("luarm", "ruarm"),
    "lower arm": ("llarm", "rlarm", "lhand", "rhand"),
    "upper leg": ("luleg", "ruleg"),
    "lower leg": ("llleg", "rlleg", "lfoot", "rfoot"),
}
CLASS_OF = {name: CLASSES.index(group) for group, names in GROUPS.items() for name in names}


def load_parts(path: Path, shape: tuple[int, int]) -> Array | None:
    """Read (H, W) uint8 parts of `CLASSES`, 0 outside; None without any.

    Where parts overlap, the last in the file counts. Raises `UserError` when the file is missing, damaged, of
    another structure or size, or has a person's part of another name.
    """
    target: Array | None = None
    for anno in _structs(path, load_mat(path, "anno", WHAT)):
        for thing in _structs(path, _field(path, anno, "objects")):
            if _single(_field(path, thing, "class_ind")) != PERSON:
                continue
            for part in _structs(path, _field(path, thing, "parts")):
                name = _single(_field(path, part, "part_name"))
                if not isinstance(name, str) or name not in CLASS_OF:
                    known = ", ".join(CLASS_OF)
                    raise UserError(
                        f"{path} has a person's part named {str(name)!r}; expected one of {known}."
                    )
                mask = numbers(path, _inner(_field(path, part, "mask")), f"a mask of {name}", shape)
                if target is None:
                    target = np.zeros(shape, np.uint8)
                target[mask != 0] = CLASS_OF[name]
    return target


def _structs(path: Path, value: Any) -> Iterator[Any]:
    """The elements of a struct array, through any cells around it; none of an empty matrix."""
    value = np.asarray(value)
    for element in value.ravel():
        if value.dtype.names is not None:
            yield element
        elif isinstance(element, np.ndarray):
            yield from _structs(path, element)
        else:
            raise UserError(f"{path} holds {value.dtype} values where a struct belongs; expected {WHAT}.")


def _field(path: Path, struct: Any, name: str) -> Any:
    if name not in struct.dtype.names:
        raise UserError(f"{path} has a struct without the field {name}; expected {WHAT}.")
    return struct[name]


def _inner(value: Any) -> Any:
    """What single cells are wrapped around."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    return value


def _single(value: Any) -> Any:
    """The one number or string of a 1x1 matrix or a row of characters; whatever else it is, unchanged."""
    value = _inner(value)
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
