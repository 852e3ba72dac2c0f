"""Methods and data sets by name: one file each in their folders, found by looking there."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmark import ROOT, plugins
from benchmark.errors import UserError, unknown
from benchmark.protocol import convert

if TYPE_CHECKING:
    from datasets.base import Dataset
    from methods.base import Method

# The files beside the methods and data sets that are not one themselves.
SUPPORT = {
    "methods": {"base", "losses"},
    "datasets": {
        "base", "tasks", "labels", "published", "inert", "augment", "fit", "packing", "packed", "prepared", "downloads",
    },
}  # fmt: skip


def _names(package: str) -> list[str]:
    files = (path.stem for path in (ROOT / package).glob("[!_]*.py"))
    # Data sets are written with hyphens, as their variants are.
    return sorted(name.replace("_", "-" if package == "datasets" else "_") for name in files if name not in SUPPORT[package])


def _import(file: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except Exception as error:  # whatever is wrong in that file, the user needs its name and the reason
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{file}{where} cannot be imported ({type(error).__name__}: {error}); correct it.") from error


def method_names() -> list[str]:
    """All methods: those of the tree, then plug-ins. Raises `UserError` for a plug-in of a name that the tree has."""
    own, others = _names("methods"), plugins.names()
    for name in others:
        if name in own:
            raise UserError(f"{plugins.where(name)} is called as the method {name} of this program; rename it.")
    return own + others


def _is_plugin(name: str) -> bool:
    return name not in _names("methods")


def dataset_names() -> list[str]:
    return _names("datasets")


def method(name: str) -> type[Method]:
    """The one `Method` defined in methods/<name>.py, or in the plug-in of that name."""
    if name not in method_names():
        raise unknown("method", name, method_names())
    from methods.base import Method

    file = plugins.where(name) if _is_plugin(name) else f"methods/{name}.py"
    module = _method_module(name)
    found = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Method) and c.__module__ == module.__name__]
    if len(found) != 1:
        raise UserError(f"{file} defines {len(found)} subclasses of Method; it must define exactly one.")
    return found[0]


def _method_module(name: str) -> ModuleType:
    if _is_plugin(name):
        return _import(plugins.where(name), lambda: plugins.module(name))
    return _import(f"methods/{name}.py", lambda: importlib.import_module(f"methods.{name}"))


def plugin_content(name: str) -> str:
    """Of a plug-in the hash of its file, which its ids hold; of a method of the tree, which has versions, nothing."""
    if not _is_plugin(name):
        return ""
    method(name)
    return plugins.content(name)


def dataset(name: str) -> type[Dataset]:
    """The data set class in datasets/NAME.py, for NAME or any variant NAME-... of it."""
    name = name.replace("_", "-")
    file = next((known for known in dataset_names() if name == known or name.startswith(known + "-")), None)
    if file is None:
        raise unknown("data set", name, dataset_names())
    stem = file.replace("-", "_")
    module = _import(f"datasets/{stem}.py", lambda: importlib.import_module(f"datasets.{stem}"))
    found = [c for c in vars(module).values() if inspect.isclass(c) and getattr(c, "name", None) == file]
    if len(found) != 1:
        raise UserError(f"datasets/{stem}.py defines {len(found)} classes with name = {file!r}; it must define exactly one.")
    return typing.cast("type[Dataset]", found[0])


def open_dataset(name: str, data: Path) -> Dataset:
    """The data set that a name or a variant means, with its data in the folder `data`, if they are there."""
    return dataset(name)(data, name.replace("_", "-"))


def default_labels(name: str) -> str:
    """The label setting where none is named: what the data set's class says in `default_labels`, else one label an image."""
    return str(getattr(dataset(name), "default_labels", "one"))


def hyperparameters(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(defaults, types) of a method's own keywords: its keyword-only `__init__` parameters are its schema."""
    init = method(name).__init__
    parameters = [p for p in inspect.signature(init).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    hints = typing.get_type_hints(init)
    for p in parameters:
        if p.default is p.empty or p.name not in hints:
            raise UserError(f"the keyword {p.name} of the method {name} lacks a type or a default; write {p.name}: float = 1.0.")
    return {p.name: p.default for p in parameters}, {p.name: hints[p.name] for p in parameters}


def resolve_hyperparameters(name: str, given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(all values, sorted names of those away from their defaults). Raises `UserError` for unknown names and wrong types."""
    defaults, hints = hyperparameters(name)
    values = {key: convert(hints, key, value, f"hyper-parameter of {name}") for key, value in given.items()}
    changed = tuple(sorted(key for key, value in values.items() if value != defaults[key]))
    return defaults | values, changed


@cache
def source_hash(name: str) -> str:
    """Hash of the code that a method is made of: its file and every module of `methods` that it imports, directly or not."""
    method(name)
    seen: set[str] = set()
    pending = [_method_module(name).__name__]
    while pending:
        current = pending.pop()
        seen.add(current)
        for value in vars(sys.modules[current]).values():
            owner = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            if isinstance(owner, str) and owner.startswith("methods.") and owner not in seen:
                pending.append(owner)
    texts = [Path(str(sys.modules[n].__file__)).read_bytes() for n in sorted(seen)]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]
