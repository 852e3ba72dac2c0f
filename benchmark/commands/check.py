"""`bench check` and `bench new`: a method of one's own, from its first lines to the contract that every method keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark import execute, plan, plugins, registry
from benchmark import protocol as protocols
from benchmark.errors import UserError
from benchmark.progress import make_console
from benchmark.store import writing

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
    """Check a method, by its name or its file, against the contract; exit code 1 if it breaks it."""
    name = plugins.use(Path(what)) if what.endswith(".py") else what
    registry.method(name)
    dataset = registry.open_dataset(str(plan.read(plan.DEFAULT)["grid"][0]["dataset"]), data)
    tasks = f"tasks={json.dumps(list(dataset.tasks))}"
    cells = plan.make([name], [*SMALL, tasks, *settings], data).cells
    from benchmark import contract

    loaded = execute.Data(data)
    spec = cells[0]
    subject = contract.Subject(spec, loaded.split(spec, "train"), loaded.split(spec, "test"), loaded.tasks(spec))
    found: list[dict[str, Any]] = []
    console = make_console()
    for finding in contract.check(subject):
        found.append({"check": finding.check, "about": finding.about, "kept": not finding.reason, "reason": finding.reason})
        if not as_json:
            mark = "[red]broken[/]" if finding.reason else "[green]kept[/]  "
            console.print(f"{mark} {finding.check}: {finding.about}", soft_wrap=True, highlight=False)
            if finding.reason:
                console.print(f"       {finding.reason}.", soft_wrap=True, highlight=False, markup=False)
    broken = sum(not f["kept"] for f in found)
    if as_json:
        print(json.dumps(found, indent=1))
    elif broken:
        console.print(f"{name} breaks {broken} of {len(contract.CHECKS)} checks.")
    else:
        how = f"--plugin {what} " if what.endswith(".py") else ""
        console.print(f"{name} keeps all {len(found)} checks; `bench run {how}{name}` runs it.", soft_wrap=True)
    return 1 if broken else 0


def new(name: str, folder: Path) -> int:
    """Write NAME.py, a commented method that keeps the contract, and test_NAME.py, which checks that it does."""
    if not name.isidentifier() or name != name.lower():
        raise UserError(f"{name!r} cannot be the name of a method; use small letters, digits and underscores, such as my_method.")
    if name in registry.method_names():
        raise UserError(f"there is a method {name} already; choose another name.")
    files = {f"{name}.py": "method.py.txt", f"test_{name}.py": "test_method.py.txt"}
    for file in files:
        if (folder / file).exists():
            raise UserError(f"{folder / file} is there already; choose another name or another folder with --out.")
    title = "".join(part.capitalize() for part in name.split("_"))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file, template in files.items():
            text = (TEMPLATES / template).read_text(encoding="utf-8").replace("NAME", name).replace("TITLE", title)
            (folder / file).write_text(text, encoding="utf-8")
    console = make_console()
    path = folder / f"{name}.py"
    for file in files:
        console.print(f"wrote {folder / file}", soft_wrap=True)
    shipped = protocols.load(str(plan.read(plan.DEFAULT)["grid"][0]["protocol"]))
    others = f"{shipped.baseline} {shipped.reference}"
    console.print(f"next: `bench check {path}`, then `bench run --plugin {path} {name} {others}`.", soft_wrap=True)
    return 0
