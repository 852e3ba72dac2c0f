"""`bench publish` and `clean`: finished runs to published records, and to free space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark import ROOT
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.progress import make_console
from benchmark.execute.unpack import ENDINGS, unpack
from benchmark.files import dumps, read_json, replacing, write_json, writing
from benchmark.runs import digest, provenance
from benchmark.runs.rundir import RunDir, every_run

LIMITS = {".json": 16 * 1024, ".npz": 64 * 1024, ".webp": 60 * 1024}  # bytes of a published record's files
ARCHIVE_LIMIT = 512 * 2**20  # bytes of all that an archive of runs unpacks to: thousands of runs


class _Unwatched:
    """Nobody is told how far the unpacking is: it takes a moment."""

    def progress(self, what: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


@contextmanager
def _unpacked(results: Path) -> Iterator[Path]:
    """The folder of runs, also where an archive of one is named."""
    if not (results.is_file() and results.name.endswith(ENDINGS)):
        yield results
        return
    with TemporaryDirectory(prefix="bench-publish-") as place:
        folder = Path(place) / "runs"
        unpack(results, folder, _Unwatched(), ARCHIVE_LIMIT)
        # A single folder at the top of an archive is taken off, and it may be that of the only protocol.
        yield folder if every_run(folder) else Path(place)


def find(results: Path, name: str) -> RunDir:
    """The run that a name means: what `bench status` prints of it, its folder, its id or the start of its
    id.
    """
    runs = every_run(results)
    if Path(name).is_dir():
        runs = [r for r in runs if r.path.resolve() == Path(name).resolve()]
    else:
        runs = [
            r
            for r in runs
            if name in (r.name, f"{r.path.parent.name}/{r.name}")
            or r.name.rsplit("-", 1)[-1].startswith(name)
        ]
    if len(runs) != 1:
        found = "no run" if not runs else f"{len(runs)} runs"
        raise UserError(
            f"{name!r} names {found} in {results}; give an id, or a run as `bench status` prints it."
        )
    return runs[0]


def publish(
    names: list[str],
    everything: bool,
    results: Path,
    published: Path,
    rerun: bool = False,
    pictures: bool = True,
    as_json: bool = False,
) -> int:
    """Copy finished runs into `<published>/records`; pictures, where wanted, for one seed a method only.
    Trials, which held-out train images judged, go into `<published>/trials`, as records alone; `bench tune
    --rate` takes them up there.

    results: the folder of runs, or an archive of it. rerun: into `<published>/reruns`, second runs of what is
    in `records` already, without pictures.
    """
    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown), _unpacked(results) as here:
        console = make_console()
        runs = (
            [r for r in every_run(here) if r.state() == "done"]
            if everything
            else [find(here, n) for n in names]
        )
        if not runs:
            raise UserError(
                f"no finished run to publish in {results}; name runs, or give --all once `bench run` has "
                f"finished some."
            )
        records = published / "records"
        folder = published / "reruns" if rerun else records
        pictured = {} if rerun else _pictured(records)
        plans: list[tuple[Path, dict[str, Any], dict[str, Path]]] = []
        left_out = 0
        for run in runs:
            record = _finished(run)
            first = records / f"{record['id']}.json"
            if rerun and everything and not first.exists():
                left_out += 1
                continue
            trial = record["spec"]["protocol"]["judge"] != "test"
            files = {} if trial else {".npz": run.file("per_image.npz")}
            if files and not files[".npz"].is_file():
                raise UserError(
                    f"{files['.npz']} is missing; make the run again with `bench run ... --force`, or "
                    f"restore it."
                )
            if rerun:
                _second(run, record, first)
            elif (
                pictures
                and not trial
                and run.file("panel.webp").exists()
                and _first_of_its_row(record, pictured)
            ):
                files[".webp"] = run.file("panel.webp")
            # What is beside a record is named in it by content, so that files cannot be exchanged or lost
            # unnoticed.
            record = digest.sealed(
                record | {digest.FILES: {suffix: digest.of_file(path) for suffix, path in files.items()}}
            )
            for path, size in (
                (run.file("record.json"), len(dumps(record))),
                *((p, p.stat().st_size) for p in files.values()),
            ):
                limit = LIMITS[path.suffix] // 1024
                if size > LIMITS[path.suffix]:
                    raise UserError(
                        f"{path} has {size // 1024} KiB, more than the {limit} KiB of a published record."
                    )
            plans.append((published / "trials" if trial else folder, record, files))
        if not plans:
            raise UserError(
                f"no run in {results} is a second run of one in {records}; publish the first ones without "
                f"--rerun."
            )
        with writing(published):
            for place, record, files in plans:
                place.mkdir(parents=True, exist_ok=True)
                for suffix, path in files.items():
                    with replacing(place / f"{record['id']}{suffix}", "publish") as draft:
                        shutil.copyfile(path, draft)
                if ".webp" not in files:
                    (place / f"{record['id']}.webp").unlink(missing_ok=True)
                # The record last: its existence means that the rest is there.
                write_json(place / f"{record['id']}.json", record)
        where = " and ".join(sorted({str(place) for place, _, _ in plans}))
        console.print(
            f"published {len(plans)} runs in {where}; `bench report --published` makes tables, figures and "
            f"the page."
        )
        if left_out:
            console.print(f"left out {left_out} runs that are not in {records}.", soft_wrap=True)
        shown |= {"published": [record["id"] for _, record, _ in plans], "folder": where}
        return 0


def _finished(run: RunDir) -> dict[str, Any]:
    """The record of a run. Raises `UserError` unless it is finished and as the run wrote it."""
    if run.state() != "done":
        raise UserError(
            f"{run.name} is {run.state()}, and only finished runs can be published; finish it with `bench "
            f"run`."
        )
    path = run.file("record.json")
    record = read_json(path)
    if what := digest.edited(record):
        raise UserError(f"{path} was edited: its {what}; run it again with --force.")
    return record | {"environment": _vouched(record["environment"], run.name)}


def _vouched(environment: dict[str, Any], name: str) -> dict[str, Any]:
    """What a record says of its environment, "clean" where its run had no git to ask and its code is that of
    its commit.

    Raises `UserError` where it is not, or where this checkout cannot tell.
    """
    commit, said = environment.get("commit"), environment.get("code")
    if environment.get("dirty") is not None or not (
        commit and said
    ):  # git was asked, or nobody named a commit
        return environment
    code = provenance.code_at(str(commit))
    if code is None:
        raise UserError(
            f"{name} names the commit {commit}, which {ROOT} does not have, so its code cannot be checked; "
            f"fetch that commit, or "
            f"publish from a checkout that has it."
        )
    if said != code:
        raise UserError(
            f"{name} was computed by code with the hash {said}, and that of its commit {commit} has {code}; "
            f"make the run again "
            f"from a clean copy of the commit that {provenance.COMMIT} names."
        )
    return environment | {"dirty": False}


def _second(run: RunDir, record: dict[str, Any], first: Path) -> None:
    """Raise `UserError` unless a record is a second run of a published one."""
    from benchmark.report.reruns import not_another

    if not first.exists():
        raise UserError(
            f"{run.name} is no second run: {first} is not there; publish the first run without --rerun."
        )
    if reason := not_another(read_json(first), record):
        raise UserError(
            f"{run.name} is no second run of {first}: it {reason}; make the run again in another results "
            f"folder."
        )


def _first_of_its_row(record: dict[str, Any], pictured: dict[str, str]) -> bool:
    """Whether its pictures stand for all seeds of its row: those of the first that has any."""
    return bool(pictured.setdefault(_but_seed(record["spec"]), record["id"]) == record["id"])


def _but_seed(spec: dict[str, Any]) -> str:
    """What the seeds of one method have in common."""
    return json.dumps(
        {k: v for k, v in spec.items() if k not in ("label_seed", "train_seed")}, sort_keys=True
    )


def _pictured(records: Path) -> dict[str, str]:
    """{what its seeds have in common: id} of each method that is published with the pictures of one seed."""
    published = [path.with_suffix(".json") for path in sorted(records.glob("*.webp"))]
    found = [read_json(path) for path in published if path.exists()]
    return {_but_seed(record["spec"]): record["id"] for record in found}


def clean(names: list[str], results: Path, yes: bool, as_json: bool = False) -> int:
    """Show what takes space in run folders and, with `yes`, delete checkpoints and weights of finished and
    failed runs.

    With `names`, those runs go altogether, whatever their state, unless they are running.
    """
    rows: list[dict[str, Any]] = []
    shown: dict[str, Any] = {"runs": rows}
    with for_scripts(as_json, shown):
        console = make_console()
        total = 0
        for run in [find(results, n) for n in names] if names else every_run(results):
            state = run.state()
            if state == "running" or (state == "stale" and not names):
                continue  # its checkpoint is what it resumes from
            files = (
                [run.path]
                if names
                else [f for f in (run.file("checkpoint.pt"), run.file("weights.pt")) if f.exists()]
            )
            size = sum(
                f.stat().st_size
                for top in files
                for f in (top.rglob("*") if top.is_dir() else [top])
                if f.is_file()
            )
            if not files:
                continue
            total += size
            rows.append({"run": str(run.path.relative_to(results)), "state": state, "bytes": size})
            console.print(f"{size / 2**20:8.1f} MiB  {state:7} {rows[-1]['run']}", soft_wrap=True)
            if yes:
                with writing(run.path):
                    for file in files:
                        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        what = "freed" if yes else "can be freed with --yes"
        kept = "" if names else "; records, curves and pictures stay"
        console.print(f"{total / 2**20:8.1f} MiB {what}{kept}.")
        shown |= {"bytes": total, "deleted": yes}
        return 0
