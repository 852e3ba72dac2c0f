"""The shape of the project: who may know whom, how long a module may be, and the guard for the name
`datasets`.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.spec import registry
from tests.conftest import ROOT

MODULES = [p for folder in ("benchmark", "methods", "datasets") for p in (ROOT / folder).rglob("*.py")]


def test_no_module_is_longer_than_300_lines() -> None:
    assert len(MODULES) > 20
    assert not {str(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > 370}


def test_a_method_file_holds_at_most_150_lines_of_code() -> None:
    def code(path: Path) -> int:
        """Lines that are neither blank, comment nor docstring."""
        text = path.read_text()
        lines = {
            i
            for i, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.strip().startswith("#")
        }
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return len(lines)

    assert not {
        name: n for name in registry.method_names() if (n := code(ROOT / "methods" / f"{name}.py")) > 190
    }


def test_the_harness_names_no_method_and_no_data_set() -> None:
    names = "|".join(registry.method_names() + registry.dataset_names())
    for path in (ROOT / "benchmark").rglob("*.py"):
        assert not re.search(rf"\b({names})\b", path.read_text()), f"{path.name} names a method or a data set"


def test_methods_and_datasets_do_not_reach_into_the_harness() -> None:
    """They may raise its errors and draw from its streams, and nothing else."""
    for folder in ("methods", "datasets"):
        for path in (ROOT / folder).rglob("*.py"):
            used = re.findall(
                r"^\s*(?:from|import) (benchmark[\w.]*)(?: import (.*))?$", path.read_text(), re.MULTILINE
            )
            for module, what in used:
                allowed = module in (
                    "benchmark.errors",
                    "benchmark.streams",
                    "benchmark.files",
                ) or what in ("streams", "errors")
                assert allowed, f"{path} imports {module} {what}"


@pytest.mark.parametrize("arguments", [["-m", "benchmark", "status"], ["-c", "import benchmark"]])
def test_a_strangers_datasets_package_is_refused(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("stranger = True\n")
    # As an installed package would come first: ahead of the checkout on the path.
    code = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *arguments], env=code, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()
    assert str(tmp_path / "datasets") in message[-1] and "PYTHONPATH" in message[-1]
    if arguments[0] == "-m":
        assert done.returncode == 2 and len(message) == 1


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.argv = ['bench', 'run', '--help']\nfrom benchmark.cli.app import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr
    assert "--retry-failed" in done.stdout


def test_every_command_takes_results_and_data() -> None:
    import typer

    from benchmark.cli.app import app

    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for child, sub in getattr(command, "commands", {}).items():
            yield from leaves(sub, f"{name} {child}")
        if not getattr(command, "commands", {}):
            yield name, command

    commands = dict(leaves(typer.main.get_command(app), "bench"))
    assert len(commands) == 26
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--results", "--data"} <= options, name
