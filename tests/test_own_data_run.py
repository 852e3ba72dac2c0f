"""A practitioner's own folder with partial labels, from its dataset.toml to predictions, by commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.execute.model import load_model
from tests.commands import given, records
from tests.conftest import Bench
from tests.datasets.folder_example import TASKS, TEST, TRAIN, has, stem, taught, write

SMALL = ("encoder=small", "weights=none", "width=8", "decoder_blocks=1")
TINY = (*SMALL, "epochs=1", "batch=4", "evaluations=0")
SHORT = (*TINY, "seeds=1", "tasks=['depth', 'material']")


@pytest.fixture(autouse=True)
def _wide(own_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_from_a_folder_to_a_board_and_predictions(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "kitchens")
    out = bench.ok("data", "prepare", "own-data", folder)
    assert "own-data-kitchens at 40x56: packed in" in out and "--set dataset=own-data-kitchens" in out
    assert "was prepared already, nothing to do" in bench.ok("data", "prepare", "own-data", folder)
    assert "own-data-kitchens at 40x56" in bench.ok("data", "list")
    out = bench.ok("data", "check", "own-data-kitchens")
    assert "2 of 2 classes" in out and "every file is what was packed" in out

    exists = np.array([[has(task, i) for task in TASKS] for i in range(TRAIN)])
    counts = dict(zip(TASKS, exists.sum(0).tolist(), strict=True))
    shown = bench.json("labels", "show", "own-data")
    assert shown["setting"] == "given" and shown["labelled"] == counts

    out = bench.ok("run", "own-data", "single_task", "multi_task", *given(*TINY, "seeds=1"))
    assert "own-data-kitchens" in out and "labels 'given'" in out and "(reference)" in out
    assert all(task in out for task in TASKS)
    found = records(tmp_path / "runs")
    assert len(found) == len(TASKS) + 1
    for record in found.values():
        spec = record["spec"]
        names = (spec["variant"], spec["labels"], spec["dataset"])
        assert names == ("own-data-kitchens", "given", "own-data")
        assert spec["protocol"]["tasks"] == list(TASKS) and spec["protocol"]["size"] == [40, 56]
        columns = [TASKS.index(task) for task in spec["tasks"]]
        assert record["label_counts"] == {task: counts[task] for task in spec["tasks"]}
        assert record["images"] == (TRAIN if len(columns) > 1 else exists[:, columns].sum())
        for task in spec["tasks"]:
            assert record["tasks"][task]["test_images"] == sum(has(task, TRAIN + i) for i in range(TEST))
    for path in (tmp_path / "runs").glob("*/*/per_image.npz"):
        with np.load(path) as arrays_:
            assert np.array_equal(arrays_["labelled"].astype(bool), exists)
    (board,) = (tmp_path / "runs" / "leaderboards").glob("own-data*.csv")
    assert "delta_m" in board.read_text() and "multi_task" in board.read_text()

    # Without the data, a run's network still knows its tasks.
    (path,) = (tmp_path / "runs").glob("*/multi_task*-s0-*/record.json")
    name = path.parent.name
    model = load_model(name, tmp_path / "runs")
    assert model.tasks["material"].classes == ("wood", "stone") and list(model.tasks) == list(TASKS)
    bench.ok("predict", name, folder / "images", "--out", tmp_path / "out", "--data", tmp_path / "none")
    assert (tmp_path / "out" / f"{stem(0)}-material.png").exists()
    record = json.loads(path.read_text())
    del record["tasks"]["depth"]["span"]
    path.write_text(json.dumps(record))
    code, _, err = bench("predict", name, folder / "images", "--out", tmp_path / "again")
    assert code == 2 and "and run the same command again" in err


def test_a_method_learns_from_a_teacher_s_maps_and_is_skipped_without(bench: Bench, tmp_path: Path) -> None:
    methods = ("run", "own-data", "multi_task", "teacher_labels")
    out = bench.ok("data", "prepare", "own-data", taught(tmp_path / "kitchens"))
    assert f"{TRAIN - 2} of {TRAIN} train images have a teacher's map of depth." in out
    bench.ok("data", "check", "own-data-kitchens")
    assert "skipped" not in bench.ok(*methods, *given(*SHORT))
    found = {r["spec"]["method"]: r for r in records(tmp_path / "runs").values()}
    (variant,) = {record["spec"]["variant"] for record in found.values()}
    assert re.fullmatch("own-data-kitchens-teacher-[0-9a-f]{8}", variant)
    losses = {name: record["curve"][-1]["loss"].keys() for name, record in found.items()}
    assert losses["teacher_labels"] - losses["multi_task"] == {"teacher"}
    plain = ("--data", write(tmp_path / "plain"), "--results", tmp_path / "others")
    skipped = "teacher_labels is skipped: it learns from a teacher's maps, and"
    assert skipped in bench.ok("plan", *methods[1:], *given(*SHORT), *plain)
    assert "has no run left: teacher_labels is" in bench.refused("run", "own-data", "teacher_labels", *plain)
    # Tasks without a teacher leave nothing to learn from it, too.
    code, _, err = bench("run", "own-data", "teacher_labels", *given("tasks=['material', 'edge']"))
    assert code == 2 and f"{variant} has none of these tasks" in err


def test_photographs_meet_the_frame_as_the_training_images_did(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "kitchens")
    bench.ok("data", "prepare", "own-data", folder, "--fit", "pad")
    bench.ok("run", "own-data", "multi_task", *given(*SHORT))
    (path,) = (tmp_path / "runs").glob("*/*/record.json")
    model = load_model(path.parent)
    seen: list[tuple[int, int]] = []
    raw = model._raw
    model._raw = lambda images, of=None: seen.extend(map(tuple, of.tolist())) or raw(images, of)
    small = np.zeros((model.size[0] // 2, model.size[1] // 2, 3), np.uint8)
    (maps,) = model.predict_images([small])
    assert model.fit == "pad" and seen == [small.shape[:2]] and maps["depth"].shape == small.shape[:2]
