"""Where each data set can be had: what anyone may download as a file, and where people get the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """Say where a data set can be had.

    url: a file that anyone may fetch; None where there is none. size: its bytes, where commonly quoted.
    elsewhere: sentences on the other ways to come by it. No publisher gives a checksum.
    """

    url: str | None
    size: int | None
    elsewhere: tuple[str, ...]


MTAN = "on Dropbox behind pages that the README of lorenmt/mtan on GitHub links to"
SPLITS = (
    "the papers' label splits come from VICO-UoE/MTPSL on GitHub, folder data_split; `bench labels "
    "import PATH` reads your copy."
)

DOWNLOADS = {
    "nyuv2": Download(
        "http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat",
        2_972_037_809,
        (
            f"the MTAN folder (288x384, 13 classes), which most papers train on, is {MTAN}: fetch it in a "
            "browser, unpack it and run `bench data prepare nyuv2 FOLDER`.",
            "the NYUD_MT folders (40 classes) are behind pages linked from "
            "SimonVandenhende/Multi-Task-Learning-PyTorch and "
            "prismformore/Multi-Task-Transformer on GitHub: fetch one in a browser, unpack it and run "
            "`bench data prepare nyuv2-40 FOLDER`; ATRC's edition comes by `bench data get nyuv2-40 "
            "--url https://data.vision.ee.ethz.ch/brdavid/atrc/NYUDv2.tar.gz`.",
            SPLITS,
        ),
    ),
    "pascal-context": Download(
        "https://data.vision.ee.ethz.ch/kmaninis/share/MTL/PASCAL_MT.tgz",
        None,
        (
            "ATRC's edition comes by `bench data get pascal-context "
            "--url https://data.vision.ee.ethz.ch/brdavid/atrc/PASCALContext.tar.gz`.",
            SPLITS,
        ),
    ),
    "cityscapes": Download(
        None,
        None,
        (
            f"the MTAN folders (128x256 with 7 classes, 256x512 with 19) are {MTAN}, for those who have "
            "accepted the terms at www.cityscapes-dataset.com: fetch one in a browser, unpack it and run "
            "`bench data prepare cityscapes FOLDER`.",
            SPLITS,
        ),
    ),
    "own-data": Download(
        None,
        None,
        (
            "these are your own: put a dataset.toml beside images and label maps and run `bench data prepare "
            "own-data FOLDER`.",
        ),
    ),
}
