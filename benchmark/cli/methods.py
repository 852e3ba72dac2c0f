"""`bench check` and `new`: methods, data sets, metrics, kinds of tasks of one's own, and their contracts."""

from __future__ import annotations

import importlib.util
import json
import keyword
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from benchmark.cli.options import DATA, Answer, Data, Plugin, Set, say
from benchmark.errors import UserError, unknown
from benchmark.files import write_text
from benchmark.spec import plan, plugged, plugins, protocol, registry

if TYPE_CHECKING:
    from benchmark.contract.checks import Finding

# Small enough for seconds on a CPU; all tasks of the default data set, labels drawn at random.
SMALL = (
    "size=[32, 64]", "train_images=16", "test_images=20", "batch=4", "epochs=2", "width=8",
    "decoder_blocks=1", "labels=random", "evaluations=0",
)  # fmt: skip
TEMPLATES = Path(__file__).parent.parent / "templates"


def check(
    what: Annotated[str, typer.Argument(metavar="METHOD | DATASET | FILE.py")],
    settings: Set = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    data: Data = DATA,
) -> Answer:
    """Check a method, data set, metric or kind of task against the contract that all of its kind keep."""
    shown: list[dict[str, Any]] = []
    name = plugins.use(Path(what)) if what.endswith(".py") else what
    file = f"--plugin {what} " if what.endswith(".py") else ""
    hyphens = name.replace("_", "-")
    if settings and name not in registry.method_names():
        raise UserError(f"--set {settings[0]} is for methods; leave it out for {hyphens}.")
    if name in registry.method_names():
        findings, use = _of_method(name, settings, data), f"`bench run {file}{name}` runs it"
    elif name in (own := plugged.metrics()):
        from benchmark.contract import metrics

        findings, use = metrics.check(name, own[name]), f"`bench run {file.strip()}` computes it"
    elif name in plugins.names("kinds"):
        from benchmark.contract import kinds

        findings = kinds.check(name, plugged.kind(name))
        use = f'`kind = "{name}"` in a dataset.toml and `{file.strip()}` behind commands use it'
    elif any(hyphens == known or hyphens.startswith(f"{known}-") for known in registry.dataset_names()):
        from benchmark.contract import datasets

        name, findings = hyphens, datasets.check(hyphens, data)
        use = f"`bench run {file}--set dataset={hyphens}` uses it"
    else:
        raise unknown("method or data set", name, [*registry.method_names(), *registry.dataset_names()])
    for finding in findings:  # as they come
        passed = not finding.reason
        shown.append(asdict(finding) | {"kept": passed})
        word = Text("pass", "green") if passed else Text("fail", "red")
        say(word + f" {finding.check}: {finding.about}")
        if not passed:
            say(f"     {finding.reason}.")
    failed = sum(not finding["kept"] for finding in shown)
    passes = f"passes all {len(shown)} checks; {use}"
    say(f"{name} {f'fails {failed} of {len(shown)} checks' if failed else passes}.")
    return 1 if failed else 0, shown


def _of_method(name: str, settings: list[str], data: Path) -> Iterator[Finding]:
    from benchmark.contract import methods as contract
    from benchmark.execute.data import Data as Splits

    registry.method(name)
    dataset = registry.open_dataset(str(plan.read(plan.DEFAULT)["grid"][0]["dataset"]), data)
    tasks = f"tasks={json.dumps(list(dataset.tasks))}"
    spec = plan.make([name], [*SMALL, tasks, *settings], data, taught=True).cells[0]
    loaded = Splits(data)
    train, test = (loaded.split(spec, split) for split in ("train", "test"))
    train = replace(train, teacher=train.teacher or train.targets)  # for methods that ask for one
    yield from contract.check(contract.Subject(spec, train, test, loaded.tasks(spec)))


def new(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option(help="Folder to write it in.")] = Path(),
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set instead of a method.")] = False,
    metric: Annotated[bool, typer.Option("--metric", help="A metric instead of a method.")] = False,
    task: Annotated[bool, typer.Option("--task", help="A kind of task instead of a method.")] = False,
    example: Annotated[
        str | None, typer.Option(help="A method to start from, instead of the shortest: fixmatch.")
    ] = None,
) -> Answer:
    """Write a commented method, data set, metric or kind of task that keeps the contract, and its test."""
    asked = [word for word, on in (("dataset", dataset), ("metric", metric), ("task", task)) if on]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} are two kinds of files; give one of them.")
    what = next(iter(asked), "method")
    _check_name(name, what.replace("dataset", "data set").replace("task", "kind of task"))
    if what != "method" and example:
        raise UserError(f"--example {example} is for methods; leave it out with --{what}.")
    examples = [path.name[len("method_") : -len(".py.txt")] for path in TEMPLATES.glob("method_*.py.txt")]
    if example and example not in examples:
        raise unknown("example", example, examples)
    source = f"method_{example}.py.txt" if example else f"{what}.py.txt"
    files = {out / f"{name}.py": source, out / f"test_{name}.py": "test.py.txt"}
    for file in files:
        if file.exists():
            raise UserError(f"{file} is there already; choose another name or another folder with --out.")
    # Beside other code of the user's, it would be imported in its place.
    if name in sys.modules or importlib.util.find_spec(name):
        raise UserError(
            f"there is a Python module {name} already, which {name}.py would hide; choose another name."
        )
    words = {"HYPHENS": name.replace("_", "-"), "TITLE": "".join(map(str.capitalize, name.split("_")))}
    for file, source in files.items():
        text = (TEMPLATES / source).read_text(encoding="utf-8")
        for word, value in (words | ({} if source == "dataset.py.txt" else {"NAME": name})).items():
            text = text.replace(word, value)
        write_text(file, text)
        say(f"wrote {file}")
    path = out / f"{name}.py"
    if dataset:
        say(f"next: put your data where {path} looks for them, then `bench check {path}`.")
    elif task:
        say(f'next: `bench check {path}`, then `kind = "{name}"` in a dataset.toml and `--plugin {path}`.')
    elif metric:
        say(f"next: `bench check {path}`, then `bench run --plugin {path}`.")
    else:
        shipped = protocol.load(str(plan.read(plan.DEFAULT)["grid"][0]["protocol"]))
        run = f"bench run --plugin {path} {name} {shipped.baseline} {shipped.reference}"
        say(f"next: `bench check {path}`, then `{run}`.")
    return 0, {"files": [str(file) for file in files]}


def _check_name(name: str, kind: str) -> None:
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        rule = "use small letters, digits and underscores, such as my_own"
        raise UserError(f"{name!r} cannot be the name of a {kind}; {rule}.")
    if kind == "kind of task":
        from datasets.kinds import KINDS

        if name in KINDS:
            raise UserError(f"there is a kind of task {name} already; choose another name.")
    if name in registry.method_names() or name.replace("_", "-") in registry.dataset_names():
        raise UserError(f"there is a method or data set {name} already; choose another name.")
