"""A kind of task of one's own: written by `bench new --task`, checked, trained, scored and used."""

from __future__ import annotations

import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

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
from tests.commands import TROUBLE, given, records
from tests.conftest import Bench
from tests.datasets.folder_example import HEIGHT, TEST, TOML, TRAIN, WIDTH, arrays, stem, write
from tests.executors.common import Log, computed
from tests.helpers import METHODS, TASKS, assert_same, failures, replace_in, tiny_spec, tiny_split, weights
from tests.test_own_data_run import SHORT, SMALL
from tests.test_own_method import clean

OWN = '[tasks.hot]\nkind = "heat"\nfolder = "hot"\nunit = 0.00392156862745098\n'
HOT = ("tasks=['depth', 'hot']", *SHORT[:-1])
pytestmark = pytest.mark.usefixtures("own_folders")
NO_PLUGIN = "heat is no kind of task here; one of your own needs --plugin heat.py."


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the made-up rooms, which nothing here reads."""
    return tmp_path_factory.mktemp("nothing")


@pytest.fixture
def heat(bench: Bench, tmp_path: Path) -> Path:
    assert '`kind = "heat"` in a dataset.toml' in bench.ok("new", "heat", "--task", "--out", tmp_path)
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
    assert "heat passes all 14 checks" in bench.ok("check", heat)
    prepare = ("data", "prepare", "own-data", folder(tmp_path / "kitchens"))
    code, _, err = bench(*prepare)
    assert code == 2 and 'kind = "heat" in [tasks.hot]' in err.replace("'", '"') and "--plugin KIND.py" in err
    bench.ok(*prepare, "--plugin", heat)
    assert "0 to 1" in bench.ok("data", "check", "own-data-kitchens", "--plugin", heat)
    assert bench("data", "check", "own-data-kitchens")[2].endswith(f"{NO_PLUGIN}\n")
    bench.ok("check", "own_data", "--plugin", heat)

    run = ("run", "own-data", "multi_task", "single_task", *given(*HOT))
    assert NO_PLUGIN in bench.refused(*run)
    assert "RMSE" in bench.ok(*run, "--plugin", heat)
    found, kinds = records(tmp_path / "runs"), {"heat": plugins.code("heat")}
    assert len(found) == 3 and all(r["spec"]["kinds"] == kinds for r in found.values())
    (record,) = (r for r in found.values() if r["spec"]["method"] == "multi_task")
    task, floor = record["tasks"]["hot"], record["constant"]["hot"]["RMSE"]
    assert (task["kind"], task["metric"], task["test_images"]) == ("heat", "RMSE", TEST // 2)
    assert record["metrics"]["hot"].keys() == {"RMSE"} and 0 < record["metrics"]["hot"]["RMSE"] < 5
    seen = np.stack([hot(i) for i in range(TRAIN, TRAIN + TEST) if i % 2])
    told = [np.floor(255 * np.nan_to_num(hot(1))) / 255, *(hot(i) for i in range(3, TRAIN, 2))]
    mean = np.nanmean(np.stack(told))
    assert floor == pytest.approx(np.sqrt(np.nanmean((seen - mean) ** 2)), rel=1e-3)
    board, score = benchmark.load_board(tmp_path / "runs"), record["metrics"]["hot"]["RMSE"]
    assert board.set_index("method").hot_RMSE_mean["multi_task"] == pytest.approx(score, rel=1e-6)
    assert board.dataset[0] == f"own-data-kitchens, heat@{plugins.code('heat')[:6]}"

    photo = tmp_path / "kitchens" / "images" / f"{stem(0)}.webp"
    predict = ("predict", record["id"], photo, "--out", tmp_path / "out")
    assert NO_PLUGIN in bench(*predict)[2] and not (tmp_path / "out").exists()
    bench.ok(*predict, "--plugin", heat)
    assert (tmp_path / "out" / f"{stem(0)}-hot.png").exists()
    maps = np.load(tmp_path / "out" / f"{stem(0)}.npz")["hot"]
    (own,) = load_model(record["id"], tmp_path / "runs").predict_images([Image.open(photo)])
    assert maps.shape == (HEIGHT, WIDTH) and np.array_equal(maps, own["hot"].half().numpy())

    # A comment makes no run anew; another loss does, and never meets the old one on a board.
    heat.write_text(heat.read_text() + "\n# said\n")
    assert "nothing to do" in bench.ok(*run, "--plugin", heat)
    replace_in(heat, "10 * target", "5 * target")
    bench.ok(*run, "--plugin", heat)
    assert len(records(tmp_path / "runs")) == 6
    assert len(list((tmp_path / "runs" / "leaderboards").glob("own-data*.csv"))) == 2

    refusing = [name for name in METHODS if not method(name).own_kinds]
    said = bench.refused("run", "own-data", *refusing, *given(*HOT), "--plugin", heat)
    assert len(refusing) == said.count("is skipped: it knows only the kinds of tasks of this program") == 9
    code, _, err = bench("run", "own-data", "multi_task", *given(*HOT, "balance=amtl_g"), "--plugin", heat)
    assert code == 2 and "it is not known which pixels of heat are right" in err and err.count("\n") == 1
    assert len(records(tmp_path / "runs")) == 6


def test_killed_workers_and_slurm_compute_the_same_bits(bench: Bench, heat: Path, tmp_path: Path) -> None:
    bench.ok("data", "prepare", "own-data", folder(tmp_path / "kitchens"), "--plugin", heat)
    trouble, place = Path(shutil.copy(TROUBLE, tmp_path)), tmp_path / "place"
    fault = {"fault": '"kill"', "at": 4, "times": 2, "place": f'"{place}"'}
    settings = ("batch=4", "epochs=3", "seeds=2", *(f"hparams.trouble.{k}={v}" for k, v in fault.items()))
    run = ("run", "own-data", "trouble", "--plugin", heat, "--plugin", trouble, "--checkpoint-every", 2)
    run = (*run, "--device", "cpu", *given(HOT[0], "evaluations=0", *SMALL, *settings))
    assert "signal SIGKILL; it is taken up again" in bench.ok(*run, "--workers", 2)
    found = computed(tmp_path / "runs")
    bench.ok(*run, "--results", tmp_path / "calm")
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
    made = replace(split, targets=targets, available=available, teacher=targets)
    return {"depth": TASKS["depth"], "hot": t.own("heat", "hot")}, made


def stepped(heat: Path, spec: RunSpec, train: Split, folder: Path) -> tuple[dict[str, Tensor], Run]:
    """The weights that a run begins with, and the run after an epoch."""
    run = Run(spec, train, world(heat, 4, 9)[1], world(heat)[0], Options())
    run.start(RunDir(folder, spec.folder))
    before = weights(run)
    for step in range(2):
        run.stepper(run.feed.batch(step), step)
    assert run.stepper.failure() is None
    return before, run


@pytest.mark.parametrize("name", [name for name in METHODS if method(name).own_kinds])
def test_every_other_method_trains(heat: Path, tmp_path: Path, name: str) -> None:
    spec = tiny_spec(name, tasks=("depth", "hot"), only=("hot",) if method(name).one_task else ())
    before, run = stepped(heat, spec, world(heat)[1], tmp_path)
    changed = {key for key, value in weights(run).items() if not torch.equal(value, before[key])}
    assert any(key.startswith(("heads.hot", "networks.hot")) or ".hot." in key for key in changed), changed


def test_a_hidden_label_moves_no_bit(heat: Path, tmp_path: Path) -> None:
    train = world(heat)[1]
    hidden = ~sample(train.ids, train.available, "one", 0)[:, 1]
    assert 0 < hidden.sum() < len(train)
    other = train.targets["hot"].masked_fill(hidden.view(-1, 1, 1, 1), 0.5)
    changed = replace(train, targets=train.targets | {"hot": other})
    spec, found = tiny_spec("multi_task", tasks=("depth", "hot")), []
    for number, split in enumerate((train, changed)):
        found.append(weights(stepped(heat, spec, split, tmp_path / str(number))[1]))
    assert_same(*found)


def test_bad_files_are_one_sentence(bench: Bench, heat: Path, tmp_path: Path) -> None:
    text = heat.read_text()
    two = f"\n\nclass Other(Heat):\n    channels = 2\n\n{MOVED}"
    for old, new, message in (
        ("channels = 1", "channels = 0", "channels = 0 of Heat is not a whole number from 1"),
        ('kind = "heat"', 'kind = "cold"', "of Heat is not {name: subclass of benchmark.metrics.own.Metric"),
        ("span = (0.0, 1.0)", "span = (1.0, 0.0)", "span = (1.0, 0.0) of Heat is not a pair"),
        (MOVED, two, "defines 2 subclasses of datasets.kinds.Own"),
    ):
        heat.write_text(text.replace(old, new))
        assert message in bench.refused("check", heat)
    heat.write_text(text)
    (depth := heat.with_name("depth.py")).write_text(text.replace("heat", "depth"))
    assert "has the same name as the built-in kind depth; rename it" in bench.refused("check", depth)
    path = folder(tmp_path / "kitchens")
    prepare = ("data", "prepare", "own-data", path, "--plugin", heat)
    for content, message in (
        (np.ones((HEIGHT, WIDTH, 2)), "expected"),
        (np.full((HEIGHT, WIDTH), 1e5), "numbers from -65000 to 65000"),
    ):
        np.save(path / "hot" / f"{stem(3)}.npy", content.astype(np.float32))
        said = bench.refused(*prepare)
        assert message in said and f"{stem(3)}.npy" in said
    replace_in(path / "dataset.toml", OWN, OWN.rpartition("unit")[0])
    assert "[tasks.hot] has no unit" in bench.refused(*prepare)
