"""A kind of task of one's own: written by `bench new --task`, checked, trained, scored and used."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import benchmark
from benchmark.contract import kinds as contract
from benchmark.errors import UserError
from benchmark.execute import data, options, slurm
from benchmark.execute.attempt import attempt
from benchmark.execute.model import load_model
from benchmark.runs.rundir import RunDir
from benchmark.spec import plugged, plugins
from benchmark.spec.registry import method
from benchmark.spec.run import RunSpec
from benchmark.training.loop import Options, Run
from datasets import tasks as t
from datasets.base import Split
from datasets.labels import sample
from datasets.tasks import Task
from tests.commands import TROUBLE, records
from tests.conftest import Bench, apart
from tests.datasets.folder_example import HEIGHT, TEST, TOML, TRAIN, WIDTH, arrays, stem, write
from tests.executors.common import Log, computed
from tests.helpers import METHODS, TASKS, assert_same, failures, replace_in, tiny_spec, tiny_split, weights
from tests.test_own_data_run import SHORT, SMALL, sets
from tests.test_own_method import clean

OWN = '[tasks.hot]\nkind = "heat"\nfolder = "hot"\nunit = 0.00392156862745098\n'
HOT = ("tasks=['depth', 'hot']", *SHORT[:-1])
NO_PLUGIN = "heat is no kind of task here; one of your own needs --plugin heat.py."


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the made-up rooms, which nothing here reads."""
    return tmp_path_factory.mktemp("nothing")


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "runs"))
    yield from apart(bench)


@pytest.fixture
def heat(bench: Bench, tmp_path: Path) -> Path:
    code, out, err = bench("new", "heat", "--task", "--out", tmp_path)
    assert code == 0 and '`kind = "heat"` in a dataset.toml' in out, out + err
    return tmp_path / "heat.py"


def hot(number: int) -> np.ndarray:
    """Warm where the depth is small, NaN in a corner."""
    made = (1 / (1 + arrays(number)["depth"])).astype(np.float32)
    made[:6, :6] = np.nan
    return made


def folder(path: Path) -> Path:
    """The example with a heat map of every second image, that of train image 1 as a .png."""
    write(path, TOML + OWN)
    (path / "hot").mkdir()
    for i in range(1, TRAIN + TEST, 2):
        np.save(path / "hot" / f"{stem(i)}.npy", hot(i))
    (path / "hot" / f"{stem(1)}.npy").unlink()
    picture = (255 * np.nan_to_num(hot(1)).clip(0, 1)).astype(np.uint8)
    Image.fromarray(picture).save(path / "hot" / f"{stem(1)}.png")
    return path


def test_from_new_to_a_board_and_predictions(bench: Bench, heat: Path, tmp_path: Path) -> None:
    assert clean(tmp_path)
    code, out, err = bench("check", heat)
    assert code == 0 and "heat passes all 14 checks" in out, out + err
    prepare = ("data", "prepare", "own-data", folder(tmp_path / "kitchens"))
    code, _, err = bench(*prepare)
    assert code == 2 and 'kind = "heat" in [tasks.hot]' in err.replace("'", '"') and "--plugin KIND.py" in err
    code, out, err = bench(*prepare, "--plugin", heat)
    assert code == 0, out + err
    code, out, err = bench("data", "check", "own-data-kitchens", "--plugin", heat)
    assert code == 0 and "0 to 1" in out, out + err
    assert bench("data", "check", "own-data-kitchens")[2].endswith(f"{NO_PLUGIN}\n")
    code, out, err = bench("check", "own_data", "--plugin", heat)
    assert code == 0, out + err

    run = ("run", "own-data", "multi_task", "single_task", *sets(*HOT))
    code, _, err = bench(*run)
    assert code == 2 and NO_PLUGIN in err and err.count("\n") == 1
    code, out, err = bench(*run, "--plugin", heat)
    assert code == 0 and "RMSE" in out, out + err
    found = records(tmp_path / "runs")
    assert len(found) == 3 and all(
        r["spec"]["kinds"] == {"heat": plugins.code("heat")} for r in found.values()
    )
    (record,) = (r for r in found.values() if r["spec"]["method"] == "multi_task")
    task, floor = record["tasks"]["hot"], record["constant"]["hot"]["RMSE"]
    assert (task["kind"], task["metric"], task["test_images"]) == ("heat", "RMSE", TEST // 2)
    assert record["metrics"]["hot"].keys() == {"RMSE"} and 0 < record["metrics"]["hot"]["RMSE"] < 5
    seen = np.stack([hot(i) for i in range(TRAIN, TRAIN + TEST) if i % 2])
    told = [np.floor(255 * np.nan_to_num(hot(1))) / 255, *(hot(i) for i in range(3, TRAIN, 2))]
    mean = np.nanmean(np.stack(told))
    assert floor == pytest.approx(np.sqrt(np.nanmean((seen - mean) ** 2)), rel=1e-3)
    board = benchmark.load_board(tmp_path / "runs")
    assert board.set_index("method").hot_RMSE_mean["multi_task"] == pytest.approx(
        record["metrics"]["hot"]["RMSE"], rel=1e-6
    )
    assert board.dataset[0] == f"own-data-kitchens, heat@{plugins.code('heat')[:6]}"

    photo = tmp_path / "kitchens" / "images" / f"{stem(0)}.webp"
    predict = ("predict", record["id"], photo, "--out", tmp_path / "out")
    assert NO_PLUGIN in bench(*predict)[2] and not (tmp_path / "out").exists()
    code, out, err = bench(*predict, "--plugin", heat)
    assert code == 0 and (tmp_path / "out" / f"{stem(0)}-hot.png").exists(), out + err
    maps = np.load(tmp_path / "out" / f"{stem(0)}.npz")["hot"]
    (own,) = load_model(record["id"], tmp_path / "runs").predict_images([Image.open(photo)])
    assert maps.shape == (HEIGHT, WIDTH) and np.array_equal(maps, own["hot"].half().numpy())

    # A comment makes no run anew; another loss does, and never meets the old one on a board.
    heat.write_text(heat.read_text() + "\n# said\n")
    assert "nothing to do" in bench(*run, "--plugin", heat)[1]
    heat.write_text(heat.read_text().replace("10 * target", "5 * target"))
    code, out, err = bench(*run, "--plugin", heat)
    assert code == 0 and len(records(tmp_path / "runs")) == 6, out + err
    assert len(list((tmp_path / "runs" / "leaderboards").glob("own-data*.csv"))) == 2

    refusing = [name for name in METHODS if not method(name).own_kinds]
    code, _, err = bench("run", "own-data", *refusing, *sets(*HOT), "--plugin", heat)
    assert code == 2 and err.count("\n") == 1 and len(refusing) == 9, err
    for name in refusing:
        assert f"{name} is skipped: it knows only the kinds of tasks of this program, and not heat" in err, (
            err
        )
    code, _, err = bench("run", "own-data", "multi_task", *sets(*HOT, "balance=amtl_g"), "--plugin", heat)
    assert code == 2 and "it is not known which pixels of heat are right" in err and err.count("\n") == 1
    assert len(records(tmp_path / "runs")) == 6


def test_killed_workers_and_slurm_compute_the_same_bits_and_later_code_is_refused(
    bench: Bench, heat: Path, tmp_path: Path
) -> None:
    assert bench("data", "prepare", "own-data", folder(tmp_path / "kitchens"), "--plugin", heat)[0] == 0
    trouble, place = Path(shutil.copy(TROUBLE, tmp_path)), tmp_path / "place"
    fault = {"fault": '"kill"', "at": 4, "times": 2, "place": f'"{place}"'}
    settings = ("batch=4", "epochs=3", "seeds=2", *(f"hparams.trouble.{k}={v}" for k, v in fault.items()))
    run = ("run", "own-data", "trouble", "--plugin", heat, "--plugin", trouble, "--checkpoint-every", 2)
    run = (*run, "--device", "cpu", *sets(HOT[0], "evaluations=0", *SMALL, *settings))
    code, out, err = bench(*run, "--workers", 2)
    assert code == 0 and "signal SIGKILL; it is taken up again" in out, out + err
    found = computed(tmp_path / "runs")
    assert bench(*run, "--results", tmp_path / "calm")[0] == 0
    assert computed(tmp_path / "calm") == found and len(found) == 2

    one = next(iter(found.values()))
    values, here = one["spec"] | {"id": one["id"]}, (heat, trouble)
    how = options.Options(tmp_path / "task", tmp_path / "data", "cpu", plugins=here)
    plugins.forget()
    assert slurm.carry_out(values, how, threading.Event()) == "done"
    assert computed(tmp_path / "task") == {one["id"]: one}

    def anew() -> None:
        plugins.forget()
        for file in here:
            benchmark.use(str(file))

    for file in here:
        anew()
        spec, before = RunSpec.from_dict(values, "a file"), file.read_text()
        file.write_text(before + "\n\nMORE = 1\n")
        spec.check_code("this plan")  # what was imported stays as it is
        anew()
        with pytest.raises(UserError, match=f"{file.stem} has changed since this plan was written.*again"):
            attempt(spec, how, data.Data(how.data), Log(), threading.Event())
        file.write_text(before)


ERROR, END, MOVED = "error = valid *", ".clamp_min(1)\n\n", "    # Vectors"
MOVE = "    def moved(self, target, zoom, sign, inverse):\n        return {}\n\n" + MOVED
BROKEN = {
    "a mean": ("return error", "return error.mean()\n        error", "a loss a sample", "gives"),
    "infinite": (END, "\n\n", "a loss a sample", "gives .*nan"),
    "no label": (".square()\n", ".square() + 0.1\n", "no label", "the loss of a sample without a label is"),
    "unmasked": (ERROR, "error =", "unlabelled pixels", "has a gradient"),
    "others": (ERROR, f"{ERROR} prediction.mean().abs() *", "samples apart", "in another batch"),
    "backwards": ("return error", "return -error", "perfect prediction", "the truth itself has a loss"),
    "nothing": (ERROR, f"{ERROR} 0 *", "perfect prediction", "nothing is learnt"),
    "sync": (ERROR, f"assert target.sum().item() > -1\n        {ERROR}", "no look at data", "item.* waits"),
    "values": (MOVED, MOVE.format("self.widen(target) + 1"), "views", "neither zooms nor mirrors"),
    "flip": (MOVED, MOVE.format("self.widen(target).where(sign > 0, 0.5)"), "views", "twice mirrored"),
    "labels": (MOVED, MOVE.format("self.widen(target).where(zoom == 1, 0.0)"), "views", "adds labels"),
    "metric": ("(labelled, off)]", "(labelled, off + off.mean())]", "RMSE: pooling", "another batch"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_its_reason(heat: Path, case: str) -> None:
    old, new, check, reason = BROKEN[case]
    replace_in(heat, old, new)
    plugins.use(heat)
    found = failures(contract.check("heat", plugged.kind("heat")))
    assert check in found and re.search(reason, found[check]), found


def world(heat: Path, count: int = 8, seed: int = 0) -> tuple[dict[str, Task], Split]:
    """Depth and a heat map of made-up images, NaN in places."""
    plugins.use(heat)
    plugged.kind("heat")
    split = tiny_split(count, seed)
    depth = split.targets["depth"]
    targets = {"depth": depth, "hot": torch.where(depth > 0, 1 / (1 + depth), torch.nan)}
    available = torch.ones(count, 2, dtype=torch.bool)
    return {"depth": TASKS["depth"], "hot": t.own("heat", "hot")}, replace(
        split, targets=targets, available=available, teacher=targets
    )


@pytest.mark.parametrize("name", [name for name in METHODS if method(name).own_kinds])
def test_every_other_method_trains(heat: Path, tmp_path: Path, name: str) -> None:
    tasks, train = world(heat)
    spec = tiny_spec(name, tasks=("depth", "hot"), only=("hot",) if method(name).one_task else ())
    run = Run(spec, train, world(heat, 4, 9)[1], tasks, Options())
    run.start(RunDir(tmp_path, spec.folder))
    before = weights(run)
    for step in range(2):
        run.stepper(run.feed.batch(step), step)
    assert run.stepper.failure() is None
    changed = {key for key, value in weights(run).items() if not torch.equal(value, before[key])}
    assert any(key.startswith(("heads.hot", "networks.hot")) or ".hot." in key for key in changed), changed


def test_a_hidden_label_moves_no_bit(heat: Path, tmp_path: Path) -> None:
    tasks, train = world(heat)
    spec, found = tiny_spec("multi_task", tasks=("depth", "hot")), []
    hidden = ~sample(train.ids, train.available, "one", 0)[:, 1]
    assert 0 < hidden.sum() < len(train)
    other = train.targets["hot"].masked_fill(hidden.view(-1, 1, 1, 1), 0.5)
    changed = replace(train, targets=train.targets | {"hot": other})
    for number, split in enumerate((train, changed)):
        place = RunDir(tmp_path / str(number), spec.folder)
        run, claim = Run(spec, split, world(heat, 4, 9)[1], tasks, Options()), place.claim(spec)
        assert claim is not None
        run.start(place)
        run.train(place, claim)
        found.append(weights(run))
    assert_same(*found)


def test_bad_files_are_one_sentence(bench: Bench, heat: Path, tmp_path: Path) -> None:
    text = heat.read_text()
    for old, new, message in (
        ("channels = 1", "channels = 0", "channels = 0 of Heat is not a whole number from 1"),
        ('kind = "heat"', 'kind = "cold"', "of Heat is not {name: subclass of benchmark.metrics.own.Metric"),
        ("span = (0.0, 1.0)", "span = (1.0, 0.0)", "span = (1.0, 0.0) of Heat is not a pair"),
        (
            MOVED,
            f"\n\nclass Other(Heat):\n    channels = 2\n\n{MOVED}",
            "defines 2 subclasses of datasets.kinds.Own",
        ),
    ):
        heat.write_text(text.replace(old, new))
        code, _, err = bench("check", heat)
        assert code == 2 and message in err and err.count("\n") == 1, (old, err)
    code, _, err = bench("new", "far", "--metric", "--task")
    assert code == 2 and "--metric and --task are two kinds of files" in err
    heat.with_name("depth.py").write_text(text.replace("heat", "depth"))
    code, _, err = bench("check", heat.with_name("depth.py"))
    assert code == 2 and "has the same name as the built-in kind depth; rename it" in err
    code, _, err = bench("new", "depth", "--task")
    assert code == 2 and "there is a kind of task depth already" in err
    heat.write_text(text)
    path = folder(tmp_path / "kitchens")
    for name, content, message in (
        (f"{stem(3)}.npy", np.ones((HEIGHT, WIDTH, 2)), "expected"),
        (f"{stem(3)}.npy", np.full((HEIGHT, WIDTH), 1e5), "numbers from -65000 to 65000"),
    ):
        np.save(path / "hot" / name, content.astype(np.float32))
        code, _, err = bench("data", "prepare", "own-data", path, "--plugin", heat)
        assert code == 2 and message in err and name in err and err.count("\n") == 1, err
    (path / "dataset.toml").write_text(
        (path / "dataset.toml").read_text().replace(OWN, OWN.rpartition("unit")[0])
    )
    code, _, err = bench("data", "prepare", "own-data", path, "--plugin", heat)
    assert code == 2 and "[tasks.hot] has no unit" in err and err.count("\n") == 1
