"""How many workers carry out a plan, where they run, and the option values that are refused."""

import json
from pathlib import Path

import pytest
import torch

from benchmark import system
from benchmark.errors import UserError
from benchmark.execute import options as module
from benchmark.execute import workers as pool
from benchmark.execute.options import HANG_SECONDS, Options, pick_device
from tests.commands import TROUBLE, sets
from tests.conftest import Bench
from tests.executors.common import cells, held_elsewhere


@pytest.fixture
def nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


PLACES = [  # cores, threads, pending, hang_after, workers
    (4, 1, 12, HANG_SECONDS, 4), (4, 1, 3, HANG_SECONDS, 3), (4, 1, 1, HANG_SECONDS, 0),
    (4, 1, 0, HANG_SECONDS, 0), (1, 1, 12, HANG_SECONDS, 0), (4, 2, 12, HANG_SECONDS, 2),
    (4, 8, 12, HANG_SECONDS, 0), (1, 1, 12, 60, 1),
]  # fmt: skip


def test_a_worker_a_core_at_most(nobody_says: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cores, threads, pending, hang_after, expected in PLACES:
        monkeypatch.setattr(system, "cores", lambda cores=cores: cores)
        options = Options(tmp_path, tmp_path, "cpu", hang_after=hang_after)
        assert options.places(pending, threads) == [None] * expected
    assert Options(tmp_path, tmp_path, "cuda").places(9, 1) == []
    monkeypatch.setattr(system, "cores", lambda: 3)
    for text, asked in ((" ", [3, 0, 2]), ("5", [5, 0, 2]), ("0", [0, 0, 2])):  # BENCH_WORKERS
        monkeypatch.setenv(module.VARIABLE, text)
        given = [Options(tmp_path, tmp_path, "cpu", workers=n).places(9, 1) for n in (None, 0, 2)]
        assert given == [[None] * n for n in asked]
    monkeypatch.setenv(module.VARIABLE, "many")
    with pytest.raises(UserError, match="BENCH_WORKERS=many is not a number of processes of 1 or more, nor"):
        Options(tmp_path, tmp_path, "cpu")


def test_gpus_are_taken_in_turn(nobody_says: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def places(device: str, workers: int, per_gpu: int) -> list[str | None]:
        return Options(tmp_path, tmp_path, device, workers=workers, per_gpu=per_gpu).places(9, 1)

    assert places("cuda", 3, 2) == ["0", "1", "0"] and places("cuda:1", 2, 2) == ["1", "1"]
    with pytest.raises(UserError, match="--workers 3 is more than 2 GPUs times --per-gpu 1; give fewer"):
        places("cuda", 3, 1)
    with pytest.raises(UserError, match=r"--device cuda:2 is not there: torch sees 2 GPUs, counted from 0"):
        places("cuda:2", 1, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, 5")
    assert places("cuda", 2, 1) == ["GPU-aa", "5"] and places("cuda:1", 1, 1) == ["5"]
    with pytest.raises(UserError, match="--hang-after 60 requires --workers"):
        Options(tmp_path, tmp_path, "cuda", hang_after=60).places(9, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="needs a CUDA GPU and torch sees none here"):
        pick_device("cuda:0")


BAD = {
    "no workers": (["--workers", "-1"], "--workers -1 is not a number of processes of 1 or more, nor 0"),
    "no runs a GPU": (["--workers", "1", "--per-gpu", "0"], "--per-gpu 0 is not a number of runs"),
    "per GPU on the CPU": (["--worker", "--device", "cpu", "--per-gpu", "2"], "2 requires CUDA GPUs; on the"),
    "a limit without workers": (["--hang-after", "3"], "--hang-after 3 requires --workers of 1 or more"),
    "no patience": (["--workers", "1", "--hang-after", "0"], "--hang-after 0 is not a number of seconds"),
    "two places": (["--workers", "1", "--slurm", "time=1"], "--workers runs on this machine and --slurm on"),
    "a worker on a cluster": (["--worker", "--slurm", "time=1"], "--slurm does not go with --worker"),
    "a worker by force": (["--worker", "--force"], "--force does not go with --worker"),
    "keep": (["--worker", "--keep", "some"], "--keep 'some' is not one of all, weights, none"),
    "log": (["--log", "wandb"], "--log 'wandb' is not tensorboard"),
    "device": (["--device", "gpu"], "--device 'gpu' is not one of auto, cpu, cuda, cuda:N"),
    "plan": (["quickstat", "--worker", "--json"], "unknown plan or method 'quickstat'"),
    "labels": ([*sets('tasks=["parts"]', "test_images=2"), "--workers", "1"], "has a label"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, bench: Bench, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    code, out, err = bench("run", *arguments, "--results", tmp_path / "r")
    last = err.splitlines()[-1]
    assert code == 2 and message in last and last.startswith("bench: "), out + err
    assert not out if "--json" in arguments else err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_one_object_reaches_every_way_to_run(
    bench: Bench, nobody_says: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of `run`, `run --worker`, `tune --rate` and `ablate`."""
    found: list[Options] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(system, "cores", lambda: 3)
    monkeypatch.setattr(pool, "_by_workers", lambda cells, places, options, *more: found.append(options))
    monkeypatch.setattr(pool, "work", lambda cells, options, *more: found.append(options))
    command = ["run", "multi_task", *sets("seeds=2"), "--results", tmp_path, "--keep", "none"]
    assert bench(*command)[0] == 0 and bench(*command, "--worker", "--no-wait")[0] == 0
    assert bench(*command, "--worker", "--workers", "2", "--retry-failed", "--checkpoint-every", "7")[0] == 0
    assert [(o.workers, o.to_the_end) for o in found] == [(None, False), (1, False), (2, True)]
    assert {o.keep for o in found} == {"none"}
    assert found[2].retry_failed and found[2].checkpoint_every == 7 and found[2].began > 0 == found[1].began
    rate = ["tune", "--rate", "multi_task", *sets("seeds=1"), "--results", tmp_path, "--workers", "2"]
    assert bench(*rate)[0] == 1 and found[3].workers == 2 and found[3].keep == "none"
    plan = tmp_path / "mine.toml"
    what = ('protocol = "thin"', 'dataset = "scenes"', 'labels = "one"', 'method = "prototype"', "seeds = 1")
    plan.write_text("\n".join(["[ablate]", *what, "components = { tke = false, tc = false }"]))
    assert bench("ablate", plan, *sets(), "--workers", "2", "--results", tmp_path)[0] == 0
    assert found[4].workers == 2


def test_a_worker_without_waiting_names_the_rest(bench: Bench, data_folder: Path, tmp_path: Path) -> None:
    (spec,) = cells(data_folder)
    held_elsewhere(tmp_path, spec)
    command = ["run", "trouble", "--plugin", TROUBLE, *sets("seeds=1", "hparams.trouble.fault=none")]
    code, out, err = bench(*command, "--results", tmp_path, "--worker", "--no-wait", "--json")
    assert code == 0 and json.loads(out)["states"] == {spec.id: "elsewhere"}
    assert f"{spec.folder} is being run by another process" in err
