"""What label maps hold, as far as their numbers tell: a guess, its reason, and what may be otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.errors import UserError
from datasets.kinds import KINDS
from datasets.layouts.base import Array
from datasets.layouts.files import read_npy
from datasets.layouts.nyuv2_maps import LENGTH_TOLERANCE, vectors_of_colours
from datasets.layouts.pixels import load_colours, load_numbers
from datasets.layouts.toml_files import MAPS
from datasets.tasks import IGNORE

FEW, MANY = 64, 255  # different numbers that are classes, without a word for it and with one
ANY = (*(f'kind = "{kind}"' for kind in KINDS), "unit = 0.001", "threshold = 0.5", 'classes = ["no", "yes"]')
UNIT = "where a step is no millimetre: unit = 0.00390625 (1/256), 0.0002 (1/5000), ... metres"
NONE = "where a number or nan says that nothing was measured: ignore = 65535, or nan"
ZERO = "where 0 says no label: ignore = 0, and leave out its class; 255 says so where nothing is said"
MOVE = 'where a colour says no label, move it to ignore = ["#..."], and leave out its class'


class Guess(NamedTuple):
    """Say what maps are: a kind, or "" where it cannot be told; keys; why; choices. None: no label maps."""

    kind: str | None
    keys: dict[str, Any]
    why: str
    choices: tuple[str, ...] = ()


def guess(files: list[Path], hint: str) -> Guess:
    """What the maps of a series hold; hint: the kind that its name speaks of, or ""."""
    forms, values, medians = set[str](), set[Any](), [0.0]
    try:
        for form, array in map(_look, files):
            forms.add(form)
            known = array[np.isfinite(array)] if array.dtype.kind == "f" else array
            unique = np.unique(known)
            values |= {*unique[: 2 * MANY].tolist(), *unique[-1:].tolist()}
            medians += [float(np.median(known[known > 0]))] if (known > 0).any() else []
    except UserError as error:
        return Guess("", {}, f"not read: {error}")
    if "JPEG" in forms or (forms == {"colours"} and len(values) > MANY):
        return Guess(None, {}, "photographs, as JPEG and so many colours are no label maps: left out")
    form = " and ".join(sorted(forms))
    if form == "normals":
        return Guess("normals", {}, "vectors of length 1 (as colours in a .png, n = 2x/255 - 1)")
    if form == "colours":
        keys = {"classes": _classes(len(values)), "palette": [f"#{code:06x}" for code in sorted(values)]}
        return Guess("classes", keys, f"{len(values)} colours in {len(files)} maps", (MOVE,))
    low, high, middle = min(values, default=0), max(values, default=0), float(np.median(medians[1:] or [0]))
    several = f"{len(values)}" if len(values) <= 2 * MANY else f"over {2 * MANY}"
    why = f"{form}, {several} numbers, {low:.5g} to {high:.5g}, median {middle:g}"
    many = hint == "depth" or (high > MANY and len(values) > FEW)
    count = int(max((value for value in values if value != IGNORE), default=0)) + 1
    if form == "fractions" and low >= 0 and (hint == "depth" or high > 1):
        return Guess("depth", {}, f"{why}, read as metres", (NONE,))
    if form == "16 bits" and many and 200 <= middle <= 30_000:
        millimetres = f"{why}: {middle / 1000:.2g} m if a step is a millimetre"
        return Guess("depth", {"unit": 0.001}, millimetres, (UNIT, NONE))
    if form in ("8 bits", "16 bits", "whole numbers") and not many:
        if len(values) == 2 and low == 0 and high in (1, 255, 65535):
            return Guess(hint, {}, why) if hint in ("edge", "saliency") else Guess("", {}, why, ANY)
        few = len(values) <= (MANY if hint == "classes" else FEW) and count <= min(
            IGNORE, 4 * len(values) + 16
        )
        if few and low >= 0 and count > 1:
            return Guess("classes", {"classes": _classes(count)}, why, (ZERO,))
    return Guess("", {}, why, ANY)


def _look(path: Path) -> tuple[str, Array]:
    """What a file is made of, and its numbers, or its colours as 0xRRGGBB."""
    ending = path.suffix.lower()
    if ending not in MAPS:
        return "JPEG", np.zeros(0)
    if ending == ".npy":
        array = read_npy(path, "expected numbers")
        if array.ndim == 3 and array.shape[2] == 3 and _are_unit(array):
            return "normals", array
        if array.ndim != 2 and array.shape[2:] != (1,):
            return f"shape {array.shape}", array
        return ("fractions" if array.dtype.kind == "f" else "whole numbers"), array
    try:
        found = load_numbers(path, "numbers", (-1, -1), indices=True)
        return f"{16 if found.most and found.most > 255 else 8} bits", found.values
    except UserError:
        pixels = load_colours(path, "colours", (-1, -1, 3)).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return ("normals" if _are_unit(vectors_of_colours(pixels)) else "colours"), codes


def _are_unit(vectors: Array) -> bool:
    length = np.linalg.norm(vectors.astype(np.float32), axis=-1)
    known = length[length > 0]
    return len(known) > 0 and bool((np.abs(known - 1) < LENGTH_TOLERANCE).mean() > 0.9)


def _classes(count: int) -> list[str]:
    return [f"class_{number}" for number in range(count)]
