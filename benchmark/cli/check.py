"""`bench check` and `bench new`: a method or data set of one's own, from its first lines to the contract that
all keep.
"""

from __future__ import annotations

import importlib.util
import json
import keyword
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError, unknown
from benchmark.execute import attempt as execute
from benchmark.execute.progress import make_console
from benchmark.files import writing
from benchmark.spec import plan, plugins, registry
from benchmark.spec import protocol as protocols

if TYPE_CHECKING:
    from benchmark.contract.methods import Finding

# Small enough for seconds on a CPU; all tasks of the default data set, labels drawn at random.
SMALL = (
    "size=[32, 64]",
    "train_images=16",
    "test_images=20",
    "batch=4",
    "epochs=2",
    "width=8",
    "decoder_blocks=1",
    "labels=random",
    "evaluations=0",
)
TEMPLATES = Path(__file__).parent.parent / "templates"


def check(what: str, settings: list[str], data: Path, as_json: bool) -> int:
    """Check a method or a data set, by its name or its file, against the contract; exit code 1 if it breaks
    it.
    """
    found: list[dict[str, Any]] = []
    with for_scripts(as_json, found):
        name = plugins.use(Path(what)) if what.endswith(".py") else what
        file = f"--plugin {what} " if what.endswith(".py") else ""
        if name in registry.method_names():
            return _report(name, _of_method(name, settings, data), f"`bench run {file}{name}` runs it", found)
        hyphens = name.replace("_", "-")
        if any(hyphens == known or hyphens.startswith(f"{known}-") for known in registry.dataset_names()):
            from benchmark.contract import datasets as contract_data

            if settings:
                raise UserError(
                    f"--set {settings[0]} is for methods; leave it out for the data set {hyphens}."
                )
            return _report(
                hyphens,
                contract_data.check(hyphens, data),
                f"`bench run {file}--set dataset={hyphens}` uses it",
                found,
            )
        raise unknown("method or data set", name, [*registry.method_names(), *registry.dataset_names()])


def _of_method(name: str, settings: list[str], data: Path) -> Iterator[Finding]:
    registry.method(name)
    dataset = registry.open_dataset(str(plan.read(plan.DEFAULT)["grid"][0]["dataset"]), data)
    tasks = f"tasks={json.dumps(list(dataset.tasks))}"
    spec = plan.make([name], [*SMALL, tasks, *settings], data).cells[0]
    from benchmark.contract import methods as contract

    loaded = execute.Data(data)
    yield from contract.check(
        contract.Subject(spec, loaded.split(spec, "train"), loaded.split(spec, "test"), loaded.tasks(spec))
    )


def _report(name: str, findings: Iterator[Finding], use: str, found: list[dict[str, Any]]) -> int:
    """Print the findings as they come, and put them into `found`."""
    console = make_console()
    for finding in findings:
        found.append(
            {
                "check": finding.check,
                "about": finding.about,
                "kept": not finding.reason,
                "reason": finding.reason,
            }
        )
        mark = "[red]broken[/]" if finding.reason else "[green]kept[/]  "
        console.print(f"{mark} {finding.check}: {finding.about}", soft_wrap=True, highlight=False)
        if finding.reason:
            console.print(f"       {finding.reason}.", soft_wrap=True, highlight=False, markup=False)
    broken = sum(not f["kept"] for f in found)
    if broken:
        console.print(f"{name} breaks {broken} of {len(found)} checks.")
    else:
        console.print(f"{name} keeps all {len(found)} checks; {use}.", soft_wrap=True)
    return 1 if broken else 0


def new(name: str, folder: Path, dataset: bool, example: str | None = None, as_json: bool = False) -> int:
    """Write NAME.py, a commented method or data set that keeps the contract, and test_NAME.py, which checks
    that it does.

    example: of the methods in `templates/method_*.py.txt`, which one; by default the shortest method."""
    shown: dict[str, list[str]] = {}
    with for_scripts(as_json, shown):
        kind = "data set" if dataset else "method"
        if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
            raise UserError(
                f"{name!r} cannot be the name of a {kind}; use small letters, digits and underscores, such "
                f"as my_own."
            )
        if name in registry.method_names() or name.replace("_", "-") in registry.dataset_names():
            raise UserError(f"there is a method or data set {name} already; choose another name.")
        if dataset and example:
            raise UserError(f"--example {example} is for methods; leave it out with --dataset.")
        examples = [
            path.name.removeprefix("method_").removesuffix(".py.txt")
            for path in TEMPLATES.glob("method_*.py.txt")
        ]
        if example and example not in examples:
            raise unknown("example", example, examples)
        template = "dataset.py.txt" if dataset else "method.py.txt"
        source = f"method_{example}.py.txt" if example else template
        files = {f"{name}.py": source, f"test_{name}.py": f"test_{template}"}
        for file in files:
            if (folder / file).exists():
                raise UserError(
                    f"{folder / file} is there already; choose another name or another folder with --out."
                )
        if name in sys.modules or importlib.util.find_spec(
            name
        ):  # beside other code of the user's it would be imported in its place
            raise UserError(
                f"there is a Python module {name} already, which {name}.py would hide; choose another name."
            )
        title = "".join(part.capitalize() for part in name.split("_"))
        words = {"HYPHENS": name.replace("_", "-"), "TITLE": title}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file, source in files.items():
                text = (TEMPLATES / source).read_text(encoding="utf-8")
                for word, value in (words | ({} if source == "dataset.py.txt" else {"NAME": name})).items():
                    text = text.replace(word, value)
                (folder / file).write_text(text, encoding="utf-8")
        console = make_console()
        path = folder / f"{name}.py"
        for file in files:
            console.print(f"wrote {folder / file}", soft_wrap=True)
        if dataset:
            said = (
                f"put your data where {path} looks for them, change what differs, then `bench check {path}`"
            )
        else:
            shipped = protocols.load(str(plan.read(plan.DEFAULT)["grid"][0]["protocol"]))
            said = (
                f"`bench check {path}`, then `bench run --plugin {path} {name} {shipped.baseline} "
                f"{shipped.reference}`"
            )
        console.print(f"next: {said}.", soft_wrap=True)
        shown["files"] = [str(folder / file) for file in files]
        return 0
