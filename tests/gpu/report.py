"""The files that a first run leaves, made anew after every stage and run from its work folder."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.cli import perf
from tests.gpu.stages import read_lines, read_perf

TEXT, VALUES, LOG, RECORDS = "first-run.txt", "first-run.json", "log.txt", "records.tar.gz"
MEASURED = ("perf", "peers", "evaluation")  # stages of `bench perf`
LOG_BYTES = 2**20  # of the end of what all commands said
ARCHIVE_BYTES = 15 * 2**20
OVERHEAD = 2048  # of a file in an archive, at most: its header and what fills its last block
KEPT = ("spec.json", "per_image.npz", "record.json")  # of a run, beside its pictures; never weights
Columns = dict[str, tuple[str, str]]  # {header: (key, pattern)}
STAGES: Columns = {
    "stage": ("name", "{}"), "s": ("seconds", "{:.0f}"), "outcome": ("outcome", "{}"),
    "what": ("title", "{}"),
}  # fmt: skip
RUNS: Columns = {
    "run": ("run", "{}"), "metrics": ("metrics", "{}"), "s": ("seconds", "{:.0f}"),
    "evaluation s": ("evaluation_seconds", "{:.1f}"), "images/s": ("images_per_second", "{:.0f}"),
    "peak GiB": ("peak_gib", "{:.2f}"), "captured": ("captured", "{}"),
}  # fmt: skip


class Report:
    """out: the files' folder. machine: what it is. stages: {name, title, outcome, seconds}."""

    def __init__(self, out: Path, work: Path, machine: dict[str, Any]) -> None:
        self.out, self.work, self.machine = out, work, machine
        self.stages: list[dict[str, Any]] = []

    def write(self) -> None:
        """Each file takes the place of the one before in one step."""
        self.out.mkdir(parents=True, exist_ok=True)
        archived = self._archive()
        values = self._values() | {"records": archived}
        files = {TEXT: self._text(values).encode(), VALUES: (json.dumps(values, indent=1) + "\n").encode()}
        log = self.work / LOG
        if log.exists():
            files[LOG] = log.read_bytes()[-LOG_BYTES:]
        for name, content in files.items():
            _replace(self.out / name, content)

    def _values(self) -> dict[str, Any]:
        measured = {name: read_perf(self.work / name) for name in MEASURED}
        tests = read_lines(self.work / "tests.jsonl")
        head = {"machine": self.machine, "stages": self.stages, "tests": tests}
        return head | measured | {"runs": self._runs()}

    def _runs(self) -> list[dict[str, Any]]:
        found = []
        for path in self._finished():
            record = json.loads((path / "record.json").read_text(encoding="utf-8"))
            shown = {t: record["metrics"][t][kind["metric"]] for t, kind in record["tasks"].items()}
            texts = (f"{task} {'-' if v is None else format(v, '.4g')}" for task, v in shown.items())
            keys = ("seconds", "evaluation_seconds", "images_per_second", "peak_gib", "captured")
            cost = {key: record["cost"][key] for key in keys}
            found.append({"run": path.name, "metrics": ", ".join(texts)} | cost)
        return found

    def _finished(self) -> list[Path]:
        """Folders of finished runs, in the order in which they finished."""
        files = self.work.glob("runs/*/*/record.json")
        return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def _archive(self) -> dict[str, int]:
        """Write the records, and pictures where there is room; how many are in it, and how many are not."""
        runs, room = self._finished(), ARCHIVE_BYTES
        chosen: list[Path] = []
        inside = 0
        for names in (KEPT, ("panel.webp",)):
            for run in runs:
                files = [run / name for name in names if (run / name).exists()]
                size = sum(path.stat().st_size + OVERHEAD for path in files)
                if size > room or (names != KEPT and run / "record.json" not in chosen):
                    continue
                room -= size
                chosen += files
                inside += names == KEPT
        if chosen:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as tar:
                for path in chosen:
                    entry = tarfile.TarInfo(f"runs/{path.relative_to(self.work / 'runs')}")
                    entry.size = path.stat().st_size
                    with path.open("rb") as file:
                        tar.addfile(entry, file)
            _replace(self.out / RECORDS, content.getvalue())
        return {"runs": inside, "left_out": len(runs) - inside}

    def _text(self, values: dict[str, Any]) -> str:
        m = values["machine"]
        state = {True: ", with changes", False: "", None: ", which its code is checked against on publishing"}
        free = f", {m['free_gib']:.0f} of {m['total_gib']:.0f} GiB free" if "free_gib" in m else ""
        parts = [
            f"{m.get('device')}, torch {m['torch']}, Python {m['python']}, {m['cores']} cores{free}",
            f"commit {m['commit']}{state[m['dirty']]}" if m["commit"] else "no commit is known",
            f"code {m['code']}" + (f"; {m['wheels']}" if "wheels" in m else ""),
            table(STAGES, values["stages"]),
        ]
        if tests := values["tests"]:
            outcomes = [test["outcome"] for test in tests]
            counts = (f"{outcomes.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))
            parts.append("tests: " + ", ".join(counts))
            parts += [f"  failed: {t['test']}: {t['why']}" for t in tests if t["outcome"] == "failed"]
        for stage in MEASURED:
            if rows := values[stage]:
                parts.append(f"{stage}\n{aligned(perf.lines(rows))}")
        if values["runs"]:
            parts.append(f"runs that finished, in their order\n{table(RUNS, values['runs'])}")
            left = values["records"]["left_out"]
            none = f"; {left} found no room" if left else ""
            parts.append(f"{RECORDS} holds {values['records']['runs']} of them{none}")
        return "\n\n".join(parts) + "\n"


def table(columns: Columns, rows: Sequence[dict[str, Any]]) -> str:
    """Columns of plain text."""
    lines = [[pattern.format(row[key]) if row[key] is not None else "-" for key, pattern in columns.values()]
             for row in rows]  # fmt: skip
    return aligned([list(columns), *lines])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of plain text whose columns have one width each."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
