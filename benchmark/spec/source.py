"""Read Python files without importing them: the code that decides numbers, and class attributes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmark import ROOT
from benchmark.files import read_toml


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def code_hash(texts: Iterable[str]) -> str:
    """Return 12 hex digits of the code of some files, in any order and under any names.

    Imports are left out as they name files: a file that is moved is the same code. Comments, docstrings and
    layout are left out too.
    """
    files = sorted(hashlib.sha256(repr(_plain(_parsed(text))).encode()).hexdigest() for text in texts)
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    """Return a syntax tree as nested tuples, unlike `ast.dump` the same in each version of Python."""
    if isinstance(value, ast.AST):
        fields = ((name, _plain(child)) for name, child in ast.iter_fields(value))
        return type(value).__name__, *(
            (name, child) for name, child in fields if child is not None and child != ()
        )
    if isinstance(value, list):
        return tuple(_plain(child) for child in value if not _says_nothing(child))
    return value


def _says_nothing(node: object) -> bool:
    """Return whether a node is an import, a text that stands alone, or an `if` around nothing else."""
    if isinstance(node, ast.If):
        return all(_says_nothing(child) for child in (*node.body, *node.orelse))
    text = (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    return text or isinstance(node, ast.Import | ast.ImportFrom)


def equal_code(name: str, source: str) -> frozenset[str]:
    """Return the hash of a method's code, with those of other code that gives the same numbers.

    methods/equal_code.toml lists them, and methods/README.md says what it claims.
    """
    known = _equal_code().get(name, [])
    return frozenset(next((hashes for hashes in known if source in hashes), [source]))


@cache
def _equal_code() -> dict[str, list[list[str]]]:
    return read_toml(ROOT / "methods" / "equal_code.toml")


def imported_files(path: Path, package: Path) -> set[Path]:
    """Return a file and every file of the package that it imports at the start, directly or not."""
    pending, found = [path], set()
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += _imports(current, package).values()
    return found


def _imports(path: Path, package: Path) -> dict[str, Path]:
    """Return {name: the package's file that it is imported from} for the file's outermost statements."""
    found = {}
    for node in _parsed(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == package.name:
            place = package.joinpath(*str(node.module).split(".")[1:])
            for alias in node.names:
                inner = place / f"{alias.name}.py"  # a module of the package
                file = inner if inner.is_file() else place.with_suffix(".py")
                if file.is_file():
                    found[alias.asname or alias.name] = file
    return found


def class_values(path: Path, package: Path, names: Iterable[str]) -> dict[str, Any]:
    """Return the literal class attributes of the last class in a file, inherited ones of the package too."""
    values: dict[str, Any] = {}
    for node in _lineage(path, package):
        for statement in node.body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]
            if isinstance(target, ast.Name) and target.id in names and target.id not in values:
                values[target.id] = ast.literal_eval(statement.value)
    return values


def _lineage(path: Path, package: Path, name: str = "") -> Iterator[ast.ClassDef]:
    """Yield a class, by default the file's last, and those of the package that it inherits from."""
    classes = {
        node.name: node
        for node in _parsed(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    node = classes.get(name or next(reversed(classes), ""))
    if node is not None:
        yield node
        for base in (base.id for base in node.bases if isinstance(base, ast.Name)):
            yield from _lineage(_imports(path, package).get(base, path), package, base)
