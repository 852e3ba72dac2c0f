"""Methods, data sets, metrics and kinds of tasks from outside the tree: files that `--plugin` names.

A plug-in runs as the user's own code does, with the user's rights. It is imported when it is named, to see
which of them it is.
"""

from __future__ import annotations

import importlib.util
import inspect
import keyword
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from benchmark import PLUGIN
from benchmark.errors import UserError, reason
from benchmark.files import file_hash
from benchmark.spec.source import code_hash

Kind = Literal["methods", "datasets", "metrics", "kinds"]
_files: dict[str, Path] = {}
_hashes: dict[str, tuple[str, str]] = {}  # of files as they were imported: of the content, of the code


def use(path: Path | str) -> str:
    """Make what a plug-in's .py file holds known under the file's name, and return that name.

    It is imported once: a process has the code that it then found. Raises `UserError` for other files and for
    a name that is taken.
    """
    path = Path(path)
    name = path.stem
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--plugin {path} is not a Python file that is there; name a plug-in's.")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(f"--plugin {path}: {name!r} is no name; use letters, digits, underscores.")
    known = _files.setdefault(name, path.resolve())
    if known != path.resolve():
        raise UserError(f"--plugin {path} and {known} are both called {name}; rename one.")
    return name


def forget() -> None:
    """Forget all files, as at the start of a process."""
    for name in _files:
        sys.modules.pop(module_name(name), None)
    _files.clear()
    _kind.cache_clear()


def files() -> list[Path]:
    """Return the files in use, so that another process can use them too."""
    return list(_files.values())


def names(which: Kind) -> list[str]:
    """Return the plug-ins of a kind. Raises `UserError` for a file that cannot be imported."""
    return sorted(name for name in _files if _kind(name) == which)


def where(name: str) -> str:
    """Return the file of a plug-in, for messages."""
    return str(_files[name])


def imported(file: str, load: Callable[[], ModuleType]) -> ModuleType:
    """Return what `load` imports; whatever is wrong in that file, a `UserError` says its name and why."""
    try:
        return load()
    except (Exception, SystemExit) as error:  # not KeyboardInterrupt: imports take seconds
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = reason(error, named=True)
        raise UserError(f"{file}{line} cannot be imported ({why}); correct it.") from error


@cache
def _kind(name: str) -> str:
    """Return what a file holds: a kind of task, a class that gives a split, a metric of images; a method."""
    found = imported(where(name), lambda: module(name))
    from datasets.kinds import own_class  # torch comes with it

    if own_class(found):
        return "kinds"
    own = [c for c in vars(found).values() if inspect.isclass(c) and c.__module__ == module_name(name)]
    # A function of Python's: a StrEnum has a `split`, too.
    for kind, told in (("datasets", "split"), ("metrics", "per_image")):
        if any(inspect.isfunction(getattr(c, told, None)) for c in own):
            return kind
    return "methods"


def module(name: str) -> ModuleType:
    """Return the module of a plug-in, imported on the first call. Whatever its code raises comes through."""
    qualified = module_name(name)
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, _files[name])
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[qualified] = made  # dataclasses and type hints look their module up there
        try:
            spec.loader.exec_module(made)
            code = code_hash([_files[name].read_text(encoding="utf-8")])
            _hashes[name] = (file_hash(_files[name])[:12], code)
        except BaseException:
            del sys.modules[qualified]
            raise
    return sys.modules[qualified]


def content(name: str) -> str:
    """Return 12 hex digits of the SHA-256 of a plug-in's file as it was when it was imported."""
    module(name)
    return _hashes[name][0]


def code(name: str) -> str:
    """Return `source.code_hash` of a plug-in as it was when it was imported."""
    module(name)
    return _hashes[name][1]


def module_name(name: str) -> str:
    """Return the name of the module that a plug-in's file is imported as."""
    return PLUGIN + name
