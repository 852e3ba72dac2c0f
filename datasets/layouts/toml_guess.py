"""What label maps hold, as far as their numbers tell: a guess, its reason, and the choices that are left."""

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
EDGE_OR_SALIENCY = ('kind = "edge"', 'kind = "saliency"')
ANY = tuple(f'kind = "{kind}"' for kind in KINDS)


class Guess(NamedTuple):
    """Say what maps are: a kind, or "" where it cannot be told; keys; why; choices. None: no label maps."""

    kind: str | None
    keys: dict[str, Any]
    why: str
    choices: tuple[str, ...] = ()


def guess(files: list[Path], hint: str) -> Guess:
    """What the maps of a series hold; hint: the kind that its name speaks of, or ""."""
    forms, values, medians = set[str](), set[Any](), list[float]()
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
    if len(forms) > 1 or not values or min(forms).startswith("shape"):
        return Guess("", {}, " and ".join(sorted(forms)), ANY)
    (form,), what = forms, f"{len(values)} numbers in {len(files)} maps"
    if form == "normals":
        return Guess("normals", {}, "vectors of length 1 (as colours in a .png, n = 2x/255 - 1)")
    if form == "colours":
        keys = {"classes": _classes(len(values)), "palette": [f"#{code:06x}" for code in sorted(values)]}
        move = 'where a colour says no label, move it to ignore = ["#..."], and leave out its class'
        return Guess("classes", keys, f"{len(values)} colours in {len(files)} maps", (move,))
    low, high, middle = min(values), max(values), float(np.median(medians or [0]))
    if form == "fractions":
        if low >= 0 and (hint == "depth" or high > 1):
            nan = "where nan or inf says that nothing was measured: ignore = nan"
            return Guess("depth", {}, f"{low:.3g} to {high:.3g}, read as metres", (nan,))
        return Guess("", {}, f"{low:.3g} to {high:.3g}", (*EDGE_OR_SALIENCY, "threshold = 0.5"))
    if hint == "depth" or (high > MANY and len(values) > FEW):
        if form == "16 bits" and 200 <= middle <= 30_000:
            why = f"16 bits, median {middle:g}: {middle / 1000:.2g} m if a step is a millimetre"
            steps = "where it is another: unit = 0.00390625 (1/256), 0.0002 (1/5000), ... metres a step"
            none = (f"where {high} says that nothing was measured: ignore = {high}",) * (high == 65535)
            return Guess("depth", {"unit": 0.001}, why, (steps, *none))
        choices = ('kind = "depth"', "unit = 0.001  # the metres a step; a .npy must hold metres")
        return Guess("", {}, f"{form}, median {middle:g}, {high} at most", choices)
    if len(values) == 2 and low == 0 and high in (1, 255, 65535):
        if hint in ("edge", "saliency"):
            return Guess(hint, {}, f"0 and {high} alone, and its name")
        classes = ('kind = "classes"', 'classes = ["no", "yes"]') * (high == 1)
        return Guess("", {}, f"0 and {high} alone", (*EDGE_OR_SALIENCY, *classes))
    count = int(max((value for value in values if value != IGNORE), default=0)) + 1
    few = len(values) <= (MANY if hint == "classes" else FEW) and count <= min(IGNORE, 4 * len(values) + 16)
    if few and low >= 0 and count > 1:
        zero = "where 0 says no label: ignore = 0, and leave out its class; 255 says so where nothing is said"
        return Guess("classes", {"classes": _classes(count)}, f"{what}, {low} to {high}", (zero,))
    return Guess("", {}, f"{what}, {low} to {high}", ANY)


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
