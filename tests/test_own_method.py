"""A method of one's own: written by `bench new`, checked by `bench check`, and run like any other."""

import json
import re
import runpy
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.contract import methods as contract
from benchmark.contract.checks import Broken, findings
from tests.commands import sets
from tests.conftest import ROOT, Bench

HEAD = """
from typing import ClassVar
import torch
from torch import Tensor, nn
from methods.base import Batch, Losses, Method, Problem
from methods.multi_task import MultiTask

class Mine(MultiTask):
    summary: ClassVar[str] = "mine"
"""


def write(folder: Path, body: str, name: str = "mine") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text(HEAD + body)
    return file


def clean(folder: Path) -> bool:
    """Whether files have the project's style."""
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml")]
        if subprocess.run([*ruff, str(folder)]).returncode:
            return False
    return True


def test_what_new_writes_runs(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = bench("new", "my_idea", "--out", tmp_path)
    file = tmp_path / "my_idea.py"
    assert code == 0 and f"bench check {file}" in out
    assert 35 <= len(file.read_text().splitlines()) <= 55
    assert clean(tmp_path)
    asked: list[list[str]] = []
    elsewhere = subprocess.run

    def here(command: list[str], **options: Any) -> Any:
        if command[0] == "git":  # which a run asks for its commit, once a process
            return elsewhere(command, **options)
        asked.append(command[:3])
        code, out, err = bench(*command[3:])
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", here)
        runpy.run_path(str(tmp_path / "test_my_idea.py"))["test_it_keeps_the_contract"]()
    assert asked == [[sys.executable, "-m", "benchmark"]]
    code, _, err = bench("new", "my_idea", "--out", tmp_path)
    assert code == 2 and "is there already" in err
    short = (*sets("seeds=1", "epochs=1"), "--results", tmp_path / "runs")
    assert "my_idea" in bench.ok("run", "--plugin", file, "my_idea", *short)


def test_what_new_writes_as_an_example_keeps_the_contract_and_trains(bench: Bench, tmp_path: Path) -> None:
    file, results = tmp_path / "my_fix.py", tmp_path / "runs"
    bench.ok("new", "my_fix", "--example", "fixmatch", "--out", tmp_path)
    assert clean(tmp_path) and all(finding["kept"] for finding in bench.json("check", file))
    settings = (*sets("seeds=1", "protocol=thin", "epochs=6", "labels=random"), "--results", results)
    bench.ok("run", "my_fix", "--plugin", file, *settings)
    (folder,) = (path.parent for path in results.glob("*/my_fix-*/record.json"))
    terms = [json.loads(line)["loss"] for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert set(terms[0]) == {"semseg", "depth", "normals", "pseudo_labels"}
    parts = (terms[:6], terms[-6:])
    begin, end = (sum(point["depth"] + point["normals"] for point in part) for part in parts)
    assert end < begin and terms[-1]["pseudo_labels"] > terms[0]["pseudo_labels"]
    cost = bench.json("list", "methods", "my_fix", "--plugin", file)[0]["cost"]
    assert cost["views"] == 1 and cost["relative"]["train_flops"] == 2


def test_a_plugin_is_known_by_its_content(bench: Bench, tmp_path: Path) -> None:
    file, results = write(tmp_path / "a", ""), tmp_path / "runs"
    short = sets("seeds=1", "epochs=1")
    run = ("run", "--plugin", file, "mine", *short, "--results", results)
    bench.ok(*run)
    assert "nothing to do" in bench(*run)[1]
    (record,) = (json.loads(p.read_text()) for p in results.glob("*/mine-*/record.json"))
    assert re.fullmatch(r"[0-9a-f]{12}", record["spec"]["plugin"])
    moved = write(tmp_path / "b", "")
    assert "nothing to do" in bench("run", "--plugin", moved, *run[3:])[1]  # wherever it lies
    file.write_text(file.read_text() + "# changed\n")
    assert "1 missing" in bench.ok("plan", "--plugin", file, "mine", *short, "--results", results)
    bench.ok(*run)
    out = bench.ok("leaderboard", "--results", results)  # without the plug-in: records are enough
    assert out.count("mine(\n") + out.count("mine ") >= 2 and "file=" in out
    publish = ("publish", "--results", results, "--published-in", tmp_path / "pub")
    code, out, err = bench(*publish, "--all", "--force")  # one's own is published only by name
    assert code == 2 and "no finished run to publish" in err and "left out 2 runs" in out
    bench.ok(*publish, *(path.parent.name for path in results.glob("*/*/record.json")))
    for check in ([], ["--check"]):
        bench.ok("leaderboard", "--published", *check, "--published-in", tmp_path / "pub")
    code, _, err = bench("plan", "mine", *sets(), "--results", results)
    assert code == 2 and "unknown plan or method 'mine'" in err


INIT = "    def __init__(self, problem: Problem%s) -> None:\n        super().__init__(problem)\n"
FOUND = "        found = super().losses(batch, progress)\n"
LOSSES = f"    def losses(self, batch, progress):\n{FOUND}        return "
EXTRA = f"{LOSSES}Losses(found.tasks, {{'x': %s}})\n"
PREDICT = "    def predict(self, images):\n        found = super().predict(images)\n        return "
NAN = "Losses({k: v / (batch.labelled.sum() > 0) for k, v in found.tasks.items()})\n"
CHANCE = "__import__('random').random() * self.encoder(batch.images).mean()"
COUNT = "    count = 0\n" + EXTRA.replace(FOUND, f"        self.count += 1\n{FOUND}")
PSEUDO = (
    "__import__('methods.losses').losses.per_sample_loss(self.problem.tasks['normals'], "
    "self.predict(batch.images)['normals'], 3 * self.predict(batch.images)['normals'].detach()).mean()"
)
NOISE = "{k: v + (0 if self.training else torch.rand(())) for k, v in found.items()}\n"
MEAN = "{k: v if self.training else v - v.mean() for k, v in found.items()}\n"
HALF = "found if self.training else {k: v[..., ::2] for k, v in found.items()}\n"
BROKEN = {
    "keyword": (INIT % ", weight: float = 1.0", "keywords", "weight of __init__ is not keyword-only"),
    "no task": (LOSSES + "Losses({'semseg': found.total()})\n", "a first step",
                r"losses\(\) names \['semseg'\] as tasks"),
    "dict": (LOSSES + "found.tasks\n", "a first step",
             r"losses\(\) returns a dict; it must return Losses\("),
    "raises": ("    def losses(self, batch, progress):\n        raise ValueError('not today')\n",
               "a first step", r"ValueError: not today \(line 11 of mine.py\)"),
    "loose parameter": (INIT % "" + "        self.token = nn.Parameter(torch.zeros(3))\n", "a first step",
                        "no reset_parameters.*put them into a module that defines it"),
    "nan": (LOSSES + NAN, "any labels", "not finite where no sample has a label"),
    "sync": (LOSSES + "found if found.total().item() < 1e9 else found\n", "no look at data",
             r"item\(\) waits for the device .*; compute with tensors"),
    "numpy": (LOSSES + "found if found.total().detach().cpu().numpy() < 1e9 else found\n", "no look at data",
              r"cpu\(\) waits for the device"),
    "list": (LOSSES + "found if batch.images.detach().tolist() else found\n", "no look at data",
             r"tolist\(\) waits for the device"),
    "views": ("    views = 0\n    def losses(self, batch, progress):\n        batch.views[0]\n",
              "a first step", "views = 0 gives 0 views: set views to as many as"),
    "pseudo": (EXTRA % PSEUDO, "pseudo targets", "have lengths from .*; divide them by their length"),
    "boolean index": (EXTRA % "batch.images[batch.labelled[:, 0]].sum() * 0", "no look at data",
                      "nonzero|indexes with booleans"),
    "chance": (EXTRA % CHANCE, "repeatable", "draw from torch's generator"),
    "attribute": (COUNT % "self.count * self.encoder(batch.images).mean()", "resumable",
                  "keep state in buffers"),
    "noise": (PREDICT + NOISE, "predictions", "another semseg the second time"),
    "batch": (PREDICT + MEAN, "predictions", "in another batch"),
    "shape": (PREDICT + HALF, "predictions", "in shape"),
    "inference": ("    def inference_modules(self):\n        return [self.encoder]\n", "state",
                  "inference_modules"),
}  # fmt: skip


def only_check(check: str, contract: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the other checks of a contract out, which the working subjects of other tests pass."""
    wanted = [each for each in contract.CHECKS if each.__name__ == check.replace(" ", "_")]
    monkeypatch.setattr(contract, "CHECKS", wanted or contract.CHECKS)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_named_with_its_reason(
    bench: Bench, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, check, reason = BROKEN[case]
    only_check(check, contract, monkeypatch)
    code, out, err = bench("check", write(tmp_path, body), "--json")
    assert code == 1, out + err
    found = {f["check"]: f["reason"] for f in json.loads(out) if not f["kept"]}
    assert check in found and re.search(reason, found[check]), found


def test_a_check_that_hangs_on_another_is_not_tried_where_that_fails() -> None:
    def fails(subject: None) -> None:
        raise Broken("no")

    def after(subject: None) -> None:
        raise AssertionError

    assert [f.check for f in findings((fails, after), None, needs={after: fails})] == ["fails"]
    names = [check.__name__ for check in contract.CHECKS]
    assert names.index("repeatable") < names.index("hidden_labels") < names.index("resumable")


def test_a_label_that_leaks_is_found(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the harness hides no method can see; a harness that forgot to would be told."""
    only_check("hidden labels", contract, monkeypatch)
    monkeypatch.setattr(torch.Tensor, "masked_fill", lambda self, mask, value: self)
    leak = EXTRA % "batch.targets['depth'].float().mean() * self.encoder(batch.images).mean()"
    file = write(tmp_path, leak)
    code, out, _ = bench("check", file, "--json")
    found = {f["check"]: f["reason"] for f in json.loads(out) if not f["kept"]}
    assert code == 1 and "labels that are not visible" in found["hidden labels"]


BASE = "__import__('methods.base').base"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("multi_task", "", "has the same name as the built-in method multi_task; rename it"),
        ("broken", "def (", r"broken.py, line 1\d cannot be imported \(SyntaxError"),
        ("bare", INIT % ", *, weight: float", "hyperparameter weight of the method bare lacks a type"),
        ("two", "\nclass Other(MultiTask):\n    pass\n", "defines 2 subclasses of Method"),
        ("asks", "\nraise SystemExit('wrong')\n", r"cannot be imported \(SystemExit: wrong\); correct"),
        ("null", "    x = '\0'\n", r"null.py cannot be imported \(SyntaxError: source code .*null bytes"),
        ("beside", "\nimport beside_it\n", r"beside.py cannot be imported \(ModuleNotFoundError: No module"),
        ("large", f"    version = {10**40}\n", "of Mine is not a whole number from 1 to 1000000"),
        ("fewer", "    views = -1\n", "views = -1 of Mine is not a whole number of at least 0"),
        ("kind", f"    views = {BASE}.ViewKind()\n", r"ViewKind\(.*\) of Mine is not a whole number"),
        ("shrill", f"    views = ({BASE}.ViewKind(colour=2),)\n", "colour must be .* below 1"),
        ("many", "    one_task = 'no'\n", "one_task = 'no' of Mine is not True or False"),
        ("mute", "    summary = None\n", "summary = None of Mine is not a text"),
    ],
)
def test_a_bad_file_is_named(bench: Bench, tmp_path: Path, name: str, text: str, message: str) -> None:
    assert re.search(message, bench.refused("check", write(tmp_path, text, name)))


def test_a_method_without_its_two_functions_is_told_which(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "bare.py"
    functions = "predict(self, images)", "losses(self, batch, progress)"
    for own, lacks in permutations(functions):
        file.write_text(f"from methods.base import Method\n\nclass Bare(Method):\n    def {own}: ...\n")
        for command in (("check", file), ("run", "--plugin", file, "bare")):
            assert f"Bare has no {lacks}; define it" in bench.refused(*command)
