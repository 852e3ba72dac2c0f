"""Methods from outside the tree: a file named on the command line, or a package's entry point in the group `bench.methods`.

A plug-in runs as the user's own code does: with the user's rights. Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import keyword
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from benchmark.errors import UserError

GROUP = "bench.methods"
_files: dict[str, Path] = {}


def use(path: Path) -> str:
    """Make the method in a .py file known under the file's name, and return that. Raises `UserError` for another file."""
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--plugin {path} is not a Python file that is there; name the .py file of a method.")
    name = path.stem
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(f"--plugin {path}: {name!r} cannot be the name of a method; use letters, digits and underscores.")
    known = _files.setdefault(name, path.resolve())
    if known != path.resolve():
        raise UserError(f"--plugin {path} and {known} are both called {name}; rename one.")
    return name


def forget() -> None:
    """Forget all files, as at the start of a process."""
    for name in _files:
        sys.modules.pop(_module_name(name), None)
    _files.clear()


def names() -> list[str]:
    return sorted({*_files, *_entry_points()})


def where(name: str) -> str:
    """Where a plug-in comes from, for messages."""
    return str(_files[name]) if name in _files else f"the entry point {name} of {_entry_points()[name].value}"


def module(name: str) -> ModuleType:
    """The module of a plug-in, imported on the first call. Whatever its code raises comes through."""
    if name not in _files:
        return importlib.import_module(_entry_points()[name].module)
    qualified = _module_name(name)
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, _files[name])
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[qualified] = made  # dataclasses and type hints look their module up there
        try:
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[qualified]
            raise
    return sys.modules[qualified]


def content(name: str) -> str:
    """First 12 hex digits of the SHA-256 of a plug-in's file: what its code is, wherever it lies."""
    file = module(name).__file__
    assert file is not None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]


def _module_name(name: str) -> str:
    return f"bench_plugin_{name}"


@cache
def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=GROUP)}
