"""Which code computed a run: by git, or by a commit's name and a hash that publishing compares."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.runs import provenance, schema
from tests.benchmark.report import make
from tests.conftest import Bench

NONE = "0" * 40


def git(folder: Path, *arguments: str) -> str:
    own = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run([*own, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def publish(bench: Bench, archive: Path) -> tuple[int, str, str]:
    """Publish all runs of an archive into the folder `public` beside it."""
    place = archive.parent / "public"
    return bench("publish", "--all", "--force", "--results", archive, "--published-in", place)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Take a folder for the checkout that the program runs in."""

    def take(folder: Path) -> None:
        monkeypatch.setattr(provenance, "ROOT", folder)
        for cached in (provenance._commit, provenance.code_here, provenance.code_at):
            cached.cache_clear()

    here = provenance.ROOT
    yield take
    take(here)


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Path, str]:
    """A folder of code under git, and its commit."""
    folder = tmp_path / "checkout"
    names = "benchmark/a.py benchmark/deep/b.toml methods/m.py datasets/d.py pyproject.toml README.md"
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")
    git(tmp_path, "init", "--quiet", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return folder, git(folder, "rev-parse", "HEAD")


def test_checkout_and_commit_have_one_hash(checkout: tuple[Path, str], at: Callable[[Path], None]) -> None:
    folder, commit = checkout
    at(folder)
    clean = provenance.code_here()
    assert provenance.code_at(commit) == clean and provenance._commit() == (commit, False)
    (folder / "benchmark" / "__pycache__").mkdir()
    (folder / "benchmark" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (folder / "benchmark" / ".a.py.swp").write_bytes(b"x")
    (folder / "README.md").write_text("other words")
    at(folder)
    assert provenance.code_here() == clean


@pytest.mark.parametrize("change", ["edit", "new", "moved"])
def test_changed_code_changes_it(change: str, checkout: tuple[Path, str], at: Callable[[Path], None]) -> None:
    folder, commit = checkout
    if change == "moved":
        (folder / "methods" / "m.py").rename(folder / "methods" / "n.py")
    else:
        (folder / "methods" / ("m.py" if change == "edit" else "n.py")).write_text("x = 1\n")
    at(folder)
    assert provenance.code_here() != provenance.code_at(commit) and provenance._commit() == (commit, True)


@pytest.mark.parametrize("commit", [NONE, "HEAD", "--output=evil", ""])
def test_other_names_have_none(commit: str, checkout: tuple[Path, str], at: Callable[[Path], None]) -> None:
    at(checkout[0])
    assert provenance.code_at(commit) is None
    assert not (checkout[0] / "evil").exists()


def test_without_a_git_folder_the_commit_is_told(
    checkout: tuple[Path, str], at: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, commit = checkout
    copy = folder / "copy"  # below a folder under git that is not its own
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git", "copy"))
    at(copy)
    monkeypatch.setenv("BENCH_COMMIT", commit)
    said = provenance.environment("cpu", 1)
    at(folder)
    assert (said["commit"], said["dirty"], said["code"]) == (commit, None, provenance.code_at(commit))
    at(copy)
    monkeypatch.delenv("BENCH_COMMIT")
    assert provenance._commit() == (None, None)
    at(copy)
    monkeypatch.setenv("BENCH_COMMIT", "main")
    with pytest.raises(UserError, match="BENCH_COMMIT is 'main'; give a commit in full"):
        provenance._commit()


def runs(folder: Path, top: str, **environment: Any) -> Path:
    """An archive of two runs, the folder of their protocol in the folder `top`."""
    for seed in (0, 1):
        record = make.record(make.spec("mtpsl", seed))
        record["environment"] |= environment
        path = make.write_run(folder / "runs", schema.sealed(record))
        path.with_name("weights.pt").write_bytes(b"no")
    archive = folder / "records.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "runs", top)
    shutil.rmtree(folder / "runs")
    return archive


@pytest.mark.parametrize("top", ["runs", "."])
def test_an_archive_of_runs_is_published(top: str, bench: Bench, tmp_path: Path) -> None:
    archive, public = runs(tmp_path, top), tmp_path / "public"
    code, out, err = publish(bench, archive)
    assert code == 0 and "published 2 runs" in out, err
    records = [json.loads(path.read_text()) for path in sorted((public / "records").glob("*.json"))]
    assert {r["spec"]["label_seed"] for r in records} == {0, 1}
    for record in records:
        schema.check_beside(public / "records" / f"{record['id']}.json", record, "publish it again")
    assert {p.suffix for p in (public / "records").iterdir()} == {".json", ".npz", ".webp"}
    assert {p.name for p in tmp_path.iterdir()} == {archive.name, "public"}  # nothing is left beside it
    one = ["publish", records[0]["id"][:8], "--results", archive, "--published-in", tmp_path / "other"]
    assert "published 1 runs" in bench(*one)[1]


def test_an_archive_that_leads_out_is_refused(bench: Bench, tmp_path: Path) -> None:
    archive = tmp_path / "records.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../evil")
        tar.addfile(member, io.BytesIO())
    code, _, err = publish(bench, archive)
    assert code == 2 and f"{archive} holds '../evil', which leads out of its folder" in err


def test_runs_of_a_copy_are_published_as_clean_when_their_code_is_that_of_the_commit(
    bench: Bench, tmp_path: Path, checkout: tuple[Path, str], at: Callable[[Path], None]
) -> None:
    folder, commit = checkout
    at(folder)
    archive = runs(tmp_path, "runs", commit=commit, dirty=None, code=provenance.code_at(commit))
    assert publish(bench, archive)[0] == 0
    for path in (tmp_path / "public" / "records").glob("*.json"):
        record = json.loads(path.read_text())
        assert record["environment"]["dirty"] is False and record["digest"] == schema.digest_of(record)
        assert record["environment"]["code"] == provenance.code_at(commit)


@pytest.mark.parametrize("wrong", ["code", "commit"])
def test_and_else_refused(
    wrong: str, bench: Bench, tmp_path: Path, checkout: tuple[Path, str], at: Callable[[Path], None]
) -> None:
    folder, commit = checkout
    at(folder)
    said = {"commit": commit, "code": str(provenance.code_at(commit)), "dirty": None}
    archive = runs(tmp_path, "runs", **said | ({"code": "f" * 16} if wrong == "code" else {"commit": NONE}))
    code, _, err = publish(bench, archive)
    assert code == 2 and not (tmp_path / "public").exists() and err.count("\n") == 1
    assert ("make the run again" if wrong == "code" else "fetch that commit") in err
