"""`bench data prepare`, `check`, `list` and `bench labels import` as people use them."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Bench
from tests.datasets.folders import write_mtan as write

SIZE = ("--size", "32x40")
KEYS = ("size=[32, 40]", "batch=2", "epochs=1", "width=8", "decoder_blocks=1", "encoder=small")
TINY = [part for key in (*KEYS, "weights=none") for part in ("--set", key)]
RUN = ("run", "nyuv2", "multi_task", *TINY)


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """With folders of its own."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "runs"))
    return bench


def test_from_a_folder_to_runs_on_its_store(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "mtan", 8, 4)
    code, out, _ = bench("data", "prepare", "nyuv2", folder, *SIZE)
    assert code == 0 and "nyuv2-13 at 32x40: packed in" in out and "bench data check nyuv2-13" in out
    assert "8 + 4 images, not the papers' 795 + 654" in out
    code, out, _ = bench("data", "prepare", "nyuv2", folder, *SIZE)
    assert code == 0 and "was prepared already, nothing to do" in out
    code, out, _ = bench("data", "list")
    assert code == 0 and "nyuv2-13 at 32x40" in out and "pascal-context" in out and "cityscapes" in out
    torch.save({"labels_weights": torch.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]}, tmp_path / "split.pth")
    code, out, _ = bench("labels", "import", tmp_path / "split.pth")
    assert code == 0 and "published:one of nyuv2: 8 train images" in out and "is NOT byte for byte" in out
    two = ("--task", "semseg", "--task", "depth")
    code, out, _ = bench("labels", "show", "nyuv2", "--labels", "published:one", "--json", *two)
    assert code == 0 and json.loads(out)["labelled"] == {"semseg": 3, "depth": 3}
    code, out, err = bench(*RUN, "--set", "seeds=2", "--set", "labels=published:one")
    assert code == 0, out + err
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/record.json")]
    assert len(records) == 2 and len({r["hashes"]["labels"] for r in records}) == 1
    assert {(r["spec"]["label_seed"], r["spec"]["train_seed"]) for r in records} == {(0, 0), (0, 1)}
    assert {r["label_counts"]["depth"] for r in records if "depth" in r["label_counts"]} == {3}
    assert "train seeds under one label mask: training noise only" in " ".join(out.split())


def test_a_check_reads_everything(bench: Bench, tmp_path: Path) -> None:
    bench("data", "prepare", "nyuv2", write(tmp_path / "mtan"), *SIZE)
    code, out, _ = bench("data", "check", "nyuv2-13", "--json")
    found = json.loads(out)
    assert code == 0 and found["problems"] == [] and [s["images"] for s in found["splits"]] == [3, 2]
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


def spoil(path: str, content: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / path, content)


def nothing(folder: Path) -> None:
    pass


def other_size(folder: Path) -> None:
    write(folder / "other", 1, 1, 48, 64)
    (folder / "other/train/image/0.npy").replace(folder / "train/image/2.npy")


BAD: dict[str, tuple[list[str], Callable[[Path], None], str]] = {
    "no such folder": (["nyuv2", "{folder}/nowhere"], nothing, "there is no .*nowhere; name an MTAN folder"),
    "another data set": (["pascal-context", "{folder}"], nothing, "not pascal-context in a layout that is"),
    "own data": (["own-data", "{folder}"], nothing, "is known: expected a folder with a dataset.toml"),
    "odd size": (["nyuv2", "{folder}", "--size", "40x57"], nothing, "40x57 is not HEIGHTxWIDTH in multiples"),
    "unknown form": (["nyuv2-31", "{folder}"], nothing, "unknown form of nyuv2 'nyuv2-31'"),
    "made on the spot": (["scenes", "{folder}"], nothing, "scenes is made on the spot and needs no"),
    "variant": (["nyuv2", "{folder}", "--variant", "../x"], nothing, "'../x' is not a name of small letters"),
    "long variant": (["nyuv2", "{folder}", "--variant", 300 * "x"], nothing, "not a name of small"),
    "normals": (["nyuv2", "{folder}", "--derive-normals"], nothing, "normals is for nyu_depth_v2_lab"),
    "damaged": (["nyuv2", "{folder}"], lambda f: (f / "train/depth/1.npy").write_bytes(b"x") and None,
                "1.npy is damaged"),
    "out of range": (["nyuv2", "{folder}"], spoil("train/label/2.npy", np.full((32, 40), 13.0)),
                     "2.npy must hold whole numbers"),
    "another size": (["nyuv2", "{folder}"], other_size, "2.npy has shape .48, 64, 3."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(bench: Bench, tmp_path: Path, case: str) -> None:
    arguments, act, message = BAD[case]
    folder = write(tmp_path / "mtan")
    act(folder)
    code, out, err = bench("data", "prepare", *(a.format(folder=folder) for a in arguments))
    assert code == 2 and out == "" and err.startswith("bench: ") and err.count("\n") == 1, err
    assert re.search(message, err), err
    assert not (tmp_path / "data").exists()


def test_a_plan_on_other_data_stops_before_it_trains(bench: Bench, tmp_path: Path) -> None:
    bench("data", "prepare", "nyuv2", write(tmp_path / "mtan", 6, 3), *SIZE)
    run = [*RUN, "--set", "labels=one"]
    assert bench(*run, "--set", "seeds=1")[0] == 0
    np.save(tmp_path / "mtan/train/depth/0.npy", np.ones((32, 40, 1)))
    assert bench("data", "prepare", "nyuv2", tmp_path / "mtan", *SIZE, "--force")[0] == 0
    code, out, err = bench(*run, "--set", "seeds=2")
    assert code == 2 and "was computed on other data than those of nyuv2-13" in err and "running" not in out
    assert bench(*run, "--set", "seeds=2", "--force")[0] == 0
