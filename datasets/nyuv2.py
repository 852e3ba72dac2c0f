"""NYUv2 (Silberman, Hoiem, Kohli, Fergus, ECCV 2012): indoor scenes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.errors import UserError
from datasets.base import Split
from datasets.layouts.base import Source
from datasets.layouts.mtan import MtanNYUv2
from datasets.layouts.nyu_mat import NyuMat
from datasets.layouts.nyud_mt import NyudMt
from datasets.layouts.nyuv2_facts import NAMES, OFFICIAL, Classes
from datasets.prepared import MTAN, SPLITS, Form, Prepared
from datasets.tasks import Task, depth, edge, normals, semseg

IMAGES = (795, 654)  # of the official split


def _tasks(classes: Classes) -> dict[str, Task]:
    return {task.name: task for task in (semseg(NAMES[classes]), depth(), normals(), edge(0.011))}


class NYUv2(Prepared):
    """Read `nyuv2-13` (MTAN, MTPSL, JTR) or `nyuv2-40` (ASTMT, ATRC, InvPT), which do not compare."""

    name: ClassVar[str] = "nyuv2"
    summary: ClassVar[str] = (
        "indoor scenes: semantic segmentation (13 or 40 classes), depth, surface normals, edges"
    )
    source: ClassVar[str] = (
        "Silberman, Hoiem, Kohli, Fergus, ECCV 2012; as MTAN, ASTMT or its authors distribute it: 795 + 654 "
        "images"
    )
    licence: ClassVar[str] = "research use"
    forms: ClassVar[dict[str, Form]] = {
        "nyuv2-13": Form(_tasks(13), (288, 384), images=IMAGES),
        # The packs hold 425x560; a frame of 448x576 takes them as they are.
        "nyuv2-40": Form(_tasks(40), (448, 576), "pad", IMAGES),
    }
    expected: ClassVar[str] = (
        "an MTAN folder ({train,val}/{image,label,depth,normal}/{i}.npy, 13 classes), an NYUD_MT folder "
        "(images, segmentation, depth, normals, gt_sets), or nyu_depth_v2_labeled.mat"
    )
    url: ClassVar[str] = "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat"
    url_size: ClassVar[int] = 2_972_037_809
    elsewhere: ClassVar[tuple[str, ...]] = (
        f"the MTAN folder (288x384, 13 classes), which most papers train on, is {MTAN}: fetch it in a "
        "browser, unpack it and run `bench data prepare nyuv2 FOLDER`.",
        "the NYUD_MT folders (40 classes) are behind pages linked from "
        "SimonVandenhende/Multi-Task-Learning-PyTorch and "
        "prismformore/Multi-Task-Transformer on GitHub: fetch one in a browser, unpack it and run "
        "`bench data prepare nyuv2-40 FOLDER`; ATRC's edition comes by `bench data get nyuv2-40 "
        "--url https://data.vision.ee.ethz.ch/brdavid/atrc/NYUDv2.tar.gz`.",
        SPLITS,
    )

    @classmethod
    def published_rows(cls, split: Split) -> Tensor:
        """Find the rows of the papers' files, which count the train images.

        Their order, that of MTAN's folder, is taken to be the official split's. Samples of other layouts are
        found by their official numbers. Raises `UserError` for a name without one.
        """
        rows = {number: row for row, number in enumerate(OFFICIAL["train"])}
        found = []
        for sample, name in zip(split.ids.tolist(), split.names, strict=True):
            number = re.search(r"\d+$", name)
            row = sample if name.startswith("train/") else rows.get(int(number[0]) if number else -1)
            if row is None:
                odd = "has no number of NYUv2's official split, which published splits need"
                raise UserError(f"the train image {name} {odd}.")
            found.append(row)
        return torch.tensor(found)

    @classmethod
    def open(cls, path: Path, form: str) -> Source | None:
        """Return the reader of a folder or file; see `Prepared.open`."""
        classes: Classes = 40 if form == "nyuv2-40" else 13
        if NyuMat.detect(path):
            return NyuMat(path, classes)
        if NyudMt.detect(path):
            return NyudMt(path, classes)
        if not MtanNYUv2.detect(path):
            return None
        if classes == 40:
            cure = "name nyuv2-13, or an NYUD_MT folder"
            raise UserError(f"{path} is an MTAN folder, which holds 13 classes; {cure}.")
        return MtanNYUv2(path)
