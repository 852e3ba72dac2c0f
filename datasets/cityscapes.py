"""Cityscapes (Cordts et al., CVPR 2016): street scenes with classes and inverse depth."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from datasets.layouts.base import Source
from datasets.layouts.mtan import MtanCityscapes
from datasets.prepared import MTAN, SPLITS, Form, Prepared


class Cityscapes(Prepared):
    """Read `cityscapes-7`, as MTPSL and JTR use it, or `cityscapes-19`; depth is inverse depth."""

    name: ClassVar[str] = "cityscapes"
    summary: ClassVar[str] = "street scenes: semantic segmentation (7 or 19 classes), inverse depth"
    source: ClassVar[str] = (
        "Cordts et al., CVPR 2016; as pre-processed for MTAN (CVPR 2019): 2,975 + 500 images"
    )
    licence: ClassVar[str] = "Cityscapes terms: non-commercial use, after registration"
    forms: ClassVar[dict[str, Form]] = {
        "cityscapes-7": Form(MtanCityscapes(Path(), 7).tasks, (128, 256), images=(2975, 500)),
        "cityscapes-19": Form(MtanCityscapes(Path(), 19).tasks, (256, 512), images=(2975, 500)),
    }
    expected: ClassVar[str] = "an MTAN folder: {train,val}/{image,label_7,label_19,depth}/{i}.npy"
    elsewhere: ClassVar[tuple[str, ...]] = (
        f"the MTAN folders (128x256 with 7 classes, 256x512 with 19) are {MTAN}, for those who have "
        "accepted the terms at www.cityscapes-dataset.com: fetch one in a browser, unpack it and run "
        "`bench data prepare cityscapes FOLDER`.",
        SPLITS,
    )

    @classmethod
    def open(cls, path: Path, form: str) -> Source | None:
        """Return the reader of a folder; see `Prepared.open`."""
        classes: Literal[7, 19] = 19 if form == "cityscapes-19" else 7
        return MtanCityscapes(path, classes) if MtanCityscapes.detect(path) else None
