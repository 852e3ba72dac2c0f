"""What a first run does, by order of worth. A stage is called with the moment at which it must have ended."""

import importlib.util
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.spec import registry
from tests.gpu import outcomes
from tests.gpu.shell import Shell

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = sys.executable
BENCH = (PYTHON, "-m", "benchmark")
TESTS = ("tests/test_capture.py", "tests/benchmark/test_diagnostics.py", "tests/performance")
LIGHT = "nyuv2-13-light"
IMAGES = 654
# On a CPU the figures say nothing, and only the way through is tried.
TINY = ["size=[32, 64]", "width=8", "batch=2", "encoder=small", "weights=none", "decoder_blocks=1"]
STOP_SECONDS = 8.0  # that runs may take to stop by themselves
CONTEXT_GIB = 1.0  # of a process on a card, before it computes anything
RUN_GIB = 8.0  # of a run, where no peak was measured
MOST_WORKERS = 8  # runs take turns on a card, so more of them gain nothing

Items = dict[str, list[str]]  # {name: arguments of `bench perf`}


class Failed(Exception):
    """What a stage failed of, in a sentence."""


class LeftOut(Exception):
    """Why a stage has nothing to do."""


@dataclass
class Context:
    """work: a folder for whatever is made on the way. data: what BENCH_DATA names. plan: what BENCH_GPU_PLAN
    names. write: makes the files of the report anew. prepared: the data folder that the runs use, once it is
    known; cells: those of the plan."""

    device: str
    work: Path
    data: Path | None
    plan: str
    machine: dict[str, Any]
    shell: Shell
    write: Callable[[], None]
    prepared: Path | None = None
    cells: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tiny(self) -> bool:
        return self.device == "cpu"


@dataclass(frozen=True)
class Stage:
    """share: of the whole time; None: all that is left."""

    name: str
    title: str
    share: float | None
    run: Callable[[Context, float], None]


def tests(context: Context, until: float) -> None:
    """All tests that need a card: captured steps against eager ones, and that no step waits."""
    # The versions here may warn of what others do not, and plug-ins that happen to be here are none of ours.
    options = ["-m", "cuda", "-p", "tests.gpu.outcomes", "-p", "no:cacheprovider"]
    options += ["-o", "filterwarnings=", "--tb=short"]
    if importlib.util.find_spec("xdist") or list((context.work / "site").glob("xdist")):
        count = max(1, min(6, context.machine["cores"] // 2))
        options += ["-p", "xdist.plugin", "-n", str(count), "--dist", "worksteal"]
    lines = context.work / "tests.jsonl"
    context.shell.environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", outcomes.FILE: str(lines)}
    if code := context.shell([PYTHON, "-m", "pytest", *options, *TESTS], until):
        failed = sum(line["outcome"] == "failed" for line in read_lines(lines))
        raise Failed(f"{failed} tests failed" if failed else f"pytest ended with exit code {code}")


def perf(context: Context, until: float) -> None:
    """Every method's step, one item each, so that those measured stay when the time is over."""
    named = methods()[:2] if context.tiny else methods()
    settings = [f"protocol={LIGHT}", "batch=8"]
    _measure(context, "perf", {name: _under(context, name, "nyuv2", settings) for name in named}, until)


def peers(context: Context, until: float) -> None:
    """At what published codes were measured with: in float32, then in TF32 where they have it."""
    known = tomllib.loads((ROOT / "benchmark" / "cli" / "peers.toml").read_text(encoding="utf-8"))["peer"]
    items: Items = {}
    for precision in ("fp32", "tf32"):
        for peer in known:
            values = dict(peer["protocol"])
            method, protocol, (height, width) = values.pop("method"), values.pop("name"), values["size"]
            changes = [f"precision={precision}", *(f"{key}={value}" for key, value in values.items())]
            source = protocol if (ROOT / "benchmark" / "plans" / f"{protocol}.toml").exists() else "nyuv2"
            if precision in peer["speeds"]:
                name = f"{method}-b{values['batch']}-{height}x{width}-{precision}"
                arguments = _under(context, method, source, [f"protocol={protocol}", *changes])
                items[name] = [*arguments, "--against-peers"]
    _measure(context, "peers", dict(list(items.items())[:1]) if context.tiny else items, until)


def evaluation(context: Context, until: float) -> None:
    count = 4 if context.tiny else IMAGES
    settings = [f"protocol={LIGHT}", f"test_images={count}"]
    named = methods()[: 1 if context.tiny else 4]
    items = {name: _under(context, name, "nyuv2", settings) for name in named}
    _measure(context, "evaluation", items, until)


def prepare(context: Context, until: float) -> None:
    """The data of the plan, from the compact source where that is what there is; and the plan's runs."""
    if context.data is None:
        raise LeftOut("BENCH_DATA names no data")
    if not context.data.is_dir():
        raise Failed(f"BENCH_DATA is {context.data}, which is no folder")
    if not is_compact(context.data):
        context.cells, context.prepared = _cells(context, context.data, until), context.data
        return
    tools = (context.data / "expand.py", context.data.parent / "expand.py")
    tool = next((path for path in tools if path.is_file()), None)
    if tool is None:
        raise Failed(f"{context.data} is a compact source, and no expand.py lies in it or beside it")
    store, folder = context.work / "data", context.work / "mtan"
    context.cells = _cells(context, store, until)
    _must(context, [PYTHON, tool, "--layout", "mtan", "--out", folder, "--source", context.data], until)
    sizes = dict.fromkeys("x".join(map(str, cell["protocol"]["size"])) for cell in context.cells)
    for variant in dict.fromkeys(cell["variant"] for cell in context.cells):
        options = [word for size in sizes for word in ("--size", size)]
        _must(context, [*BENCH, "data", "prepare", variant, folder, *options, "--data", store], until)
    context.prepared = store


def runs(context: Context, until: float) -> None:
    """The plan's runs; `bench run` takes whole seeds first."""
    if context.prepared is None:
        raise LeftOut("there are no data for runs")
    count = workers(context.cells, context.machine, read_perf(context.work / "perf"))
    places = [] if context.tiny else ["--per-gpu", count]
    folders = ["--results", context.work / "runs", "--data", context.prepared]
    command = [*BENCH, "run", context.plan, *folders, "--keep", "none", "--device", context.device]
    command += ["--workers", count, *places]
    seen = 0

    def look() -> None:
        nonlocal seen
        done = len(list(context.work.glob("runs/*/*/record.json")))
        if done > seen:
            seen = done
            context.write()

    code = context.shell(command, until - STOP_SECONDS, grace=STOP_SECONDS, look=look)
    if code:
        raise Failed(f"`bench run` ended with exit code {code}: {context.shell.last_words()}")


CAPTURED = "every method's captured step against its eager step, and that it never waits"
STAGES = (
    Stage("tests", CAPTURED, 0.18, tests),
    Stage("perf", f"a step of every method at batch 8 under {LIGHT}", 0.20, perf),
    Stage("peers", "steps at what published codes were measured with", 0.12, peers),
    Stage("evaluation", f"predictions and metrics of {IMAGES} images", 0.06, evaluation),
    Stage("prepare", "the data of the plan", 0.15, prepare),
    Stage("runs", "the plan's runs, whole seeds first", None, runs),
)


def methods() -> list[str]:
    """All methods, those of `field` in its order first."""
    plan = tomllib.loads((ROOT / "benchmark" / "plans" / "field.toml").read_text(encoding="utf-8"))
    found: list[str] = plan["grid"][0]["method"]
    return [*found, *(name for name in registry.method_names() if name not in found)]


def is_compact(folder: Path) -> bool:
    """Whether it is the compact source, and not a folder of prepared data."""
    return all((folder / name).is_dir() for name in ("images", "segmentation", "depth", "normals", "gt_sets"))


Rows = Sequence[dict[str, Any]]


def workers(cells: Rows, machine: dict[str, Any], measured: Rows) -> int:
    """How many runs share the card: by the memory that is free and the largest peak that a method was
    measured with, by the pixels of a batch; at most half as many as there are cores.

    Conservative: those networks are at least as wide as any that such a machine is first tried with.
    """

    def pixels(protocol: dict[str, Any]) -> int:
        height, width = protocol["size"]
        return int(protocol["batch"] * height * width)

    most = max(1, min(MOST_WORKERS, machine["cores"] // 2, len(cells)))
    if "free_gib" not in machine:
        return most
    rates = [row["peak_gib"] / pixels(row["protocol"]) for row in measured if row.get("peak_gib")]
    largest = max((pixels(cell["protocol"]) for cell in cells), default=0)
    need = CONTEXT_GIB + (max(rates) * largest if rates else RUN_GIB)
    return max(1, min(most, int(0.9 * machine["free_gib"] / need)))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, but for one that was cut off."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def read_perf(folder: Path) -> list[dict[str, Any]]:
    """The rows that a stage has measured, in the order of measuring."""
    files = sorted(folder.glob("*/perf.json"), key=lambda path: path.stat().st_mtime_ns)
    return [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def _under(context: Context, method: str, source: str, settings: list[str]) -> list[str]:
    """Arguments of `bench perf` for one method under settings of a plan."""
    every = ["labels=one", "seeds=1", "test_images=16", *settings, *(TINY if context.tiny else [])]
    fast = ["--steps", "2" if context.tiny else "20", "--device", context.device]
    nowhere = ["--data", str(context.work / "none")]
    return [source, method, *fast, *nowhere, *(word for value in every for word in ("--set", value))]


def _measure(context: Context, stage: str, items: Items, until: float) -> None:
    """Measure items in one process, and in another after one that fails."""
    place, waiting = context.work / stage, dict(items)
    place.mkdir()
    while waiting:
        listed = context.work / f"{stage}.json"
        listed.write_text(json.dumps(list(waiting.items())), encoding="utf-8")
        code = context.shell([PYTHON, "-m", "tests.gpu.measure", listed, place], until)
        left = {name: arguments for name, arguments in waiting.items() if not (place / name).exists()}
        if code and len(left) == len(waiting):
            raise Failed(f"measuring could not begin: {context.shell.last_words()}")
        waiting = left
    failed = [name for name in items if not (place / name / "perf.json").exists()]
    if failed:
        raise Failed(f"not measured: {', '.join(failed)}; the log says why")


def _must(context: Context, command: Sequence[object], until: float, out: Path | None = None) -> None:
    """Raise `Failed` with the last that a command says unless it ends well."""
    if context.shell(command, until, out=out):
        raise Failed(context.shell.last_words())


def _cells(context: Context, data: Path, until: float) -> list[dict[str, Any]]:
    out = context.work / "plan.json"
    folders = ["--data", data, "--results", context.work / "runs"]
    _must(context, [*BENCH, "plan", context.plan, "--json", *folders], until, out)
    found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["cells"]
    return found
