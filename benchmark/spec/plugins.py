"""Methods and data sets from outside the tree: a file named on the command line, or a package's entry point
in the group
`bench.methods` or `bench.datasets`.

A plug-in runs as the user's own code does: with the user's rights. A file is imported when it is named, to
see which of both it is; of a package nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import keyword
import sys
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Literal

from benchmark.errors import UserError

Kind = Literal["methods", "datasets"]
GROUPS: dict[Kind, str] = {"methods": "bench.methods", "datasets": "bench.datasets"}
_files: dict[str, Path] = {}


def use(path: Path) -> str:
    """Make the method or data set in a .py file known under the file's name, and return that; `UserError` for
    other files.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"--plugin {path} is not a Python file that is there; name the .py file of a method or data set."
        )
    name = path.stem
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(
            f"--plugin {path}: {name!r} cannot be a method's or data set's name; use letters, digits, "
            f"underscores."
        )
    known = _files.setdefault(name, path.resolve())
    if known != path.resolve():
        raise UserError(f"--plugin {path} and {known} are both called {name}; rename one.")
    return name


@cache
def note(text: str) -> None:
    """Say on standard error, once, what is left out: somebody else's package must not keep the rest from
    working.
    """
    print(f"note: {text}.", file=sys.stderr)


def forget() -> None:
    """Forget all files, as at the start of a process."""
    note.cache_clear()
    for name in _files:
        sys.modules.pop(_module_name(name), None)
    _files.clear()
    _kind.cache_clear()


def files() -> list[Path]:
    """The files in use, so that another process can use them too."""
    return list(_files.values())


def names(which: Kind) -> list[str]:
    """Plug-ins of a kind, files and entry points. Raises `UserError` for a file that cannot be imported."""
    return sorted({*(name for name in _files if _kind(name) == which), *_entry_points(which)})


def is_file(name: str) -> bool:
    """Whether a plug-in is a file that the user named, not an installed package's entry point."""
    return name in _files


def where(name: str) -> str:
    """Where a plug-in comes from, for messages."""
    return str(_files[name]) if name in _files else f"the entry point {name} of {_point(name).value}"


def imported(file: str, load: Callable[[], ModuleType]) -> ModuleType:
    """What `load` imports; whatever is wrong in that file, a `UserError` says its name and the reason."""
    try:
        return load()
    except (
        Exception,
        SystemExit,
    ) as error:  # not KeyboardInterrupt: imports take seconds, and people press Ctrl-C
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise UserError(f"{file}{line} cannot be imported ({said}); correct it.") from error


@cache
def _kind(name: str) -> Kind:
    """What a file holds: a class that can give a split is a data set."""
    found = vars(imported(where(name), lambda: module(name))).values()
    own = [c for c in found if inspect.isclass(c) and c.__module__ == _module_name(name)]
    return "datasets" if any(callable(getattr(c, "split", None)) for c in own) else "methods"


def module(name: str) -> ModuleType:
    """The module of a plug-in, imported on the first call. Whatever its code raises comes through."""
    if name not in _files:
        return importlib.import_module(_point(name).module)
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


def _point(name: str) -> metadata.EntryPoint:
    return next(points[name] for points in map(_entry_points, GROUPS) if name in points)


@cache
def _entry_points(which: Kind) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=GROUPS[which])}
