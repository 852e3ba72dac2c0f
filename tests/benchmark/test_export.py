"""A finished run's network in other programs: `bench export`, for every way to predict."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmark.errors import UserError
from benchmark.execute import export
from benchmark.execute.model import Model
from benchmark.spec import registry
from tests.conftest import Bench
from tests.helpers import SIX, SIZE, run_of, tiny_spec


def untrained(method: str, **changes: object) -> Model:
    only = ("depth",) if registry.method(method).one_task else ()
    run = run_of(tiny_spec(method, only=only, **changes))
    return Model(run.spec, run.tasks, run.method, "cpu")


# One of the methods for each way to predict.
WAYS = {registry.method(name).predict: name for name in registry.method_names()}


@pytest.mark.parametrize("method", WAYS.values())
def test_every_way_to_predict_gives_the_same_maps_from_a_file(method: str, tmp_path: Path) -> None:
    model, file = untrained(method, tasks=("semseg", "depth")), tmp_path / "network.pt2"
    found = export.write(model, file, "torch", 2)
    assert found.keys() == model.tasks.keys() and max(found.values()) <= export.TOLERANCE
    maps = torch.export.load(file).module()(torch.zeros(2, 3, *SIZE, dtype=torch.uint8))
    (own, _) = model.predict_images([torch.zeros(*SIZE, 3, dtype=torch.uint8).numpy()] * 2)
    shapes = {name: (values.shape, values.dtype) for name, values in own.items()}
    assert {name: (values.shape[1:], values.dtype) for name, values in maps.items()} == shapes
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]


@pytest.mark.parametrize(("form", "cure"), [("torch", "use"), ("onnx", "use --format torch, or")])
def test_what_a_format_cannot_hold_is_said_and_nothing_is_written(
    form: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = untrained("multi_task")
    monkeypatch.setattr(model.method, "predict", lambda images: {"depth": images[images > 0]})
    message = rf"multi_task-\S+ cannot be exported as {form} \(.*\); {cure} `bench predict`"
    with pytest.raises(UserError, match=message):
        export.write(model, tmp_path / "network", form, 1)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The folder of a run, whose results are in `tmp_path / "runs"`."""
    shutil.copytree(finished, tmp_path / "runs")
    (record,) = tmp_path.glob("runs/*/*/record.json")
    return record.parent


def test_the_command(bench: Bench, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    call = ("export", run.name.rpartition("-")[2][:7], "--results", tmp_path / "runs")
    out = bench.ok(*call)
    assert f"images (4, 3, 32, 64) uint8 to semseg, depth: {run / 'network.pt2'}" in out and "0.001." in out
    assert "largest relative difference from `bench predict`: semseg 0, depth " in out
    before = (run / "network.pt2").read_bytes()
    assert "network.pt2 is there already; give --force to write over it" in bench(*call)[2]
    # A network that gives other maps, and a disk that is full, leave what is there.
    with monkeypatch.context() as patch:
        patch.setattr(export.Graph, "forward", lambda self, images: {
            task: values + (task == "depth") for task, values in forward(self, images).items()
        })  # fmt: skip
        code, out, _ = bench(*call, "--force", "--batch", 1, "--json")
        assert code == 1 and json.loads(out)["file"] is None and json.loads(out)["differences"]["depth"] > 0.1
    assert (run / "network.pt2").read_bytes() == before and not list(run.glob(".*"))
    code, _, err = bench("export", str(run), "--out", tmp_path / "nowhere" / "x.pt2")
    assert code == 2 and "could not write" in err and "No such file" in err and err.count("\n") == 1
    bench.ok("export", str(run), "--force", "--batch", 1)
    assert (run / "network.pt2").read_bytes() != before


forward = export.Graph.forward


def test_reduced_precision_is_exported_in_float32(tmp_path: Path) -> None:
    found = export.write(untrained("multi_task", precision="bf16", tasks=SIX), tmp_path / "a.pt2", "torch", 1)
    assert max(found.values()) < 1e-5


def test_onnx_needs_its_packages(bench: Bench, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PACKAGES", {"onnx": ("json", "no_such_package")})
    said = bench.refused("export", str(run), "--format", "onnx")
    assert "--format onnx needs no_such_package; install it with `pip install -e '.[export]'`" in said


def test_onnx_gives_the_same_maps(tmp_path: Path) -> None:
    for package in export.PACKAGES["onnx"]:
        pytest.importorskip(package)
    file = tmp_path / "network.onnx"
    found = export.write(untrained("multi_task", tasks=SIX), file, "onnx", 1)
    assert list(found) == list(SIX) and max(found.values()) <= export.TOLERANCE and file.stat().st_size
