"""What of a Python file decides numbers: its code, without imports, comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable


def code_hash(texts: Iterable[str]) -> str:
    """12 hex digits of the code of some files, whatever their names and their order: a file that is moved is
    the same code.

    Imports are left out as they name files. Their names for what they bring show where it is used.
    """
    files = sorted(hashlib.sha256(repr(_plain(ast.parse(text))).encode()).hexdigest() for text in texts)
    return hashlib.sha256("\n".join(files).encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    """A syntax tree as nested tuples. Not `ast.dump`, whose empty fields are others in each version of
    Python.
    """
    if isinstance(value, ast.AST):
        fields = ((name, _plain(child)) for name, child in ast.iter_fields(value))
        return type(value).__name__, *(
            (name, child) for name, child in fields if child is not None and child != ()
        )
    if isinstance(value, list):
        return tuple(_plain(child) for child in value if not _says_nothing(child))
    return value


def _says_nothing(node: object) -> bool:
    """Imports, texts that stand alone, and an `if` around nothing else."""
    if isinstance(node, ast.If):
        return all(_says_nothing(child) for child in (*node.body, *node.orelse))
    text = (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
    return text or isinstance(node, ast.Import | ast.ImportFrom)
