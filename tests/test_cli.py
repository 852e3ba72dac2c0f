"""The command line from end to end: real runs on small rooms, real kills, `--json`, and users' mistakes."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmark.contract import methods as contract
from benchmark.execute import workers
from benchmark.report.figures import board as plots
from benchmark.report.figures.style import Drawing
from datasets import preparing
from tests.benchmark.report.make import write_board
from tests.commands import SHORT, every_command, records, start, without_cost
from tests.conftest import Bench, leave_figures_out
from tests.datasets.folder_example import write_untold
from tests.datasets.folders import write_mtan
from tests.file_server import only_this_machine, serving
from tests.helpers import replace_in


def test_from_plan_to_published_board(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, public, drawn = tmp_path / "runs", tmp_path / "public", list[Path]()
    monkeypatch.setattr(plots, "draw", lambda board, folder: (drawn.append(folder), Drawing(folder))[1])
    methods = ["single_task", "multi_task"]
    run = ("run", *methods, *SHORT, "--set", "seeds=2", "--results", runs)
    out = bench.ok(*run, figures=True)
    assert len(records(runs)) == 6 and all(name in out for name in methods) and drawn
    (table,) = (runs / "leaderboards").glob("*.csv")
    assert str(table) in out.replace("\n", "") and all(name in table.read_text() for name in methods)
    assert "nothing to do: all 6 runs" in bench.ok(*run)
    # Published records alone give the tables, without any data set.
    publish = ("publish", "--all", "--force", "--results", runs, "--published-in", public)
    shown = bench.json(*publish)
    assert set(shown["published"]) == records(runs).keys() and shown["folder"] == str(public / "records")
    assert len(list((public / "records").glob("*.json"))) == 6
    assert len(list((public / "records").glob("*.webp"))) == 3  # one seed a method, two of them single-task
    tables = ["leaderboard", "--published", "--published-in", public]
    assert bench.ok(*tables) and bench.ok(*tables, "--check")
    (table,) = (public / "leaderboards").glob("*.csv")
    replace_in(table, "multi_task", "multi_tusk")
    code, out, err = bench(*tables, "--check", "--json")
    (difference,) = json.loads(out)["differences"]
    assert code == 1 and table.name in difference and difference in err


def test_force_and_keep(bench: Bench, place: "Place") -> None:
    arguments = ["run", "multi_task", *SHORT, "--results", place.results]
    (record,) = place.results.glob("*/*/record.json")
    before = json.loads(record.read_text())
    for keep, files in (("none", set()), ("all", {"checkpoint.pt", "weights.pt"})):
        bench(*arguments, "--force", "--keep", keep)
        assert {p.name for p in place.results.glob("*/*/*.pt")} == files
        assert without_cost(json.loads(record.read_text())) == without_cost(before)


PLUGIN = """print("imported")
from methods.multi_task import MultiTask

class Loud(MultiTask):
    summary = "says much"
    search = {"loudness": (1.0, 2.0)}

    def __init__(self, problem, *, loudness: float = 1.0):
        print("made")
        super().__init__(problem)
        self.loudness = loudness

    def losses(self, batch, progress):
        print("a step")
        return super().losses(batch, progress)

    def predict(self, images):
        print("a prediction")
        return super().predict(images)
"""


@dataclass
class Place:
    """folder: for what is written. results: of one finished multi_task run, with the id. url: of a file."""

    folder: Path
    results: Path
    id: str
    url: str

    @property
    def photo(self) -> Path:
        path = self.folder / "photo.png"
        Image.new("RGB", (64, 32)).save(path)
        return path

    @property
    def mtan(self) -> Path:
        return write_mtan(self.folder / "mtan")

    @property
    def split(self) -> Path:
        torch.save({"labels_weights": torch.eye(3)[[0, 1, 2]]}, self.folder / "split.pth")
        return self.folder / "split.pth"

    @property
    def ablation(self) -> Path:
        path = self.folder / "mine.toml"
        text = '[ablate]\nprotocol = "thin"\ndataset = "scenes"\nmethod = "mtpsl"\n'
        path.write_text(text + "components = { regulariser = 0.0 }\nhparams.mtpsl.mapper_width = 4\n")
        return path

    @property
    def loud(self) -> Path:
        path = self.folder / "loud.py"
        path.write_text(PLUGIN)
        return path


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    only_this_machine(monkeypatch)
    (record,) = finished.glob("*/*/record.json")
    shutil.copytree(finished, tmp_path / "runs")
    with serving(b"a file") as site:
        yield Place(tmp_path, tmp_path / "runs", json.loads(record.read_text())["id"], f"{site.url}/nyu.mat")


def with_a_board(place: Place) -> Place:
    """The place with made-up runs of several methods among its results."""
    write_board(place.results, seeds=2)
    return place


def keys(wanted: str) -> Callable[[Any], bool]:
    return lambda shown: set(wanted.split()) <= shown.keys()


def rows(wanted: str) -> Callable[[Any], bool]:
    return lambda shown: bool(shown) and all(set(wanted.split()) <= row.keys() for row in shown)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


PERF = ["--steps", 2, *SHORT, "--device", "cpu"]


def store(p: Place) -> list[object]:
    return ["--size", "32x40", "--data", p.folder / "data"]


# What each command is given beside its name, --json and, unless it names others, the results of `place`; and
# what it says then.
CASES: dict[str, tuple[Callable[[Place], list[object]], Callable[[Any], bool]]] = {
    "run": (lambda p: ["multi_task", *SHORT, "--set", "labels=full"], keys("states failures boards exit")),
    "ablate": (lambda p: [p.ablation, *SHORT], keys("plan form rows")),
    "plan": (lambda p: ["multi_task", *SHORT], keys("plan cells notes expected")),
    "status": (lambda p: [], rows("run id state")),
    "watch": (lambda p: [p.id], keys("run id state curve")),
    "cancel": (lambda p: ["--all"], lambda shown: shown == []),
    "leaderboard": (lambda p: [], keys("boards notes")),
    "report": (lambda p: [], keys("page files notes")),
    "compare": (lambda p: ["mtpsl", "multi_task"] if with_a_board(p) else [], keys("answers")),
    "publish": (lambda p: ["--all", "--force", "--published-in", p.folder], keys("published folder")),
    "show": (lambda p: [p.id], keys("state folder spec metrics")),
    "predict": (lambda p: [p.id, p.photo, "--out", p.folder / "out"], keys("files")),
    "export": (lambda p: [p.id], keys("file tolerance differences")),
    "tune": (lambda p: ["loud", "--plugin", p.loud, "--trials", 2, *SHORT], keys("rows failures plan")),
    "perf": (lambda p: ["multi_task", *PERF, "--out", p.folder / "perf"], keys("machine rows notes")),
    "check": (lambda p: ["multi_task"], rows("check about kept reason")),
    "new": (lambda p: ["mine", "--out", p.folder], keys("files")),
    "list": (lambda p: ["plans"], rows("name summary")),
    "data list": (lambda p: [], rows("name here source licence")),
    "data get": (lambda p: ["nyuv2", "--yes", "--url", p.url, "--data", p.folder], keys("file said")),
    "data draft": (lambda p: [write_untold(p.folder / "mine")], keys("file notes")),
    "data prepare": (lambda p: ["nyuv2", p.mtan, *store(p)], keys("variant folders counts")),
    "data check": (lambda p: ["nyuv2", "--data", p.folder / "data"], keys("variant problems splits")),
    "data show": (lambda p: ["scenes", "--size", "32x64", "--count", 2], keys("picture")),
    "labels import": (lambda p: [p.split, "--data", p.folder], rows("setting dataset images counts file")),
    "labels show": (lambda p: ["--count", 12], keys("images setting seed hash labelled available")),
}


def test_every_command_is_in_a_panel_and_takes_the_shared_options(bench: Bench) -> None:
    found = every_command()
    assert found.keys() == CASES.keys()
    for name, command in found.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--results", "--data"} <= options, name
        first = command.help.split("\n\n")[0]
        assert first.endswith(".") and bench.ok(*name.split(), "--help"), name
    panels = [line.split()[1] for line in bench.ok("--help").splitlines() if line.startswith("╭─ ")]
    assert panels == ["Options", "Run", "Look", "Data", "Methods", "Publish"]


@pytest.mark.parametrize("name", CASES)
def test_json_is_one_value(name: str, bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, as_expected = CASES[name]
    monkeypatch.setattr(contract, "CHECKS", contract.CHECKS[:2])
    leave_figures_out(monkeypatch)
    if name == "data check":
        bench("data", "prepare", *CASES["data prepare"][0](place))
    shown = bench.json(*name.split(), *arguments(place), "--results", place.results)
    assert as_expected(shown), shown


def test_looking_needs_no_data(bench: Bench, place: Place) -> None:
    none = ["--data", place.folder / "none", "--results", place.results]
    assert "1 done" in bench.ok("plan", "multi_task", *SHORT, *none)
    assert "mIoU" in bench.ok("show", place.id[:8], *none)
    for what in ("methods", "datasets", "protocols", "plans", "balances", "metrics"):
        assert bench.json("list", what, *none)
    assert not (place.folder / "none").exists()


def test_what_workers_print_goes_to_standard_error(place: Place, data_folder: Path) -> None:
    loud = ["run", "loud", *SHORT, "--plugin", place.loud, "--workers", 1, "--results", place.results]
    out, err = start(*loud, "--json", data=data_folder).communicate(timeout=600)
    assert json.loads(out)["exit"] == 0 and "a step" in err, out + err


def test_interrupted_ones_print_json(bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "prepare", interrupt)
    monkeypatch.setattr("benchmark.execute.fetch.fetch", interrupt)
    code, out, err = bench("data", "prepare", *CASES["data prepare"][0](place), "--json")
    assert code == 130 and json.loads(out) == {"variant": "nyuv2-13", "folders": [], "counts": {}}
    monkeypatch.setattr(workers, "work", interrupt)
    code, out, _ = bench("ablate", place.ablation, *SHORT, "--results", place.results, "--json")
    assert code == 130 and json.loads(out) == {"plan": "mine", "form": "leave-one-out", "rows": []}
    assert not (place.results / "tables" / "ablation-mine.md").exists()
    code, out, err = bench("data", "get", *CASES["data get"][0](place), "--json")
    assert code == 130 and json.loads(out)["file"] is None and json.loads(out)["said"] in err


BAD: dict[str, tuple[list[str], str]] = {
    "timm model": (["run", "multi_task", "--set", "encoder=timm:foo"], "unknown timm model 'foo'; "),
    "in a plan": (["plan", "prototype", "--set", "hparams.heads=5"], "heads"),
    "checkpoints": (["run", "multi_task", "--checkpoint-every", "0"], "--checkpoint-every 0"),
    "list": (["list", "method"], "unknown listing 'method'; did you mean 'methods'?"),
    "list by name": (["list", "plans", "thin"], "only methods are shown by name, not plans; leave thin out"),
    "run": (["show", "abcdef"], "'abcdef' names no run"),
    "file type": (["data", "show", "scenes", "--count", "1", "--out", "sheet.txt"], "ends in .png"),
    "size": (["data", "show", "scenes", "--size", "96"], "--size '96' is not HEIGHTxWIDTH"),
    "split": (["data", "show", "scenes", "--split", "val"], "--split 'val' is not one of train, test"),
    "no such data": (["run", "nyuv2-smoke", "--data", "nowhere"], "nowhere"),
    "nothing to publish": (["publish", "--all", "--published-in", "out"], "no finished run to publish"),
    "several costs": (["list", "methods", "hitts", "--plan", "nyuv2-small"], "plan of one protocol and one"),
    "no board": (["leaderboard"], "there are no finished runs"),
    "format": (["export", "abcdef", "--format", "tf"], "--format 'tf' is not one of torch, onnx"),
    "nothing to prepare": (["data", "prepare", "nyuv2", "nowhere"], "there is no nowhere"),
    "no label file": (["labels", "import", "nowhere.pth"], "nowhere.pth"),
    "no plug-in": (
        ["run", "--plugin", "nowhere.py"],
        "--plugin nowhere.py is not a Python file that is there",
    ),
    "own method": (["run", "my_idea"], "; one of your own needs --plugin FILE.py."),
    "own method's cost": (["list", "methods", "my_idea"], "; one of your own needs --plugin FILE.py."),
    "nothing to check": (["check", "nowhere"], "unknown method or data set 'nowhere'"),
    "new, known": (["new", "multi_task"], "there is a method or data set multi_task already"),
    "new, a word": (["new", "class"], "'class' cannot be the name of a method"),
    "new, a module": (["new", "torch"], "there is a Python module torch already, which torch.py would hide"),
    "new, a kind": (["new", "depth", "--task"], "there is a kind of task depth already"),
    "example": (["new", "a", "--example", "fixmtch"], "unknown example 'fixmtch'; did you mean 'fixmatch'?"),
    "example of data": (["new", "a", "--example", "fixmatch", "--dataset"], "leave it out with --dataset"),
    "example of a metric": (["new", "a", "--example", "fixmatch", "--metric"], "leave it out with --metric"),
    "data and metric": (
        ["new", "a", "--metric", "--dataset"],
        "--dataset and --metric are two kinds of files",
    ),
    "metric and kind": (["new", "a", "--metric", "--task"], "--metric and --task are two kinds of files"),
    "one trial": (["tune", "mtpsl", "--trials", "1"], "--trials 1 leaves nothing to compare; give 2 or more"),
    "two to tune": (["tune", "mtpsl", "jtr"], "2 methods are named, and hyperparameters are searched of one"),
    "nothing to tune": (["tune", "multi_task"], "multi_task has nothing to search: "),
    "tuned on test": (["tune", "mtpsl", "--set", "judge=test"], "--set judge=test is not for tuning"),
    "tuned list": (["tune", "mtpsl", "--set", "hparams.regulariser=[0.1, 0.5]"], "which are no one trial"),
    "no such space": (["tune", "mtpsl", "--space", "regularizer=[1, 2]"], "did you mean 'regulariser'?"),
    "space, one value": (["tune", "mtpsl", "--space", "regulariser=[1, 1.0]"], "[1, 1.0]' is not a"),
    "bound": (["tune", "consistency", "--space", "confidence=[0.9, 1.9]"], "confidence must be at least 0"),
    "rates": (["tune", "--rate", "--rates", "1", "--rates", "nan"], "are not two or more different"),
    "tuned epochs": (["tune", "mtpsl", "--epochs", "2"], "--epochs requires --rate; leave it out."),
    "rates of no rate": (["tune", "mtpsl", "--rates", "0.5"], "--rates requires --rate; leave it out."),
    "trials of rates": (
        ["tune", "--rate", "--trials", "5"],
        "--trials does not go with --rate; leave it out.",
    ),
    "tuned rate": (["tune", "--rate", "--set", "lr_scale=2"], "--set lr_scale=2 is not for tuning, which"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(
    case: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with --json: standard output stays empty, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    assert message in bench.refused(*arguments, "--results", "r", "--json")
    assert not list(tmp_path.iterdir())
