"""A practitioner's own folder with partial labels, from its dataset.toml to predictions, by commands."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.execute.model import load_model
from tests.conftest import Bench
from tests.datasets.folder_example import TASKS, TEST, TRAIN, has, stem, taught, write

SMALL = ("encoder=small", "weights=none", "width=8", "decoder_blocks=1")
TINY = (*SMALL, "epochs=1", "batch=4", "evaluations=0")
SHORT = (*TINY, "seeds=1", "tasks=['depth', 'material']")


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """With folders of its own."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "250")
    return bench


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def test_from_a_folder_to_a_board_and_predictions(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "kitchens")
    code, out, err = bench("data", "prepare", "own-data", folder)
    assert code == 0 and "own-data-kitchens at 40x56: packed in" in out, out + err
    assert "--set dataset=own-data-kitchens" in out
    assert "was prepared already, nothing to do" in bench("data", "prepare", "own-data", folder)[1]
    assert "own-data-kitchens at 40x56" in bench("data", "list")[1]
    code, out, _ = bench("data", "check", "own-data-kitchens")
    assert code == 0 and "2 of 2 classes" in out and "every file is what was packed" in out

    exists = np.array([[has(task, i) for task in TASKS] for i in range(TRAIN)])
    counts = dict(zip(TASKS, exists.sum(0).tolist(), strict=True))
    shown = json.loads(bench("labels", "show", "own-data", "--json")[1])
    assert shown["setting"] == "given" and shown["labelled"] == counts

    code, out, err = bench("run", "own-data", "single_task", "multi_task", *sets(*TINY, "seeds=1"))
    assert code == 0, out + err
    assert "own-data-kitchens" in out and "labels 'given'" in out and "(reference)" in out
    assert all(task in out for task in TASKS)
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/*/record.json")]
    assert len(records) == len(TASKS) + 1
    for record in records:
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
    (name,) = [p.parent.name for p in (tmp_path / "runs").glob("*/multi_task*-s0-*/record.json")]
    model = load_model(name, tmp_path / "runs")
    assert model.tasks["material"].classes == ("wood", "stone") and list(model.tasks) == list(TASKS)
    at = ("--out", tmp_path / "out", "--data", tmp_path / "none")
    code, out, err = bench("predict", name, folder / "images", *at)
    assert code == 0 and (tmp_path / "out" / f"{stem(0)}-material.png").exists(), out + err


def test_the_folder_itself_is_enough(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "kitchens")
    code, out, err = bench("run", "own-data", "multi_task", *sets(*SHORT), "--data", folder)
    assert code == 0 and "own-data-kitchens" in out, out + err
    ((path),) = (tmp_path / "runs").glob("*/*/per_image.npz")
    with np.load(path) as stored:
        assert stored["labelled"].tolist() == [[has("depth", i), has("material", i)] for i in range(TRAIN)]
    record = json.loads(path.with_name("record.json").read_text())
    del record["tasks"]["depth"]["span"]
    path.with_name("record.json").write_text(json.dumps(record))
    code, _, err = bench("predict", record["id"], folder / "images", "--out", tmp_path / "out")
    assert code == 2 and "and run the same command again" in err


def test_a_method_learns_from_a_teacher_s_maps_and_is_skipped_without(bench: Bench, tmp_path: Path) -> None:
    methods = ("run", "own-data", "multi_task", "teacher_labels")
    code, out, err = bench("data", "prepare", "own-data", taught(tmp_path / "kitchens"))
    said = f"{TRAIN - 2} of {TRAIN} train images have a teacher's map of depth."
    assert code == 0 and said in out, out + err
    assert bench("data", "check", "own-data-kitchens")[0] == 0
    code, out, err = bench(*methods, *sets(*SHORT))
    assert code == 0 and "skipped" not in out + err, out + err
    found = {r["spec"]["method"]: r for r in map(_read, (tmp_path / "runs").glob("*/*/record.json"))}
    (variant,) = {record["spec"]["variant"] for record in found.values()}
    assert re.fullmatch("own-data-kitchens-teacher-[0-9a-f]{8}", variant)
    losses = {name: record["curve"][-1]["loss"].keys() for name, record in found.items()}
    assert losses["teacher_labels"] - losses["multi_task"] == {"teacher"}
    plain = ("--data", write(tmp_path / "plain"), "--results", tmp_path / "others")
    code, out, err = bench(*methods, *sets(*SHORT), *plain)
    assert code == 0 and "teacher_labels is skipped: it learns from a teacher's maps, and" in out + err
    code, _, err = bench("run", "own-data", "teacher_labels", *plain)
    assert code == 2 and "has no run left: teacher_labels is skipped" in err and err.count("\n") == 1
    # Tasks without a teacher leave nothing to learn from it, too.
    code, _, err = bench("run", "own-data", "teacher_labels", *sets("tasks=['material', 'edge']"))
    assert code == 2 and f"{variant} has none of these tasks" in err


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_photographs_meet_the_frame_as_the_training_images_did(bench: Bench, tmp_path: Path) -> None:
    folder = write(tmp_path / "kitchens")
    assert bench("data", "prepare", "own-data", folder, "--fit", "pad")[0] == 0
    assert bench("run", "own-data", "multi_task", *sets(*SHORT))[0] == 0
    (path,) = (tmp_path / "runs").glob("*/*/record.json")
    model = load_model(path.parent)
    seen: list[tuple[int, int]] = []
    raw = model._raw
    model._raw = lambda images, of=None: seen.extend(map(tuple, of.tolist())) or raw(images, of)
    small = np.zeros((model.size[0] // 2, model.size[1] // 2, 3), np.uint8)
    (maps,) = model.predict_images([small])
    assert model.fit == "pad" and seen == [small.shape[:2]] and maps["depth"].shape == small.shape[:2]
