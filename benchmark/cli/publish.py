"""`bench publish`: finished runs to published records."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmark import ROOT
from benchmark.cli.options import RESULTS, RUNS, Answer, Results, home, say
from benchmark.errors import UserError
from benchmark.files import dumps, replacing, write_json, writing
from benchmark.runs import provenance
from benchmark.runs.rundir import RunDir, every_run, find_run
from benchmark.runs.schema import file_digest, read_record, sealed
from benchmark.spec import registry

PublishedHere = Annotated[
    Path | None,
    typer.Option("--published-in", help="Folder of published records.", show_default=False, callback=home),
]
LIMITS = {".json": 16 * 1024, ".npz": 64 * 1024, ".webp": 60 * 1024}  # bytes of a published record's files
ARCHIVE_LIMIT = 512 * 2**20  # bytes of all that an archive of runs unpacks to: thousands of runs


@contextmanager
def _unpacked(results: Path) -> Iterator[Path]:
    """Give the folder of runs, also where an archive of one is named."""
    from benchmark.execute.fetch import ENDINGS, unpack

    if not (results.is_file() and results.name.endswith(ENDINGS)):
        yield results
        return
    with TemporaryDirectory(prefix="bench-publish-") as place:
        folder = Path(place) / "runs"
        unpack(results, folder, limit=ARCHIVE_LIMIT)
        # A single folder at the top of an archive is taken off, and it may be that of the only protocol.
        yield folder if every_run(folder) else Path(place)


def publish(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or folder names of finished runs.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every finished run, but of data or methods of your own.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what is published, and with --all add.")
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="As second runs of what is published already.")
    ] = False,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Without test images, for licences that ask it.")
    ] = False,
    results: Results = RUNS,
    published_in: PublishedHere = None,
) -> Answer:
    """Copy finished runs, from a folder or an archive (.tar.gz) of one, into a folder of published records.

    Whatever it would replace, and with --all whatever it would add, it lists first and leaves to --force.
    """
    # Records go into `records`, second runs into `reruns`, and trials, which held-out train images judged, as
    # records alone into `trials`, where `bench tune --rate` takes them up. Pictures: of one seed a method.
    if published_in is None:
        raise UserError(f"--published-in is missing; name the folder to publish in, such as {RESULTS}.")
    if everything == bool(names):
        raise UserError("name the runs to publish, as `bench status` prints them or by id, or give --all.")
    with _unpacked(results) as here:
        runs = [find_run(here, name) for name in names or []]
        if everything:
            done = [run for run in every_run(here) if run.state() == "done"]
            there = [*published_in.glob("records/*.json"), *published_in.glob("trials/*.json")]
            known = {_variant(read_record(path)["spec"]) for path in there}
            own = [run for run in done if _own(_finished(run)["spec"], known)]
            runs = [run for run in done if run not in own]
            if own:
                what = f"{len(own)} runs of data, labels or methods of your own, such as {own[0].name}"
                say(f"left out {what}; name those that are to be published.")
        if not runs:
            raise UserError(
                f"no finished run to publish in {results}; name runs, or give --all once some are."
            )
        records = published_in / "records"
        pictured = _pictured(records)
        plans: list[tuple[Path, dict[str, Any], dict[str, Path]]] = []
        for run in runs:
            record = _finished(run)
            first = records / f"{record['id']}.json"
            if rerun and everything and not first.exists():
                continue
            if rerun:
                _check_second(run, record, first)
            trial = record["spec"]["protocol"]["judge"] != "test"
            place = published_in / ("trials" if trial else "reruns" if rerun else "records")
            arrays, panel = run.file("per_image.npz"), run.file("panel.webp")
            if not trial and not arrays.is_file():
                raise UserError(f"{arrays} is missing; make the run again with --force, or restore it.")
            files = {} if trial else {".npz": arrays}
            # Pictures of the first seed that has any stand for all seeds of a row.
            wanted = not (trial or rerun or no_pictures) and panel.exists()
            if wanted and pictured.setdefault(_but_seed(record["spec"]), record["id"]) == record["id"]:
                files[".webp"] = panel
            # What is beside a record is named in it by content, so that no file is exchanged or lost.
            named = {suffix: file_digest(path) for suffix, path in files.items()}
            record = sealed(record | {"files": named})
            sizes = {run.file("record.json"): len(dumps(record))}
            for path, size in (sizes | {path: path.stat().st_size for path in files.values()}).items():
                if size > (limit := LIMITS[path.suffix]):
                    raise UserError(
                        f"{path} has {size} bytes; those of published records have at most {limit}."
                    )
            plans.append((place, record, files))
        if not plans:
            raise UserError(
                f"no run in {results} is a second run of one in {records}; publish the first ones without "
                "--rerun."
            )
        if len(plans) < len(runs):
            say(f"left out {len(runs) - len(plans)} runs that are not in {records}.")
        verbs = [_verb(place / f"{record['id']}.json", record) for place, record, _ in plans]
        counts = ", ".join(f"{verbs.count(verb)} to {verb}" for verb in ("add", "replace", "leave"))
        if not force and ("replace" in verbs or (everything and "add" in verbs)):
            for verb, (place, record, _) in zip(verbs, plans, strict=True):
                say(f"would {verb} {place / record['id']}.json: {_words(record['spec'])}")
            say(f"nothing was published ({counts}); the same command with --force does it.")
            return 1, {"published": [], "folder": None}
        with writing(published_in):
            for place, record, files in plans:
                _write(place, record, files)
        where = " and ".join(sorted({str(place) for place, _, _ in plans}))
        at = "" if published_in == RESULTS else f" --published-in {shlex.quote(str(published_in))}"
        say(f"published {len(plans)} runs in {where} ({counts}); next: `bench report --published{at}`.")
        return 0, {"published": [record["id"] for _, record, _ in plans], "folder": where}


def _variant(spec: dict[str, Any]) -> tuple[str, str]:
    return spec["dataset"], spec["variant"]


def _own(spec: dict[str, Any], known: set[tuple[str, str]]) -> bool:
    """Tell whether a run is of the user's own data, labels or method, which a name must ask for.

    known: data sets and variants that are published there already.
    """
    if spec.get("plugin"):
        return True
    for part, variant in zip(spec["dataset"].split("+"), spec["variant"].split("+"), strict=False):
        try:
            kind: Any = registry.dataset(part)
        except UserError:  # a plug-in's that is not in use
            return True
        if not kind.__module__.startswith("datasets.") or getattr(kind, "private", False):
            return True
        papers = getattr(kind, "forms", None) or kind(Path()).variants
        if not (variant.partition(":")[0] in papers or _variant(spec) in known):
            return True
    return False


def _verb(file: Path, record: dict[str, Any]) -> str:
    """Return what publishing does to a record's file."""
    if not file.exists():
        return "add"
    return "leave" if file.read_text(encoding="utf-8", errors="replace") == dumps(record) else "replace"


def _words(spec: dict[str, Any]) -> str:
    seeds = f"seeds {spec['label_seed']}, {spec['train_seed']}"
    return (
        f"{spec['method']} under {spec['protocol']['name']} on {spec['variant']}, {spec['labels']}, {seeds}"
    )


def _write(place: Path, record: dict[str, Any], files: dict[str, Path]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for suffix, path in files.items():
        with replacing(place / f"{record['id']}{suffix}", "publish") as draft:
            shutil.copyfile(path, draft)
    if ".webp" not in files:
        (place / f"{record['id']}.webp").unlink(missing_ok=True)
    # The record last: its existence means that the rest is there.
    write_json(place / f"{record['id']}.json", record)


def _finished(run: RunDir) -> dict[str, Any]:
    """Return the record of a run. Raises `UserError` unless it is finished and as the run wrote it."""
    if run.state() != "done":
        raise UserError(f"{run.name} is {run.state()}; finish it with `bench run` before publishing it.")
    record = read_record(run.file("record.json"), cure="run it again with --force")
    environment = record["environment"]
    commit, code = environment.get("commit"), environment.get("code")
    if environment.get("dirty") is not None or not (commit and code):  # git was asked, or no commit was named
        return record
    # A copy of the code without git: clean where it is that of the commit it names.
    committed = provenance.code_at(str(commit))
    if committed is None:
        raise UserError(
            f"{run.name} names the commit {commit}, which {ROOT} does not have; fetch that commit, or "
            "publish from a checkout that has it."
        )
    if code != committed:
        raise UserError(
            f"{run.name} was computed by code with the hash {code}, and that of its commit {commit} has "
            f"{committed}; make the run again from a clean copy of the commit."
        )
    return record | {"environment": environment | {"dirty": False}}


def _check_second(run: RunDir, record: dict[str, Any], first: Path) -> None:
    """Raise `UserError` unless a record is a second run of a published one."""
    from benchmark.report.reruns import not_another

    if not first.exists():
        raise UserError(
            f"{run.name} is no second run: {first} is not there; publish the first run without --rerun."
        )
    if reason := not_another(read_record(first), record):
        raise UserError(f"{run.name} is no second run of {first}: it {reason}; run it in another folder.")


def _but_seed(spec: dict[str, Any]) -> str:
    same = {key: value for key, value in spec.items() if key not in ("label_seed", "train_seed")}
    return json.dumps(same, sort_keys=True)


def _pictured(records: Path) -> dict[str, str]:
    """Return {spec but for its seeds: id} of the records that are published with pictures."""
    published = [path.with_suffix(".json") for path in sorted(records.glob("*.webp"))]
    found = [read_record(path) for path in published if path.exists()]
    return {_but_seed(record["spec"]): record["id"] for record in found}
