"""Read the code that decides numbers, without importing it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

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
    pending, found = [path], set[Path]()
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += _imports(current, package)
    return found


def _imports(path: Path, package: Path) -> Iterator[Path]:
    """Yield the package's files that a file's outermost statements import."""
    for node in _parsed(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == package.name:
            place = package.joinpath(*str(node.module).split(".")[1:])
            for alias in node.names:
                inner = place / f"{alias.name}.py"  # a module of the package
                file = inner if inner.is_file() else place.with_suffix(".py")
                if file.is_file():
                    yield file
