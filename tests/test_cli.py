"""The command line from end to end: real runs on small rooms, real kills, `--json`, and users' mistakes."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from benchmark.cli.app import app
from benchmark.contract import methods as contract
from benchmark.execute import workers
from benchmark.report.figures import board as plots
from benchmark.report.figures.style import Drawing
from benchmark.spec import plugins
from datasets import preparing
from tests.benchmark.report.make import write_board
from tests.commands import TINY, records, sets, start, without_cost
from tests.conftest import Bench, leave_figures_out, run_here
from tests.datasets.folder_example import write_untold
from tests.datasets.folders import write_mtan
from tests.file_server import only_this_machine, serving

SHORT = sets("seeds=1", "epochs=1", 'tasks=["semseg", "depth"]')


def test_a_plan_from_nothing_to_a_published_board(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, public, drawn = tmp_path / "runs", tmp_path / "public", list[Path]()
    monkeypatch.setattr(plots, "draw", lambda board, folder: (drawn.append(folder), Drawing(folder))[1])
    methods = ["single_task", "multi_task"]
    run = ("run", *methods, *SHORT, "--set", "seeds=2", "--results", runs)
    code, out, _ = bench(*run, figures=True)
    assert code == 0 and len(records(runs)) == 6 and all(name in out for name in methods) and drawn
    (table,) = (runs / "leaderboards").glob("*.csv")
    assert str(table) in out.replace("\n", "") and all(name in table.read_text() for name in methods)
    code, out, _ = bench(*run)
    assert code == 0 and "nothing to do: all 6 runs" in out
    # Published records alone give the tables, without any data set.
    publish = ("publish", "--all", "--force", "--results", runs, "--published-in", public)
    shown = json.loads(bench(*publish, "--json")[1])
    assert set(shown["published"]) == records(runs).keys() and shown["folder"] == str(public / "records")
    assert len(list((public / "records").glob("*.json"))) == 6
    assert len(list((public / "records").glob("*.webp"))) == 3  # one seed a method, two of them single-task
    nowhere = ["--published", "--published-in", public]
    assert bench("leaderboard", *nowhere)[0] == 0 and bench("leaderboard", *nowhere, "--check")[0] == 0
    (table,) = (public / "leaderboards").glob("*.csv")
    table.write_text(table.read_text().replace("multi_task", "multi_tusk", 1))
    code, out, err = bench("leaderboard", *nowhere, "--check", "--json")
    (difference,) = json.loads(out)["differences"]
    assert code == 1 and table.name in difference and difference in err


def test_a_diverging_run_fails_alone(bench: Bench, tmp_path: Path) -> None:
    arguments = ["run", "multi_task", *sets("lr=[1e9, 1e-3]", "clip=0", "seeds=1"), "--results", tmp_path]
    code, out, _ = bench(*arguments)
    assert code == 1 and "failed" in out
    assert len(records(tmp_path)) == 1
    (error,) = tmp_path.glob("*/*/error.txt")
    assert re.search(r"is not finite at step \d+ .* learning rate", error.read_text())
    assert not list(error.parent.glob("checkpoint.pt"))
    code, out, _ = bench(*arguments)
    assert code == 1 and "--retry-failed" in out
    before = error.stat().st_mtime_ns
    assert bench(*arguments, "--retry-failed")[0] == 1
    assert error.stat().st_mtime_ns != before


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


@pytest.fixture(scope="module")
def finished(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("finished") / "runs"
    assert run_here("run", "multi_task", *SHORT, "--results", results, "--data", data_folder) == 0
    return results


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    only_this_machine(monkeypatch)
    (record,) = finished.glob("*/*/record.json")
    shutil.copytree(finished, tmp_path / "runs")
    with serving(b"a file") as site:
        yield Place(tmp_path, tmp_path / "runs", json.loads(record.read_text())["id"], f"{site.url}/nyu.mat")
    plugins.forget()


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


def commands() -> dict[str, Any]:
    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for child, sub in getattr(command, "commands", {}).items():
            yield from leaves(sub, f"{name} {child}".strip())
        if not getattr(command, "commands", {}):
            yield name, command

    return dict(leaves(typer.main.get_command(app), ""))


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
    found = commands()
    assert found.keys() == CASES.keys()
    for name, command in found.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--results", "--data"} <= options, name
        first = command.help.split("\n\n")[0]
        assert first.endswith(".") and bench(*name.split(), "--help")[0] == 0, name
    code, out, _ = bench("--help")
    panels = [line.split()[1] for line in out.splitlines() if line.startswith("╭─ ")]
    assert code == 0 and panels == ["Options", "Run", "Look", "Data", "Methods", "Publish"]


@pytest.mark.parametrize("name", CASES)
def test_standard_output_is_one_json_value(
    name: str, bench: Bench, place: "Place", monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, as_expected = CASES[name]
    monkeypatch.setattr(contract, "CHECKS", contract.CHECKS[:2])
    leave_figures_out(monkeypatch)
    if name == "data check":
        bench("data", "prepare", *CASES["data prepare"][0](place))
    code, out, err = bench(*name.split(), *arguments(place), "--results", place.results, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert as_expected(shown), shown
    assert isinstance(shown, dict | list) and out.endswith("\n")


def test_looking_needs_no_data(bench: Bench, place: "Place") -> None:
    none = ["--data", place.folder / "none", "--results", place.results]
    code, out, _ = bench("plan", "multi_task", *SHORT, *none)
    assert code == 0 and "1 done" in out
    code, out, _ = bench("show", place.id[:8], *none)
    assert code == 0 and "mIoU" in out
    for what in ("datasets", "protocols", "plans", "balances", "metrics"):
        assert json.loads(bench("list", what, "--json", *none)[1])
    assert not (place.folder / "none").exists()


def test_what_workers_print_goes_to_standard_error(place: Place, data_folder: Path) -> None:
    loud = ["run", "loud", *SHORT, "--plugin", place.loud, "--workers", 1, "--results", place.results]
    out, err = start(*loud, "--json", data=data_folder).communicate(timeout=600)
    assert json.loads(out)["exit"] == 0 and "a step" in err, out + err


def test_interrupted_commands_print_what_there_is(
    bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def run_multi(*settings: str) -> list[str]:
    return ["run", "multi_task", *(part for setting in settings for part in ("--set", setting))]


BAD: dict[str, tuple[list[str], str]] = {
    "timm model": (run_multi("encoder=timm:foo"), "unknown timm model 'foo'; .* more"),
    "in a plan": (["plan", "prototype", "--set", "hparams.heads=5"], "heads"),
    "no test label": (
        run_multi(*TINY, "seeds=1", "test_images=2", "tasks=['parts']"),
        "has a label for parts",
    ),
    "checkpoints": (["run", "multi_task", "--checkpoint-every", "0"], "--checkpoint-every 0"),
    "list": (["list", "method"], r"unknown listing 'method'; did you mean 'methods'\?"),
    "list by name": (["list", "plans", "thin"], "only methods are shown by name, not plans; leave thin out"),
    "run": (["show", "abcdef"], "'abcdef' names no run"),
    "file type": (["data", "show", "scenes", "--count", "1", "--out", "sheet.txt"], "ends in .png"),
    "size": (["data", "show", "scenes", "--size", "96"], "--size '96' is not HEIGHTxWIDTH"),
    "split": (["data", "show", "scenes", "--split", "val"], "--split 'val' is not one of train, test"),
    "no such data": (["run", "nyuv2-smoke", "--data", "nowhere"], "nowhere"),
    "data set": (["labels", "show", "rooms"], "unknown data set 'rooms'"),
    "nothing to publish": (["publish", "--all", "--published-in", "out"], "no finished run to publish"),
    "several costs": (["list", "methods", "hitts", "--plan", "nyuv2-small"], "plan of one protocol and one"),
    "no board": (["leaderboard"], "there are no finished runs"),
    "no network": (["predict", "abcdef", "a.jpg", "--out", "out"], "'abcdef' names no run"),
    "format": (["export", "abcdef", "--format", "tf"], "--format 'tf' is not one of torch, onnx"),
    "nothing to prepare": (["data", "prepare", "nyuv2", "nowhere"], "there is no nowhere"),
    "no label file": (["labels", "import", "nowhere.pth"], "nowhere.pth"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(
    case: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with --json: standard output stays empty, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    code, out, err = bench(*arguments, "--results", "r", "--json")
    assert code == 2 and out == "", out + err
    sentence = err.splitlines()[-1]  # after notes on the data, where there are any
    assert re.search(message, sentence) and sentence.startswith("bench: ") and "Traceback" not in err, err
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_named_and_nothing_is_lost(bench: Bench, tmp_path: Path) -> None:
    arguments = ["run", "multi_task", *SHORT, "--results", tmp_path]
    bench(*arguments)
    (record,) = tmp_path.glob("*/*/record.json")
    good = record.read_text()
    record.write_text(good[: len(good) // 2])
    code, _, err = bench(*arguments)
    assert code == 2 and "record.json" in err and err.count("\n") == 1, err
    record.unlink()
    # A checkpoint of another run, then a damaged one.
    checkpoint = record.parent / "checkpoint.pt"
    torch.save({"id": "000000000000"}, checkpoint)
    code, _, err = bench(*arguments)
    assert code == 2 and "is of run 000000000000" in err
    checkpoint.write_bytes(b"PK\x03\x04 half a file")
    code, _, err = bench(*arguments)
    assert code == 2 and "checkpoint.pt is damaged" in err and checkpoint.exists()
    checkpoint.unlink()
    assert bench(*arguments)[0] == 0
    assert without_cost(json.loads(record.read_text())) == without_cost(json.loads(good))
