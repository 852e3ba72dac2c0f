"""The shape of the project: who may know whom, how long modules are, and a guard of the name `datasets`."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.spec import registry
from tests.conftest import ROOT

MODULES = [p for folder in ("benchmark", "methods", "datasets") for p in (ROOT / folder).rglob("*.py")]
TREES = {path: ast.parse(path.read_text()) for path in MODULES}


def test_no_module_is_longer_than_300_lines() -> None:
    assert len(MODULES) > 20
    assert not {str(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}


def test_a_method_file_holds_at_most_160_lines_of_code() -> None:
    def code(path: Path) -> int:
        """Lines that are neither blank, comment nor docstring."""
        text = path.read_text()
        stripped = {i: line.strip() for i, line in enumerate(text.splitlines(), 1)}
        lines = {i for i, line in stripped.items() if line and not line.startswith("#")}
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return len(lines)

    files = [ROOT / "methods" / f"{name}.py" for name in registry.method_names()]
    assert not {file.name: n for file in files if (n := code(file)) > 160}


def test_the_harness_names_no_method_and_no_data_set() -> None:
    names = "|".join(registry.method_names() + registry.dataset_names())
    for path in (ROOT / "benchmark").rglob("*.py"):
        assert not re.search(rf"\b({names})\b", path.read_text()), f"{path.name} names a method or a data set"


GROUND = {"errors", "files", "streams", "system", "typed"}
ROOMS = ["metrics", "spec", "runs", "training", "execute", "contract"]  # each imports those before it
ALLOWED = {
    "ground": set(),
    "datasets": {"ground"},
    "methods": {"ground", "datasets"},
    **{room: {"ground", "datasets", "methods", *ROOMS[:n]} for n, room in enumerate(ROOMS)},
    "metrics": {"ground", "datasets"},
    "report": {"ground", "metrics", "spec", "runs"},
    "cli": {"ground", "datasets", "methods", *ROOMS, "report"},
}


def room(module: str) -> str:
    """Return the room of a module, such as `spec` for benchmark.spec.run."""
    package, _, rest = module.partition(".")
    inner = rest.partition(".")[0]
    if package != "benchmark":
        return package
    return inner if inner in ALLOWED else "ground"


def imports(path: Path) -> Iterator[str]:
    """Yield the modules, or names of modules, that a file imports anywhere in it."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_rooms_import_those_below_them_alone() -> None:
    """`benchmark/__init__` names functions of rooms on demand, and `__main__` starts the command line."""
    public = {ROOT / "benchmark" / name for name in ("__init__.py", "__main__.py")}
    assert {p.stem for p in (ROOT / "benchmark").glob("*.py")} - {p.stem for p in public} == GROUND
    wrong = []
    for path in set(MODULES) - public:
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imports(path):
            if module.partition(".")[0] in ("benchmark", "methods", "datasets"):
                other = room(module)
                if other != own and other not in ALLOWED[own]:
                    wrong.append(f"{path.relative_to(ROOT)} ({own}) imports {module} ({other})")
    assert not wrong, "\n".join(sorted(wrong))


def test_modules_import_in_no_circle() -> None:
    """Imports at the top of modules; one within a function is made when everything is there."""
    known = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES
    }
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        found = set()
        for node in TREES[path].body:
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{each.name}" for each in node.names}
                found |= {n if n in known else node.module for n in names}
            elif isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
        arrows[name] = found & known.keys()
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("arguments", [["-m", "benchmark", "status"], ["-c", "import benchmark"]])
def test_a_strangers_datasets_package_is_refused(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("stranger = True\n")
    # As an installed package would come first: ahead of the checkout on the path.
    code = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *arguments], env=code, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()
    assert str(tmp_path / "datasets") in message[-1] and "PYTHONPATH" in message[-1]
    if arguments[0] == "-m":
        assert done.returncode == 2 and len(message) == 1


LIGHT = """
import sys
from benchmark.cli.app import main

def bench(*words):
    sys.argv = ["bench", *words]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, words

def without(*names):
    assert not {*names} & sys.modules.keys(), names

bench("run", "--help")
without("torch", "pandas", "matplotlib", "numpy")
import benchmark.runs.rundir, benchmark.spec.plan, benchmark.spec.registry as registry
[registry.source_hash(name) for name in registry.method_names()]
bench("list", "methods", "--json")
import benchmark
benchmark.load_records("results")
bench("report", "--published", "--check", "--data", "nowhere")
without("torch", "methods.base", "matplotlib")
"""


def test_looking_imports_little_and_the_committed_tables_and_page_are_what_the_records_give() -> None:
    """Help, plans, records and the check of boards no torch, nor matplotlib."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
