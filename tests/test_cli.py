"""The command line from end to end: real runs on small rooms, real kills, and a table of what users get
wrong.
"""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.runs import rundir
from tests.conftest import ROOT, Bench

TINY = [
    "size=[32, 64]",
    "train_images=16",
    "test_images=8",
    "batch=4",
    "epochs=3",
    "width=8",
    "decoder_blocks=1",
]
SMALL = [
    "hparams.prototype.codes=16",
    "hparams.prototype.proto_dim=16",
    "hparams.prototype.width=16",
    "hparams.prototype.heads=2",
]


def sets(*settings: str) -> list[str]:
    return [part for setting in (*TINY, *settings) for part in ("--set", setting)]


def start(*arguments: object, data: Path, **options: Any) -> "subprocess.Popen[str]":
    """The same in a process of its own, which can be killed."""
    environment = dict(os.environ) | {"BENCH_DATA": str(data), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark", *map(str, arguments)], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def records(results: Path) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in (json.loads(p.read_text()) for p in results.glob("*/*/record.json"))}


def without_cost(record: dict[str, Any]) -> dict[str, Any]:
    """A record but for what depends on how busy the machine is."""
    environment = {k: v for k, v in record["environment"].items() if k != "load"}
    return {k: v for k, v in record.items() if k not in ("cost", "digest")} | {"environment": environment}


def test_a_plan_from_nothing_to_a_published_board(bench: Bench, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    methods = ["single_task", "multi_task", "mtpsl", "prototype"]
    code, out, _ = bench(
        "run", *methods, *sets("seeds=2", "hparams.mtpsl.mapper_width=4", *SMALL), "--results", first
    )
    assert code == 0
    assert len(records(first)) == 12
    for name in methods:
        assert name in out
    (csv,) = (first / "leaderboards").glob("*.csv")
    assert str(csv) in out.replace("\n", "")
    text = csv.read_text()
    assert text.endswith("\n") and all(name in text for name in methods)
    assert list((first / "figures").rglob("*.png")) and list((first / "figures").rglob("*.svg"))
    # The same command again into an empty folder: the same records to the last digit, cost aside.
    bench("run", *methods, *sets("seeds=2", "hparams.mtpsl.mapper_width=4", *SMALL), "--results", second)
    a, b = records(first), records(second)
    assert a.keys() == b.keys()
    for key in a:
        assert without_cost(a[key]) == without_cost(b[key])
    # Twice: nothing to do.
    code, out, _ = bench(
        "run", *methods, *sets("seeds=2", "hparams.mtpsl.mapper_width=4", *SMALL), "--results", first
    )
    assert code == 0 and "nothing to do: all 12 runs" in out
    # Published records alone give the tables, without any data set.
    public = tmp_path / "public"
    assert bench("publish", "--all", "--results", first, "--published-in", public)[0] == 0
    assert len(list((public / "records").glob("*.json"))) == 12
    assert len(list((public / "records").glob("*.webp"))) == 6  # one seed a method, three of them single-task
    nowhere = ["--published", "--published-in", public]
    assert bench("leaderboard", *nowhere)[0] == 0
    assert bench("leaderboard", *nowhere, "--check")[0] == 0
    (table,) = (public / "leaderboards").glob("*.csv")
    table.write_text(table.read_text().replace("multi_task", "multi_tusk", 1))
    code, out, _ = bench("leaderboard", *nowhere, "--check")
    assert code == 1 and table.name in out
    # A record whose content is not its id's is refused.
    victim = next((public / "records").glob("*.json"))
    edited = json.loads(victim.read_text())
    edited["spec"]["label_seed"] = 77
    victim.write_text(json.dumps(edited))
    code, _, err = bench("leaderboard", *nowhere)
    assert code == 2 and victim.name in err


def run_arguments(results: Path, *settings: str) -> list[object]:
    return [
        "run",
        "thin",
        "multi_task",
        *sets("seeds=1", "epochs=40", *settings),
        "--results",
        results,
        "--checkpoint-every",
        5,
    ]


def wait_for(pattern: str, results: Path, process: "subprocess.Popen[str]") -> Path:
    for _ in range(1200):
        found = list(results.glob(pattern))
        if found:
            return found[0]
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        time.sleep(0.05)
    raise AssertionError(f"no {pattern}")


@pytest.fixture(scope="module")
def calm(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of `run_arguments`, never interrupted."""
    results = tmp_path_factory.mktemp("calm")
    process = start(*run_arguments(results), data=data_folder)
    assert process.communicate(timeout=120) and process.returncode == 0
    return results


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_in_the_middle_and_run_again_ends_in_the_same_bits(
    how: signal.Signals, bench: Bench, calm: Path, data_folder: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    process = start(*run_arguments(cut), data=data_folder)
    checkpoint = wait_for("*/*/checkpoint.pt", cut, process)
    process.send_signal(how)
    out, _ = process.communicate(timeout=60)
    assert not list(cut.glob("*/*/record.json"))
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < step < 160
    if how == signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 130 and "the same command goes on" in out.replace("\n", " ")
    (run,) = rundir.every_run(cut)
    assert run.state() == "stale"
    assert bench(*run_arguments(cut))[0] == 0
    ((key, one),), ((_, two),) = records(calm).items(), records(cut).items()
    assert without_cost(one) == without_cost(two), key
    a, b = (torch.load(next(f.glob("*/*/weights.pt")), weights_only=True) for f in (calm, cut))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not checkpoint.exists()


def test_two_processes_share_a_results_folder(data_folder: Path, tmp_path: Path) -> None:
    arguments = ["run", "thin", "multi_task", *sets("seeds=6", "epochs=10"), "--results", tmp_path]
    processes = [start(*arguments, data=data_folder) for _ in range(2)]
    outs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert len(records(tmp_path)) == 6
    computed = [len(re.findall(r": done in", out)) for out in outs]
    assert sum(computed) == 6, outs  # no cell twice


def test_a_diverging_run_fails_alone(bench: Bench, tmp_path: Path) -> None:
    arguments = ["run", "multi_task", *sets("lr=[1e30, 1e-3]", "clip=0", "seeds=1"), "--results", tmp_path]
    code, out, _ = bench(*arguments)
    assert code == 1 and "failed" in out
    assert len(records(tmp_path)) == 1
    (error,) = tmp_path.glob("*/*/error.txt")
    assert re.search(r"is not finite at step \d+ .* learning rate [\d.]+e\+(29|30)", error.read_text())
    assert not list(error.parent.glob("checkpoint.pt"))
    code, out, _ = bench(*arguments)
    assert code == 1 and "--retry-failed" in out
    before = error.stat().st_mtime_ns
    assert bench(*arguments, "--retry-failed")[0] == 1
    assert error.stat().st_mtime_ns != before


def test_force_and_keep_and_clean(bench: Bench, tmp_path: Path) -> None:
    arguments = ["run", "multi_task", *sets("seeds=1"), "--results", tmp_path]
    bench(*arguments, "--keep", "none")
    assert not list(tmp_path.glob("*/*/*.pt"))
    (record,) = tmp_path.glob("*/*/record.json")
    before = json.loads(record.read_text())
    bench(*arguments, "--force", "--keep", "all")
    assert without_cost(json.loads(record.read_text())) == without_cost(before)
    assert {p.name for p in tmp_path.glob("*/*/*.pt")} == {"checkpoint.pt", "weights.pt"}
    code, out, _ = bench("clean", "--results", tmp_path)
    assert code == 0 and "can be freed" in out and list(tmp_path.glob("*/*/*.pt"))
    bench("clean", "--yes", "--results", tmp_path)
    assert not list(tmp_path.glob("*/*/*.pt")) and record.exists()
    bench("clean", before["id"][:6], "--yes", "--results", tmp_path)
    assert not record.parent.exists()


def test_looking_needs_no_data(bench: Bench, tmp_path: Path) -> None:
    bench("run", "multi_task", *sets("seeds=1"), "--results", tmp_path)
    (key,) = records(tmp_path)
    none = ["--data", tmp_path / "none", "--results", tmp_path]
    code, out, _ = bench("plan", "multi_task", *sets("seeds=1"), *none)
    assert code == 0 and "1 done" in out
    code, out, _ = bench("plan", "nyuv2-smoke", *none)
    assert code == 0 and "6 missing" in out
    assert json.loads(bench("status", "--results", tmp_path, "--json")[1])[0]["state"] == "done"
    code, out, _ = bench("show", key[:8], "--results", tmp_path)
    assert code == 0 and "mIoU" in out
    assert json.loads(bench("show", key, "--results", tmp_path, "--json")[1])["id"] == key
    assert bench("doctor", *none)[0] == 0
    for what in ("methods", "datasets", "protocols", "plans", "metrics"):
        assert json.loads(bench("list", what, "--json", "--data", tmp_path / "none")[1])
        assert bench("list", what, "--data", tmp_path / "none")[0] == 0
    assert bench("run", "multi_task", *sets("seeds=2"), *none, "--dry-run")[0] == 0
    assert not (tmp_path / "none").exists()


def test_pictures_of_data_and_labels(bench: Bench, tmp_path: Path) -> None:
    out_file = tmp_path / "sheet.png"
    assert bench("data", "show", "scenes", "--size", "32x64", "--count", 3, "--out", out_file)[0] == 0
    assert out_file.read_bytes()[:4] == b"\x89PNG"
    picture = tmp_path / "mask.png"
    code, out, _ = bench(
        "labels",
        "show",
        "--count",
        12,
        "--labels",
        "random",
        "--task",
        "depth",
        "--task",
        "semseg",
        "--out",
        picture,
    )
    assert code == 0 and picture.exists() and "mask" in out
    counts = json.loads(bench("labels", "show", "--count", 12, "--labels", "one", "--json")[1])
    assert sum(counts["labelled"].values()) == 12


BAD: dict[str, tuple[list[str], str]] = {
    "method": (["run", "protoype"], r"unknown plan or method 'protoype'; did you mean 'prototype'\?"),
    "hyper-parameter": (["run", "prototype", "--set", "hparams.tc_magin=1"], r"did you mean 'tc_margin'\?"),
    "setting": (["run", "--set", "labels=fractions:0.5"], "fractions"),
    "task": (["run", "--set", 'tasks=["depht"]'], r"did you mean 'depth'\?"),
    "a task twice": (["run", "multi_task", "--set", 'tasks=["depth", "depth"]'], "must name each task once"),
    "no scales": (["run", "multi_task", "--set", "scales=[]"], r"scales = \[\]"),
    "no seeds": (["run", "multi_task", "--set", "seeds=[]"], r"seeds = \[\]"),
    "no labels": (
        ["run", "multi_task", "--set", "labels=[]"],
        r"labels = \[\] in plan thin leaves nothing to run",
    ),
    "not finite": (
        ["run", "multi_task", "--set", "epochs=nan"],
        "epochs = nan .* is not a finite number above 0",
    ),
    "negative": (
        ["run", "multi_task", "--set", "clip=-1"],
        "clip = -1.0 .* is not a finite number 0 or more",
    ),
    "colour": (["run", "multi_task", "--set", "colour=9"], "colour = 9.0 .* is not below 1"),
    "keywords in a dry run": (["run", "prototype", "--set", "hparams.heads=5", "--dry-run"], "heads"),
    "no test label": (
        ["run", *sets("seeds=1", "test_images=2", 'tasks=["depth", "parts"]')],
        "none of the 2 test images has a label for parts",
    ),
    "no images": (["run", "multi_task", "--set", "train_images=0"], "train_images = 0"),
    "weight of no task": (
        ["run", "multi_task", "--set", "loss_weights={dept=2.0}"],
        r"'dept'; did you mean 'depth'\?",
    ),
    "baseline": (["run", "multi_task", "--set", "baseline=mutli_task"], r"did you mean 'multi_task'\?"),
    "value of a method's": (
        ["run", "multi_task", "prototype", "--set", "hparams.prototype.heads=5"],
        "heads",
    ),
    "file type": (["data", "show", "scenes", "--count", "1", "--out", "sheet.txt"], "ends in .png"),
    "timm model": (["run", "multi_task", "--set", "encoder=timm:foo"], "unknown timm model 'foo'; .* more"),
    "device": (["run", "multi_task", "--device", "gpu"], "--device 'gpu' is not one of auto, cpu, cuda"),
    "keep": (["run", "multi_task", "--keep", "some"], "--keep 'some' is not one of all, weights, none"),
    "checkpoints": (["run", "multi_task", "--checkpoint-every", "0"], "--checkpoint-every 0"),
    "encoder": (["run", "multi_task", "--set", "encoder=resnet19"], r"did you mean 'resnet18'\?"),
    "no such data": (["run", "nyuv2-smoke", "--data", "nowhere"], "nowhere"),
    "list": (["list", "method"], r"unknown listing 'method'; did you mean 'methods'\?"),
    "run": (["show", "abcdef"], "'abcdef' names no run"),
    "size": (["data", "show", "scenes", "--size", "96"], "--size '96' is not HEIGHTxWIDTH"),
    "split": (["data", "show", "scenes", "--split", "val"], "--split 'val' is not one of train, test"),
    "data set": (["labels", "show", "rooms"], "unknown data set 'rooms'"),
    "nothing to publish": (["publish", "--all"], "no finished run to publish"),
    "no runs": (["leaderboard"], "there are no finished runs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, bench: Bench, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    results = (
        []
        if arguments[0] in ("list", "data", "labels") and arguments[1] != "show"
        else ["--results", tmp_path / "r"]
    )
    code, out, err = bench(*arguments, *results)
    assert code == 2, out + err
    assert re.search(message, err), err
    assert err.startswith("bench: ") and err.count("\n") == 1 and "Traceback" not in out + err
    assert not (tmp_path / "r").exists()  # nothing was written


def test_damaged_files_are_named_and_nothing_is_lost(bench: Bench, tmp_path: Path) -> None:
    arguments = ["run", "multi_task", *sets("seeds=1"), "--results", tmp_path]
    bench(*arguments)
    (record,) = tmp_path.glob("*/*/record.json")
    good = record.read_text()
    record.write_text(good[: len(good) // 2])
    for command in (
        ["leaderboard", "--results", tmp_path],
        ["show", record.parent.name, "--results", tmp_path],
        arguments,
    ):
        code, _, err = bench(*command)
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


def test_a_results_folder_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = bench("run", "multi_task", *sets("seeds=1"), "--results", tmp_path / "file")
    assert code == 2 and "is a file, not a folder of runs" in err and err.count("\n") == 1


def test_a_full_disk_loses_nothing(bench: Bench, calm: Path, data_folder: Path, tmp_path: Path) -> None:
    """The system's own limit on file size stands in for a full disk; the cure is the same command."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    results = tmp_path / "full"
    process = start(*run_arguments(results), data=data_folder, preexec_fn=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and os.strerror(errno.EFBIG) in err and err.count("\n") == 1, err
    assert not list(results.glob("*/*/checkpoint.*")) and not list(results.glob("*/*/record.json"))
    assert bench(*run_arguments(results))[0] == 0
    ((_, one),), ((_, two),) = records(calm).items(), records(results).items()
    assert without_cost(one) == without_cost(two)
