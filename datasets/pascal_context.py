"""PASCAL-Context with five tasks, as the PASCAL_MT folder of ASTMT, ATRC and DiffusionMTL holds it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datasets.layouts.base import Source
from datasets.layouts.pascal_mt import PascalMt
from datasets.prepared import SPLITS, Form, Prepared


class PascalContext(Prepared):
    """Read PASCAL-Context at its own size, padded."""

    name: ClassVar[str] = "pascal-context"
    summary: ClassVar[str] = "PASCAL images: segmentation (21), human parts (7), saliency, normals, edges"
    source: ClassVar[str] = (
        "Everingham et al., VOC 2010; Mottaghi et al. and Chen et al., CVPR 2014; Maninis et al., CVPR 2019: "
        "4,998 + 5,105 images"
    )
    licence: ClassVar[str] = "research use; images under the terms of Flickr"
    # No image is larger than 500 pixels, so that a frame of 512 holds each at its own size.
    forms: ClassVar[dict[str, Form]] = {
        "pascal-context": Form(PascalMt(Path()).tasks, (512, 512), "pad", (4998, 5105))
    }
    expected: ClassVar[str] = (
        "a PASCAL_MT folder: JPEGImages, ImageSets/Context, semseg, human_parts, normals_distill, "
        "sal_distill, pascal-context"
    )
    url: ClassVar[str] = "https://data.vision.ee.ethz.ch/kmaninis/share/MTL/PASCAL_MT.tgz"
    elsewhere: ClassVar[tuple[str, ...]] = (
        "ATRC's edition comes by `bench data get pascal-context "
        "--url https://data.vision.ee.ethz.ch/brdavid/atrc/PASCALContext.tar.gz`.",
        SPLITS,
    )

    @classmethod
    def open(cls, path: Path, form: str) -> Source | None:
        """Return the reader of a folder; see `Prepared.open`."""
        return PascalMt(path) if PascalMt.detect(path) else None
