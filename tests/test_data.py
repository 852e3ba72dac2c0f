"""`bench data prepare`, `check`, `list` and `bench labels import` as people use them."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.commands import given, records
from tests.conftest import Bench
from tests.datasets.folders import write_mtan as write

pytestmark = pytest.mark.usefixtures("own_folders")
SIZE = ("--size", "32x40")
TINY = given("size=[32, 40]", "batch=2", "epochs=1", "width=8", "decoder_blocks=1", "encoder=small")
RUN = ("run", "nyuv2", "multi_task", *TINY, "--set", "weights=none")


def test_from_a_folder_to_runs_on_its_store(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "mtan", 8, 4)
    out = bench.ok("data", "prepare", "nyuv2", folder, *SIZE)
    assert "nyuv2-13 at 32x40: packed in" in out and "bench data check nyuv2-13" in out
    assert "8 + 4 images, not the papers' 795 + 654" in out
    out = bench.ok("data", "list")
    assert "nyuv2-13 at 32x40" in out and "pascal-context" in out and "cityscapes" in out
    torch.save({"labels_weights": torch.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]}, tmp_path / "split.pth")
    out = bench.ok("labels", "import", tmp_path / "split.pth")
    assert "published:one of nyuv2: 8 train images" in out and "is NOT byte for byte" in out
    two = ("--task", "semseg", "--task", "depth")
    shown = bench.json("labels", "show", "nyuv2", "--labels", "published:one", *two)
    assert shown["labelled"] == {"semseg": 3, "depth": 3}
    out = bench.ok(*RUN, "--set", "seeds=2", "--set", "labels=published:one")
    found = records(tmp_path / "runs").values()
    assert len(found) == 2 and len({r["hashes"]["labels"] for r in found}) == 1
    assert {(r["spec"]["label_seed"], r["spec"]["train_seed"]) for r in found} == {(0, 0), (0, 1)}
    assert {r["label_counts"]["depth"] for r in found} == {3}
    assert "train seeds under one label mask: training noise only" in " ".join(out.split())


def test_a_check_reads_everything(bench: Bench, tmp_path: Path) -> None:
    bench("data", "prepare", "nyuv2", write(tmp_path / "mtan"), *SIZE)
    found = bench.json("data", "check", "nyuv2-13")
    assert found["problems"] == [] and [s["images"] for s in found["splits"]] == [3, 2]
    values = found["splits"][0]["labels"]
    assert values["semseg"]["images"] == 3 and "13 of 13 classes" in values["semseg"]["values"]
    assert 0.85 < values["depth"]["share"] < 0.95
    assert values["normals"]["values"].startswith("unit vectors, mean ")
    for split in found["splits"]:
        with Image.open(split["sheet"]) as sheet:
            assert sheet.width > 4 * 40
    path = tmp_path / "data" / "nyuv2-13" / "32x40" / "train-depth.npy"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=times)
    code, out, _ = bench("data", "check", "nyuv2-13")
    assert code == 1 and "train-depth.npy is damaged" in out and "1 problem." in out


BAD: dict[str, tuple[list[str], str]] = {
    "no such folder": (["nyuv2", "{folder}/nowhere"], "there is no .*nowhere; name an MTAN folder"),
    "another data set": (["pascal-context", "{folder}"], "not pascal-context in a layout that is"),
    "own data": (["own-data", "{folder}"], "is known: expected a folder with a dataset.toml"),
    "odd size": (["nyuv2", "{folder}", "--size", "40x57"], "40x57 is not HEIGHTxWIDTH in multiples"),
    "unknown form": (["nyuv2-31", "{folder}"], "unknown form of nyuv2 'nyuv2-31'"),
    "made on the spot": (["scenes", "{folder}"], "scenes is made on the spot and needs no"),
    "variant": (["nyuv2", "{folder}", "--variant", "../x"], "'../x' is not a name of small letters"),
    "normals": (["nyuv2", "{folder}", "--derive-normals"], "normals is for nyu_depth_v2_lab"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(bench: Bench, tmp_path: Path, case: str) -> None:
    arguments, message = BAD[case]
    folder = write(tmp_path / "mtan")
    assert re.search(message, bench.refused("data", "prepare", *(a.format(folder=folder) for a in arguments)))
    assert not (tmp_path / "data").exists()


def test_a_plan_on_other_data_stops_before_it_trains(bench: Bench, tmp_path: Path) -> None:
    bench("data", "prepare", "nyuv2", write(tmp_path / "mtan", 6, 3), *SIZE)
    run = [*RUN, "--set", "labels=one"]
    bench.ok(*run, "--set", "seeds=1")
    np.save(tmp_path / "mtan/train/depth/0.npy", np.ones((32, 40, 1)))
    bench.ok("data", "prepare", "nyuv2", tmp_path / "mtan", *SIZE, "--force")
    code, out, err = bench(*run, "--set", "seeds=2")
    assert code == 2 and "was computed on other data than those of nyuv2-13" in err and "running" not in out
    bench.ok(*run, "--set", "seeds=2", "--force")
