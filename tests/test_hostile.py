"""Whatever people type, and whatever became of files of ours: one sentence or the same, never a traceback."""

import io
import json
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from benchmark.cli import perf, tune
from benchmark.errors import UserError
from benchmark.execute.model import load_model
from benchmark.report.leaderboard import boards_of, files, load_records
from benchmark.report.records import collect
from benchmark.runs import claim, schema
from benchmark.runs.rundir import RunDir
from benchmark.spec import protocol
from benchmark.spec.run import run_id
from tests.benchmark.report import make
from tests.commands import SHORT, every_command
from tests.conftest import Bench, leave_figures_out, run_here

NINES = "9" * 10_000
WORDS = (
    "", " ", ".", "..", "/", "-1", "0", "nan", "1e400", "1" * 25, NINES, "x" * 300, "x" * 300 + ".toml",
    "[" * 5000, "a=b", "a[b]", "[/h]", "é Δ", "\udcff", "\x1b[31m", "=cmd|x", "thin", "multi_task", "scenes",
    "²x²", "a\nb", "~nobody/x", "$(x)", "%s{}", "../../x", "x.py", "/dev/zero", "tasks=[]", "size=[0,0]",
    "seeds=" + "9" * 20, "lr=[[1]]", "hparams.x=1", "labels=fraction:nan", "width=1e9",
)  # fmt: skip


def line(command: Any, path: list[str], chance: random.Random) -> list[str]:
    """A command line of wrong words for some of a command's parameters."""
    words = [*path]
    for parameter in command.params:
        option = parameter.param_type_name == "option"
        ours = parameter.name in ("help", "data", "results", "published_in", "yes", "force")
        if ours or chance.random() < 0.5 * option:
            continue
        name = [parameter.opts[0]] if option else []
        words += [*name, *([] if getattr(parameter, "is_flag", False) else [chance.choice(WORDS)])]
    return words + (["no-such-plan"] if path[0] in ("run", "ablate") else [])


@pytest.fixture
def limit() -> Iterator[None]:
    """No command line may hang."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    old = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.mark.parametrize("seed", range(2))
def test_wrong_command_lines_are_refused_without_a_traceback(
    seed: int, limit: None, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_figures_out(monkeypatch)
    monkeypatch.setattr(perf, "measured", lambda *_: ([], []))  # which take minutes
    monkeypatch.setattr(tune, "_carry_out", lambda *_: ({}, {}))
    chance = random.Random(seed)
    for name, command in every_command().items():
        words = line(command, name.split(), chance)
        signal.alarm(300)
        code, out, err = bench(*words, "--results", tmp_path / "r", "--data", tmp_path / "d")
        assert code in (0, 1, 2), words
        assert "Traceback" not in out + err and "\x1b[31m" not in out + err, words


DAMAGE: dict[str, Callable[[bytearray], bytearray]] = {
    "flip": lambda b: b[: len(b) // 2] + bytearray([b[len(b) // 2] ^ 16]) + b[len(b) // 2 + 1 :],
    "cut": lambda b: b[: len(b) // 2],
    "empty": lambda b: b[:0],
    "longer": lambda b: b + b"}",
    "halves": lambda b: bytearray(b'{"a": "\\ud800"}'),
    "list": lambda b: bytearray(b"[1, {}, null]"),
}


RUN = ("run", "multi_task", *SHORT)


def run_in(folder: Path) -> RunDir:
    (path,) = folder.glob("thin/multi_task*")
    return RunDir(folder / "thin", path.name)


def look(folder: Path) -> dict[str, Any]:
    """What a results folder says: its state, its records, its arrays, its network's predictions."""
    run = run_in(folder)
    ids, metrics = [record.id for record in collect(folder).records], run.record and run.record["metrics"]
    return {"state": run.state(), "records": ids, "metrics": metrics, "maps": maps(run.path)}


def maps(run: Path) -> dict[str, Any]:
    """What a run's network predicts."""
    found = load_model(run).predict(torch.arange(3 * 32 * 64).reshape(1, 3, 32, 64).to(torch.uint8))
    return {task: value.tolist() for task, value in found.items()}


@pytest.mark.parametrize(
    "name", ["record.json", "weights.pt", "per_image.npz", "spec.json", "progress.json", "claim-000007.json"]
)
def test_damaged_files_give_a_sentence_or_the_same(name: str, finished: Path, tmp_path: Path) -> None:
    same = look(finished)
    for damage in list(DAMAGE.values())[: None if name.endswith(".json") else 3]:
        folder = tmp_path / "runs"
        shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("figures", "tables", "leaderboards"))
        run = run_in(folder)
        file = run.file(name)
        kept = file.read_bytes() if file.exists() else b'{"token": "x", "host": "h", "pid": 1}'
        file.write_bytes(damage(bytearray(kept)))
        try:
            assert look(folder) == same
        except UserError as error:
            assert run.name in str(error) and "\n" not in str(error)
        assert len(run.progress) == 5 and run.claims() is not None
        shutil.rmtree(folder)


def test_no_flipped_byte_of_weights_predicts_otherwise(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(run_in(finished).path, tmp_path / run_in(finished).name)
    file = next(tmp_path.iterdir()) / "weights.pt"
    whole, same = file.read_bytes(), look(finished)["maps"]
    chance, refused = random.Random(0), 0
    for place in chance.sample(range(len(whole)), 12):
        flipped = bytes([whole[place] ^ 1 << chance.randrange(8)])
        file.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        try:
            assert maps(file.parent) == same
        except UserError as error:
            refused += 1
            assert str(file) in str(error)
    assert refused > 6
    torch.save({"id": "0" * 12, "method": {}}, file)
    with pytest.raises(UserError, match="it is of run 000000000000"):
        load_model(file.parent)


@pytest.mark.parametrize(
    ("state", "message"),
    [({"id": "0" * 12}, "is of run 000000000000"),
     ({"step": 10**9}, "at step 1000000000 of"), ({"step": float("nan")}, "is damaged"),
     ({"step": -1}, "is damaged"), ({"curve": [{}]}, "is damaged"),
     ({"seconds": float("inf")}, "is damaged")],
)  # fmt: skip
def test_a_forged_checkpoint_is_refused(
    state: dict[str, Any], message: str, finished: Path, tmp_path: Path, data_folder: Path, capsys: Any
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(finished, folder)
    run = run_in(folder)
    run.file("record.json").unlink()
    checkpoint = torch.load(run.file("checkpoint.pt"), weights_only=True)
    torch.save(checkpoint | state, run.file("checkpoint.pt"))
    assert run_here(*RUN, "--results", folder, "--data", data_folder) == 2
    assert message in capsys.readouterr().err and not run.file("record.json").exists()


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "metric": lambda r: r["metrics"]["semseg"].update(mIoU=float("inf")),
    "whole": lambda r: r["metrics"]["semseg"].update(mIoU=10**400),
    "cost": lambda r: r["cost"].update(seconds=float("nan")),
    "device": lambda r: r["cost"].update(device="=cmd|x"),
    "channels": lambda r: r["tasks"]["semseg"].update(channels=10**9),
    "no tasks": lambda r: r["spec"].update(tasks=[]),
    "twice": lambda r: r["spec"].update(tasks=["depth", "depth"]),
    "tables": lambda r: r["spec"].update(tasks=[{}]),
    "formula": lambda r: r["spec"]["protocol"].update(name="=cmd|' /C calc'!A0"),
    "escape": lambda r: r["spec"].update(method="\x1b[31mx"),
    "newline": lambda r: r["spec"].update(method="x\n"),
    "script": lambda r: r["spec"].update(variant="<script>alert(1)</script>"),
    "version": lambda r: r["spec"].update(method_version=10**40),
    "ragged": lambda r: r["diagnostics"].update(a={"kind": "matrix", "array": [[1, 2], [3]], "labels": []}),
    "curve": lambda r: r.update(curve=[{}]),
    "environment": lambda r: r["environment"].update(commit=["x"]),
    "newer key": lambda r: r["spec"]["protocol"].update({"<b>": 1}),
    "contrast": lambda r: r["spec"].update(contrasts=[{"x": 1}]),
    "half": lambda r: r["environment"].update(commit="\ud800"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_resealed_odd_record_is_a_sentence_everywhere(case: str, bench: Bench, tmp_path: Path) -> None:
    spec = make.spec("multi_task")
    record = json.loads(json.dumps(make.record(spec)))
    ODD[case](record)
    record["id"] = run_id(record["spec"])
    path = make.write_run(tmp_path, make.record(spec), panels=False)
    path.write_text(json.dumps(schema.sealed(record)))
    path.parent.rename(path.parent.with_name(f"multi_task-s0-{record['id']}"))
    publish = ["publish", record["id"], "--published-in", tmp_path / "p"]
    for words in (["leaderboard"], ["show", record["id"]], publish):
        code, _, err = bench(*words, "--results", tmp_path)
        assert code == 2 and "record.json" in err and err.count("\n") == 1 and "\x1b" not in err, (words, err)
    with pytest.raises(UserError, match=r"record\.json"):
        load_records(tmp_path)


def test_claims_are_numbers_of_any_length(tmp_path: Path) -> None:
    for name in ("claim-abc.json", "claim-.json", "claim-1e9.json", "claim-999999.json", "claim-٣٣٣٣٣٣.json"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in claim.claims_in(tmp_path)] == ["claim-999999.json"]
    (tmp_path / "claim-1000000.json").write_text('{"token": 3, "pid": "../../self"}')
    newest = claim.claims_in(tmp_path)[0]
    assert newest.name == "claim-1000000.json" and claim.holder_of(newest) == {} and not claim.alive(newest)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_no_encoding_loses_a_line(
    encoding: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert run_here("leaderboard", "--check", "--results", finished) == 0
    odd = tmp_path / "é Δ [/h] \x1b[31m"
    odd.mkdir(parents=True)
    assert run_here("status", "--results", odd) == 0
    stream.flush()
    said = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "\\u0394 [/h] \\x1b[31m" in said and "\x1b" not in said


def test_protocols_hold_no_names_that_a_board_could_not_show(tmp_path: Path) -> None:
    file = tmp_path / "$x$.toml"
    file.write_text("epochs = 1\n")
    message = r"\$x\$\.toml: its name is '\$x\$'; expected a text of letters.*; rename"
    with pytest.raises(UserError, match=message):
        protocol.load(str(file))


def test_prose_of_records_is_no_markup_formula_or_control_code(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    for s in (*make.specs("single_task", 0), *make.specs("multi_task", 0), *make.specs("mtpsl", 0)):
        if s["method"] == "mtpsl":
            s |= {"tuning": f"=cmd|x {script}", "hyperparameters": {"a": f"=cmd|{script}\x1b[31m$\\frac{{$"}}
            s["changed"] = ["a"]
        sides = {"first": {"method": "mtpsl"}, "second": {"method": "multi_task"}}
        s["contrasts"] = [{"name": f"=x{script}"} | sides]
        make.write_run(tmp_path, make.record(s) | {"summary": script}, panels=False)
    make.write_failure(tmp_path, make.spec("multi_task", 5), f"=cmd|{script}\x1b[2J")
    for name, text in files(boards_of(tmp_path)).items():
        assert "\x1b" not in text and (script not in text or name.endswith(".csv")), name
        assert not name.endswith(".csv") or not re.search(r'(^|,)"?=', text, re.MULTILINE), name
