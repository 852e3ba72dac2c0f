"""The files that a first run leaves, made anew after every stage and every run from what lies in its work
folder.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.gpu.stages import read_lines, read_perf

TEXT, VALUES, LOG, RECORDS = "first-run.txt", "first-run.json", "log.txt", "records.tar.gz"
LOG_BYTES = 2**20  # of the end of what all commands said
ARCHIVE_BYTES = 15 * 2**20
OVERHEAD = 2048  # of a file in an archive, at most: its header and what fills its last block
KEPT = ("spec.json", "per_image.npz", "record.json")  # of a run, beside its pictures; never weights
Columns = dict[str, tuple[str, str]]  # {header: (key, pattern)}
STUDIES: dict[str, Columns] = {
    "methods": {
        "method": ("name", "{}"), "ms": ("ms", "{:.1f}"), "images/s": ("images_per_second", "{:.1f}"),
        "x baseline": ("relative", "{:.2f}"), "GFLOP/s": ("gflops", "{:.0f}"), "of ceiling": ("of_ceiling",
        "{:.0%}"),
        "overhead": ("overhead", "{:.1%}"), "feed": ("feed_share", "{:.1%}"), "peak GiB": ("peak_gib",
        "{:.2f}"),
        "captured": ("captured_gain", "{:.2f}x faster"), "why not": ("reason", "{}"),
    },
    "peers": {
        "peer": ("peer", "{}"), "ours": ("precision", "{}"), "images/s": ("images_per_second", "{:.1f}"),
        "fp32 images/s": ("peer_fp32", "{:.1f}"), "x fp32": ("times_fp32", "{:.1f}"),
        "TF32 images/s": ("peer_tf32", "{:.1f}"),
        "x TF32": ("times_tf32", "{:.1f}"), "peak GiB": ("peak_gib", "{:.1f}"), "theirs GiB": ("peer_gib",
        "{:.1f}"),
    },
    "evaluation": {
        "method": ("name", "{}"), "images": ("images", "{}"), "s": ("seconds", "{:.2f}"),
        "images/s": ("images_per_second", "{:.0f}"), "of that prediction": ("prediction_share", "{:.0%}"),
    },
}  # fmt: skip
RUNS: Columns = {
    "run": ("run", "{}"), "metrics": ("metrics", "{}"), "s": ("seconds", "{:.0f}"),
    "s at last": ("evaluation", "{:.1f}"),
    "images/s": ("images_per_second", "{:.0f}"), "peak GiB": ("peak_gib", "{:.2f}"), "captured": ("captured",
    "{}"),
}  # fmt: skip


class Report:
    """out: the folder of the files. machine: what it is. stages: {name, title, outcome, seconds} of those
    that began or ended.
    """

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
        measured = {name: read_perf(self.work / name) for name in ("perf", "peers", "evaluation")}
        tests = read_lines(self.work / "tests.jsonl")
        return {
            "machine": self.machine,
            "stages": self.stages,
            "tests": tests,
            **measured,
            "runs": self._runs(),
        }

    def _runs(self) -> list[dict[str, Any]]:
        found = []
        for path in self._finished():
            record = json.loads((path / "record.json").read_text(encoding="utf-8"))
            metrics = {
                task: record["metrics"][task][about["metric"]] for task, about in record["tasks"].items()
            }
            cost = record["cost"]
            shown = ", ".join(
                f"{task} {'-' if value is None else format(value, '.4g')}" for task, value in metrics.items()
            )
            found.append({
                "run": path.name, "metrics": shown, "seconds": cost["seconds"],
                "evaluation": cost["evaluation_seconds"],
                "images_per_second": cost["images_per_second"], "peak_gib": cost["peak_gib"],
                "captured": cost["captured"],
            })  # fmt: skip
        return found

    def _finished(self) -> list[Path]:
        """Folders of finished runs, in the order in which they finished."""
        files = self.work.glob("runs/*/*/record.json")
        return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def _archive(self) -> dict[str, int]:
        """Write the records, and pictures where there is room; how many are in it, and how many found no
        room.
        """
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
        state = {
            True: ", with changes",
            False: "",
            None: ", which its code is checked against when runs are published",
        }
        parts = [
            f"{m.get('device')}, torch {m['torch']}, Python {m['python']}, {m['cores']} cores"
            + (f", {m['free_gib']:.0f} of {m['total_gib']:.0f} GiB free" if "free_gib" in m else ""),
            f"commit {m['commit']}{state[m['dirty']]}" if m["commit"] else "no commit is known: BENCH_COMMIT "
                                                                           "names none",
            f"code {m['code']}" + (f"; {m['wheels']}" if "wheels" in m else ""),
            table({"stage": ("name", "{}"), "s": ("seconds", "{:.0f}"), "outcome": ("outcome", "{}"),
            "what": ("title", "{}")},
                  values["stages"]),
        ]  # fmt: skip
        if tests := values["tests"]:
            counts = {
                outcome: sum(t["outcome"] == outcome for t in tests)
                for outcome in ("passed", "failed", "skipped")
            }
            parts.append("tests: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
            parts += [f"  failed: {t['test']}: {t['why']}" for t in tests if t["outcome"] == "failed"]
        for stage, study in (
            ("perf", "methods"),
            ("peers", "methods"),
            ("peers", "peers"),
            ("evaluation", "evaluation"),
        ):
            found = [(item, studies[study]) for item, studies in values[stage].items() if study in studies]
            if rows := [{"item": item} | row for item, one in found for row in one["rows"]]:
                own = {"item": ("item", "{}")} if stage == "peers" else {}
                parts.append(f"{stage}: {found[0][1]['title']}\n{table(own | STUDIES[study], rows)}")
        if values["runs"]:
            parts.append(f"runs that finished, in their order\n{table(RUNS, values['runs'])}")
            left = values["records"]["left_out"]
            parts.append(
                f"{RECORDS} holds {values['records']['runs']} of them"
                + (f"; {left} found no room" if left else "")
            )
        return "\n\n".join(parts) + "\n"


def table(columns: Columns, rows: Sequence[dict[str, Any]]) -> str:
    """Columns of plain text; those that no row has a value for are left out."""
    shown = {
        header: how for header, how in columns.items() if any(row.get(how[0]) is not None for row in rows)
    }
    lines = [list(shown)]
    for row in rows:
        lines.append(
            ["-" if row.get(key) is None else pattern.format(row[key]) for key, pattern in shown.values()]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
