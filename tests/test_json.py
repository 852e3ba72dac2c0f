"""`--json`: every command prints one JSON value on standard output and nothing else there, whatever else it
has to say.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from benchmark.cli.app import app
from benchmark.cli.results import boards_of
from benchmark.execute import workers
from benchmark.report.tables import objects
from benchmark.spec import plugins
from datasets import packed
from tests.benchmark.report.make import write_board
from tests.conftest import ROOT, Bench
from tests.datasets.folders import write_mtan as write
from tests.file_server import only_this_machine, serving
from tests.test_cli import sets, start
from tests.test_data_get import Terminal

TINY = sets("seeds=1", "epochs=1", 'tasks=["semseg", "depth"]')
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
    """folder: for what a command writes. results: of one finished multi_task run, with the id. url: of a file
    to get.
    """

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
        return write(self.folder / "mtan")

    @property
    def split(self) -> Path:
        torch.save({"labels_weights": torch.eye(3)[[0, 1, 2]]}, self.folder / "split.pth")
        return self.folder / "split.pth"

    @property
    def ablation(self) -> Path:
        path = self.folder / "mine.toml"
        head = 'protocol = "thin"\ndataset = "scenes"\nmethod = "mtpsl"\n'
        path.write_text(
            f"[ablate]\n{head}components = {{ regulariser = 0.0 }}\nhparams.mtpsl.mapper_width = 4\n"
        )
        return path

    @property
    def loud(self) -> Path:
        path = self.folder / "loud.py"
        path.write_text(PLUGIN)
        return path


@pytest.fixture(scope="module")
def finished(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("finished") / "runs"
    process = start("run", "thin", "multi_task", *TINY, "--results", results, data=data_folder)
    assert process.communicate(timeout=120) and process.returncode == 0
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


def keys(*wanted: str) -> Callable[[Any], bool]:
    return lambda shown: set(wanted) <= shown.keys()


def rows(*wanted: str) -> Callable[[Any], bool]:
    return lambda shown: (
        isinstance(shown, list) and bool(shown) and all(set(wanted) <= row.keys() for row in shown)
    )


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def commands() -> dict[str, Any]:
    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for child, sub in getattr(command, "commands", {}).items():
            yield from leaves(sub, f"{name} {child}".strip())
        if not getattr(command, "commands", {}):
            yield name, command

    return dict(leaves(typer.main.get_command(app), ""))


# What each command is given beside its name, --json and, unless it names others, the results of `place`; and
# what it says then.
CASES: dict[str, tuple[Callable[[Place], list[object]], Callable[[Any], bool]]] = {
    "run": (lambda p: ["multi_task", *TINY, "--set", "labels=full"], keys("states", "failures", "boards",
    "exit")),
    "ablate": (lambda p: [p.ablation, *TINY], keys("plan", "form", "rows")),
    "plan": (lambda p: ["multi_task", *TINY], keys("plan", "cells", "notes", "expected", "others")),
    "status": (lambda p: [], rows("run", "id", "state")),
    "cancel": (lambda p: ["--all"], lambda shown: shown == []),
    "leaderboard": (lambda p: [], keys("boards", "notes")),
    "report": (lambda p: [], keys("page", "files", "notes")),
    "compare": (lambda p: ["mtpsl", "multi_task"] if with_a_board(p) else [], keys("answers", "overall")),
    "publish": (lambda p: ["--all", "--published-in", p.folder], keys("published", "folder")),
    "clean": (lambda p: [], keys("runs", "bytes", "deleted")),
    "show": (lambda p: [p.id], keys("state", "folder", "spec", "metrics")),
    "predict": (lambda p: [p.id, p.photo, "--out", p.folder / "out"], keys("files")),
    "tune": (lambda p: ["loud", "--plugin", p.loud, "--trials", 2, *TINY], keys("method", "trials", "best",
    "plan")),
    "perf": (
        lambda p: ["multi_task", "--steps", 2, *TINY, "--device", "cpu", "--out", p.folder / "perf"],
        keys("machine", "rows", "notes")
    ),
    "check": (lambda p: ["scenes"], rows("check", "about", "kept", "reason")),
    "new": (lambda p: ["mine", "--out", p.folder], keys("files")),
    "list": (lambda p: ["plans"], rows("name", "summary")),
    "doctor": (lambda p: [], keys("results", "data")),
    "data list": (lambda p: [], rows("name", "here", "source", "licence")),
    "data get": (lambda p: ["nyuv2", "--yes", "--url", p.url, "--data", p.folder], keys("file", "said")),
    "data prepare": (
        lambda p: ["nyuv2", p.mtan, "--size", "32x40", "--data", p.folder / "data"], keys("variant",
        "folders", "counts")
    ),
    "data check": (lambda p: ["nyuv2", "--data", p.folder / "data"], keys("variant", "problems", "splits")),
    "data show": (lambda p: ["scenes", "--size", "32x64", "--count", 2], keys("picture")),
    "labels import": (
        lambda p: [p.split, "--data", p.folder], rows("setting", "dataset", "images", "counts",
        "as_in_papers", "file")
    ),
    "labels show": (lambda p: ["--count", 12], keys("images", "setting", "seed", "hash", "labelled",
    "available")),
}  # fmt: skip


def test_every_command_takes_json() -> None:
    assert commands().keys() == CASES.keys()
    for name, command in commands().items():
        assert "--json" in {option for parameter in command.params for option in parameter.opts}, name


@pytest.mark.parametrize("name", CASES)
def test_standard_output_is_one_json_value(name: str, bench: Bench, place: Place) -> None:
    arguments, as_expected = CASES[name]
    if name == "data check":
        bench("data", "prepare", *CASES["data prepare"][0](place))
    code, out, err = bench(*name.split(), *arguments(place), "--results", place.results, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert as_expected(shown), shown
    assert isinstance(shown, dict | list) and out.endswith("\n")


def test_a_board_holds_the_rows_of_its_csv(bench: Bench, place: Place) -> None:
    code, out, err = bench("leaderboard", "--results", place.results, "--json")
    shown = json.loads(out)
    (found,) = shown["boards"]
    assert code == 0 and "wrote" in err and all(Path(file).exists() for file in found["files"])
    (file,) = (file for file in found["files"] if Path(file).parent.name == "leaderboards")
    assert Path(file).stem == found["name"] and any(f.endswith(".svg") for f in found["files"])
    written = list(csv.DictReader(io.StringIO(Path(file).read_text())))
    assert [row.keys() for row in found["rows"]] == [row.keys() for row in written]
    for row, texts in zip(found["rows"], written, strict=True):
        for column, value in row.items():
            assert (
                texts[column]
                == ("" if value is None else value if isinstance(value, str) else f"{value:.6g}")
                or value > 999_999
            )
    (multi, constant) = found["rows"]
    assert (
        multi["n_seeds"] == 1 and isinstance(multi["depth_absErr_mean"], float) and multi["delta_m"] is None
    )
    assert (
        multi["method"] == "multi_task" and constant["method"] == "constant" and multi["run_ids"] == place.id
    )
    assert shown["notes"] and all(note in err for note in shown["notes"])
    # With --check: nothing, and a difference.
    check = ("leaderboard", "--check", "--results", place.results, "--json")
    code, out, _ = bench(*check)
    assert code == 0 and json.loads(out)["differences"] == []
    Path(file).write_text(Path(file).read_text().replace("multi_task", "multi_tusk", 1))
    code, out, err = bench(*check)
    (difference,) = json.loads(out)["differences"]
    assert code == 1 and "multi_tusk" in difference and difference in err


def test_what_looks_like_a_number_and_is_none(tmp_path: Path) -> None:
    write_board(tmp_path)
    (made,) = boards_of(tmp_path)
    for row in objects(made)[:-1]:
        assert all(
            isinstance(row[column], str)
            for column in ("run_ids", "data", "label_masks", "delta_m_seeds", "dirty")
        )
        assert isinstance(row["n_seeds"], int)
    json.dumps(objects(made), allow_nan=False)


def test_published_and_freed_runs_are_named(bench: Bench, place: Place) -> None:
    public = place.folder / "public"
    shown = json.loads(
        bench("publish", "--all", "--results", place.results, "--published-in", public, "--json")[1]
    )
    assert shown == {"published": [place.id], "folder": str(public / "records")}
    (weights,) = place.results.glob("*/*/weights.pt")
    size = weights.stat().st_size
    run = {"run": str(weights.parent.relative_to(place.results)), "state": "done", "bytes": size}
    for more, deleted in (([], False), (["--yes"], True)):
        code, out, err = bench("clean", "--results", place.results, "--json", *more)
        assert (code, json.loads(out)) == (
            0,
            {"runs": [run], "bytes": size, "deleted": deleted},
        ) and "MiB" in err
        assert weights.exists() != deleted
    assert json.loads(bench("clean", "--results", place.results, "--json")[1]) == {
        "runs": [],
        "bytes": 0,
        "deleted": False,
    }


LOUD: dict[str, list[object]] = {
    "plan": ["plan", "loud", *TINY],
    "dry run": ["run", "loud", *TINY, "--dry-run"],
    "methods": ["list", "methods", "loud"],
    "datasets": ["list", "datasets"],
    "data": ["data", "list"],
    "picture": ["data", "show", "scenes", "--size", "32x64", "--count", 2],
    "mask": ["labels", "show", "--count", 2],
    "check": ["check", "loud"],
    "pool": ["run", "loud", *TINY, "--workers", 1],
    "perf": ["perf", "loud", "--steps", 2, *TINY, "--device", "cpu"],
}


@pytest.mark.parametrize("case", LOUD)
def test_what_a_users_own_method_prints_goes_to_standard_error(case: str, bench: Bench, place: Place) -> None:
    arguments = [*LOUD[case], "--plugin", place.loud, "--results", place.results, "--json"]
    if (
        case == "pool"
    ):  # a pool forks, which torch refuses in a process where a test before this one has trained
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        code, out, err = bench(*arguments)
    assert code == 0 and json.loads(out) and "imported" in err, out + err


def test_tuning_and_predicting_with_a_users_own_method(bench: Bench, place: Place) -> None:
    loud = ("loud", "--plugin", place.loud)
    tune = ("tune", *loud, "--trials", 3, *TINY, "--results", place.results, "--json")
    code, out, err = bench(*tune)
    shown = json.loads(out)
    assert code == 0 and "imported" in err and "a step" in err
    assert shown["method"] == "loud" and [t["keywords"].keys() for t in shown["trials"]] == [
        set(),
        {"loudness"},
    ]
    # Two of three trials, all there are; loudness changes nothing, so that the first of two equals is the
    # best.
    assert [t["score"] for t in shown["trials"]] == [0, 0] and shown["best"] == 0
    assert Path(shown["plan"]).exists() and shown["plan"].startswith(
        str(place.results / "tuned" / "loud-thin-")
    )
    shown = json.loads(bench("run", *loud, *TINY, "--results", place.results, "--json")[1])
    (key,) = shown["states"]
    predict = ("predict", key, place.photo, "--plugin", place.loud, "--results", place.results, "--json")
    code, out, err = bench(*predict, "--out", place.folder / "out")
    assert code == 0 and "a prediction" in err
    names = ("predictions.png", "photo.npz", "photo-semseg.png", "photo-depth.png")
    files = json.loads(out)["files"]
    assert files == [str(place.folder / "out" / name) for name in names] and all(
        Path(file).exists() for file in files
    )


def test_a_plan_that_ablates(bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ablate = ("ablate", place.ablation, *TINY, "--results", place.results, "--json")
    code, out, _ = bench(*ablate, "--dry-run")
    assert code == 0 and [cell["state"] for cell in json.loads(out)["cells"]] == ["missing", "missing"]
    monkeypatch.setattr(workers, "work", interrupt)
    code, out, err = bench(*ablate)
    assert (code, json.loads(out)) == (
        130,
        {"plan": "mine", "form": "leave-one-out", "rows": []},
    ) and "interrupted" in err
    assert not (place.results / "tables" / "ablation-mine.md").exists()


def test_a_trial_that_failed_says_why(bench: Bench, place: Place) -> None:
    broken = PLUGIN.replace('print("a step")', 'assert self.loudness < 2, "too loud"')
    (place.folder / "loud.py").write_text(broken)
    arguments = [
        "loud",
        "--plugin",
        place.folder / "loud.py",
        "--trials",
        6,
        *TINY,
        "--results",
        place.results,
        "--json",
    ]
    for _ in range(2):  # as it fails, and as the failure is found
        code, out, _ = bench("tune", *arguments)
        trials = json.loads(out)["trials"]
        assert code == 1
        assert {(t["keywords"].get("loudness", 1), t.get("failure"), t.get("score")) for t in trials} == {
            (1, None, 0.0),
            (2, "AssertionError: too loud", None),
        }


def test_interrupted_commands_print_what_there_is(
    bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "work", interrupt)
    monkeypatch.setattr(packed, "prepare", interrupt)
    monkeypatch.setattr("benchmark.execute.fetch.fetch", interrupt)
    code, out, err = bench("tune", *CASES["tune"][0](place), "--results", place.results, "--json")
    assert (code, json.loads(out)) == (130, {"method": "loud", "trials": [], "best": None, "plan": None})
    assert "interrupted: finished trials are kept" in err
    code, out, err = bench("data", "prepare", *CASES["data prepare"][0](place), "--json")
    assert (code, json.loads(out)) == (
        130,
        {"variant": "nyuv2-13", "folders": [], "counts": {}},
    ) and "interrupted: " in err
    code, out, err = bench("data", "get", *CASES["data get"][0](place), "--json")
    shown = json.loads(out)
    assert (
        code == 130
        and shown["file"] is None
        and shown["said"].startswith("interrupted: ")
        and shown["said"] in err
    )


def test_data_that_come_and_are_packed(bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    get = CASES["data get"][0](place)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, out, err = bench("data", "get", *(a for a in get if a != "--yes"), "--json")
    assert (code, json.loads(out)) == (
        1,
        {"file": None, "said": "nothing was fetched."},
    ) and "Fetch it? [y/N]" in err
    code, out, err = bench("data", "get", *get, "--json")
    file = place.folder / "downloads" / "nyu.mat"
    said = f"{file} is here; next: bench data prepare nyuv2 {file} --data {place.folder}"
    assert (
        (code, json.loads(out)) == (0, {"file": str(file), "said": said})
        and said in err
        and file.read_bytes() == b"a file"
    )
    code, out, _ = bench("data", "get", "scenes", "--json")
    said = "scenes is made on the spot; there is nothing to download."
    assert (code, json.loads(out)) == (0, {"file": None, "said": said})
    data = place.folder / "data"
    code, out, err = bench("data", "prepare", *CASES["data prepare"][0](place), "--size", "64x80", "--json")
    assert code == 0 and "note: 3 + 2 images, not the papers' 795 + 654" in err
    labels = {
        name: {"images": n, "labels": dict.fromkeys(("semseg", "depth", "normals"), n)}
        for name, n in (("train", 3), ("test", 2))
    }
    folders = [str(data / "nyuv2-13" / size) for size in ("32x40", "64x80")]
    assert json.loads(out) == {"variant": "nyuv2-13", "folders": folders, "counts": labels}
    (imported,) = json.loads(bench("labels", "import", place.split, "--data", data, "--json")[1])
    assert Path(imported.pop("file")).exists()
    counts = {"semseg": 1, "depth": 1, "normals": 1}
    wanted = {
        "setting": "published:one",
        "dataset": "nyuv2",
        "images": 3,
        "counts": counts,
        "as_in_papers": False,
    }
    assert imported == wanted


def test_pictures_and_files_are_named_as_given(
    bench: Bench, place: Place, monkeypatch: pytest.MonkeyPatch, data_folder: Path
) -> None:
    monkeypatch.chdir(place.folder)
    assert json.loads(bench("new", "mine", "--dataset", "--json")[1]) == {
        "files": ["mine.py", "test_mine.py"]
    }
    assert Path("mine.py").exists() and Path("test_mine.py").exists()
    show = ("data", "show", "scenes", "--size", "32x64", "--count", 2, "--results", "here", "--json")
    assert (
        json.loads(bench(*show)[1]) == {"picture": "here/scenes-train.png"}
        and Path("here/scenes-train.png").exists()
    )
    labels = ("labels", "show", "--count", 12, "--results", "there", "--json")
    assert "picture" not in json.loads(bench(*labels)[1]) and not Path("there").exists()
    assert (
        json.loads(bench(*labels, "--out", "mask.png")[1])["picture"] == "mask.png"
        and Path("mask.png").exists()
    )


BAD: dict[str, list[object]] = {
    "leaderboard": ["--results", "nowhere"],
    "report": ["--results", "nowhere"],
    "compare": ["mtpsl", "multi_task", "--results", "nowhere"],
    "publish": ["--all", "--results", "nowhere"],
    "clean": ["abcdef", "--results", "nowhere"],
    "predict": ["abcdef", "a.jpg", "--out", "out", "--results", "nowhere"],
    "tune": ["mtpsl", "--trials", "1"],
    "new": ["Mine"],
    "data get": ["nyuv3"],
    "data prepare": ["nyuv2", "nowhere"],
    "data show": ["scenes", "--size", "96"],
    "labels import": ["nowhere.pth"],
    "labels show": ["rooms"],
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_is_a_sentence_on_standard_error(
    name: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(*name.split(), *BAD[name], "--json")
    assert code == 2 and out == "" and err.startswith("bench: ") and err.count("\n") == 1
