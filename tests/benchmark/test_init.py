"""Runs that start from a finished run's network."""

import shutil
from pathlib import Path

import torch

import benchmark
from benchmark.files import read_tensors
from benchmark.spec import plan
from benchmark.training.build import build_method
from datasets.scenes import Scenes
from tests.commands import TINY, records, sets
from tests.conftest import Bench


def test_a_run_takes_over_what_fits_of_another(bench: Bench, tmp_path: Path, data_folder: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    bench.ok("run", "thin", "multi_task", *sets("seeds=1", "epochs=1"), "--results", first)
    (file,) = first.rglob("weights.pt")
    moved = tmp_path / "start.pt"
    shutil.copy(file, moved)
    trained = read_tensors(file)["method"]

    def specs(path: object, *methods: str) -> plan.Plan:
        return plan.make(["thin", *methods], [*TINY, "seeds=[3]", f'init="{path}"'], data_folder)

    plain, here, there = (specs(path, "multi_task") for path in ("none", file, moved))
    assert here.cells[0].id == there.cells[0].id != plain.cells[0].id
    tasks = Scenes(data_folder).tasks
    for name, fresh in (("multi_task", set()), ("retrieval", {"transformer", "tokens", "retrieval"})):
        made = specs(moved, name)
        (spec,) = made.cells
        method = build_method(spec, {t: tasks[t] for t in spec.tasks}, None, made.weights).state_dict()
        taken = [key for key, value in method.items() if key in trained and value.shape == trained[key].shape]
        assert all(torch.equal(method[key], trained[key]) for key in taken)
        assert any(key.startswith("heads.") for key in taken) and (set(method) == set(taken)) == (not fresh)

    started = sets("seeds=1", "epochs=1", f'init="{moved}"')
    bench.ok("run", "thin", "multi_task", *started, "--results", second)
    (record,) = records(second).values()
    assert record["spec"]["protocol"]["init"].startswith("sha256:")
    moved.unlink()
    assert benchmark.load_model(record["id"], results=second).tasks.keys() == set(record["spec"]["tasks"])
    wider, gone = sets("seeds=1", "width=16", f'init="{file}"'), sets(f'init="{moved}"')
    assert "same encoder and width" in bench("run", "thin", "multi_task", *wider)[2]
    assert "is neither one of 'none' nor a file" in bench("run", "thin", "multi_task", *gone)[2]
