"""A first run on a machine with a GPU, with nothing to decide: `tests/gpu/run.sh [SECONDS]`; README.md beside
this says more.

Exit codes: 0 every stage ended well, 1 some did not, 2 bad input, 3 there is no CUDA GPU, 130 stopped from
outside.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu.report import LOG, Report
from tests.gpu.shell import Overrun, Shell
from tests.gpu.stages import PYTHON, ROOT, STAGES, Context, Failed, LeftOut, Stage

RESERVE_SECONDS = 3.0  # at the end, for the files
START_SECONDS = 120.0  # for wheels and for a look at the machine
BAD_INPUT, NO_CUDA = 2, 3


def main(arguments: Sequence[str], stages: Sequence[Stage] = STAGES) -> int:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="tests/gpu/run.sh", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=480.0, help="in all (default 480)")
    parser.add_argument("--cpu", action="store_true", help="try the way through on the CPU, at tiny sizes")
    given = parser.parse_args(arguments)
    device = "cpu" if given.cpu else "cuda"
    with TemporaryDirectory(prefix="bench-gpu-") as place:
        work = Path(place)
        shell = Shell(work / LOG, _environment(work), ROOT)
        said = _wheels(shell, work)
        machine = _machine(shell, work, device)
        if "refused" in machine:
            print(f"a first run could not look at the machine: {machine['refused']}", file=sys.stderr)
            return BAD_INPUT
        if device == "cuda" and not machine["cuda"]:
            why = f"torch {machine['torch']} sees none); --cpu tries the way through."
            print(f"a first run needs a CUDA GPU, and there is none here ({why}", file=sys.stderr)
            return NO_CUDA
        out = ROOT / os.environ.get("BENCH_GPU_OUT", "runs/gpu")
        report = Report(out, work, machine | ({"wheels": said} if said else {}))
        data = os.environ.get("BENCH_DATA")
        plan = os.environ.get("BENCH_GPU_PLAN") or "nyuv2-small"
        source = (ROOT / data).resolve() if data else None
        context = Context(device, work, source, plan, machine, shell, report.write)
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            fine = carry_out(stages, context, report, began, given.seconds)
        except KeyboardInterrupt:
            return 130
        finally:
            signal.signal(signal.SIGTERM, before)
            report.write()
        print(f"wrote {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")
        return 0 if fine else 1


def carry_out(
    stages: Sequence[Stage], context: Context, report: Report, began: float, seconds: float
) -> bool:
    """Each stage within its share of the seconds, or within what is left; whether all ended well."""
    end, fine = began + seconds - RESERVE_SECONDS, True
    for stage in stages:
        start = time.monotonic()
        until = end if stage.share is None else min(end, start + stage.share * seconds)
        entry: dict[str, Any] = {
            "name": stage.name,
            "title": stage.title,
            "outcome": "began",
            "seconds": None,
        }
        report.stages.append(entry)
        print(f"{stage.name}: {stage.title} (at most {max(0.0, until - start):.0f} s)", flush=True)
        try:
            if until <= start:
                raise LeftOut("no time was left")
            stage.run(context, until)
            entry["outcome"] = "done"
        except LeftOut as reason:
            entry["outcome"] = f"left out: {reason}"
        except Overrun:
            entry["outcome"] = f"killed after its {until - start:.0f} s"
            if stage.share is None:  # runs go on until the time is over
                entry["outcome"] = "until the time was over"
            fine = fine and stage.share is None
        except Failed as reason:
            entry["outcome"], fine = f"failed: {reason}", False
        except Exception as error:  # a fault of this script in one stage must not cost the others
            entry["outcome"], fine = f"failed: {type(error).__name__}: {error}", False
        except KeyboardInterrupt:
            entry["outcome"] = "stopped from outside"
            raise
        entry["seconds"] = time.monotonic() - start
        print(f"{stage.name}: {entry['outcome']} ({entry['seconds']:.0f} s)", flush=True)
        report.write()
    return fine


def _environment(work: Path) -> dict[str, str]:
    """That of the commands: they are told by arguments where things lie."""
    ours = ("BENCH_DATA", "BENCH_RESULTS", "BENCH_PLUGINS")
    kept = {key: value for key, value in os.environ.items() if key not in ours}
    paths = [str(work / "site"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _wheels(shell: Shell, work: Path) -> str:
    """Install what .whl holds, for this run alone; a sentence where that failed."""
    wheels = sorted((ROOT / ".whl").glob("*.whl"))
    if not wheels:
        return ""
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--target", work / "site"]
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    code = shell([*pip, *options, *wheels], time.monotonic() + START_SECONDS)
    return f"the wheels in .whl could not be installed: {shell.last_words()}" if code else ""


def _machine(shell: Shell, work: Path, device: str) -> dict[str, Any]:
    """What the machine is, or under "refused" why that cannot be told."""
    out = work / "machine.json"
    try:
        code = shell([PYTHON, "-m", "tests.gpu.machine", device], time.monotonic() + START_SECONDS, out=out)
    except Overrun:
        return {"refused": f"a look at the machine took more than {START_SECONDS:.0f} s"}
    return {"refused": shell.last_words()} if code else json.loads(out.read_text(encoding="utf-8"))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
