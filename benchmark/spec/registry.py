"""Methods and data sets by name: one file each in their folders, found by looking there."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmark import ROOT
from benchmark.errors import UserError, unknown
from benchmark.spec import plugins
from benchmark.spec.protocol import convert
from benchmark.spec.source import code_hash

if TYPE_CHECKING:
    from datasets.base import Dataset
    from methods.base import Method


def _are_views(value: Any) -> bool:
    from methods.base import ViewKind

    described = isinstance(value, tuple) and all(isinstance(kind, ViewKind) for kind in value)
    return described or (type(value) is int and value >= 0)


# What a method's class says of itself.
SAYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "version": ("a whole number of at least 1", lambda value: type(value) is int and value >= 1),
    "views": ("a whole number of at least 0 or a tuple of methods.base.ViewKind", _are_views),
    "one_task": ("True or False", lambda value: isinstance(value, bool)),
    "summary": ("a text", lambda value: isinstance(value, str)),
    "paper": ("a text", lambda value: isinstance(value, str)),
}
# The files beside the methods and data sets that are not one themselves.
SUPPORT = {
    "methods": {"base", "losses"},
    "datasets": {
        "base", "tasks", "labels", "published", "inert", "augment", "fit", "packing", "packed", "prepared",
        "downloads",
    },
}  # fmt: skip


def _names(package: str) -> list[str]:
    files = (path.stem for path in (ROOT / package).glob("[!_]*.py"))
    # Data sets are written with hyphens, as their variants are.
    return sorted(
        name.replace("_", "-" if package == "datasets" else "_")
        for name in files
        if name not in SUPPORT[package]
    )


def method_names() -> list[str]:
    """All methods: those of the tree, then plug-ins. Raises `UserError` for a file of a name that the tree
    has.
    """
    return _names("methods") + _others("methods", "method")


def _others(kind: plugins.Kind, what: str) -> list[str]:
    """The plug-ins of a kind. An entry point of a name that the tree has is left out, with a note."""
    taken = {name.replace("-", "_") for name in _names(kind)}
    found = []
    for name in plugins.names(kind):
        if name not in taken:
            found.append(name)
            continue
        said = f"{plugins.where(name)} is called as the {what} {name} of this program"
        if plugins.is_file(name):
            raise UserError(f"{said}; rename it.")
        plugins.note(f"{said}, which is used")
    return found


def unknown_method(what: str, name: str, known: Iterable[str]) -> UserError:
    """`errors.unknown`, for a name that may be that of a method, or data set, in a file of the user's own."""
    said = str(unknown(what, name, known)).removesuffix(".")
    return UserError(f"{said}{'' if said.endswith('?') else ';'} one of your own needs --plugin FILE.py.")


def is_plugin(name: str) -> bool:
    return name not in _names("methods")


def dataset_names() -> list[str]:
    """All data sets, likewise; the name of a plug-in's file, with hyphens, is that of the data set in it."""
    return _names("datasets") + [name.replace("_", "-") for name in _others("datasets", "data set")]


def method(name: str) -> type[Method]:
    """The one `Method` defined in methods/<name>.py, or in the plug-in of that name."""
    if name not in method_names():
        raise unknown_method("method", name, method_names())
    from methods.base import Method

    file = plugins.where(name) if is_plugin(name) else f"methods/{name}.py"
    module = _method_module(name)
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Method) and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise UserError(f"{file} defines {len(found)} subclasses of Method; it must define exactly one.")
    _check_method(file, found[0], Method)
    return found[0]


def _check_method(file: str, kind: type[Method], base: type[Method]) -> None:
    """Raise `UserError` where a class does not say what it must: ids, records and boards are made of it."""
    for key, (words, holds) in SAYS.items():
        if not holds(value := getattr(kind, key)):
            raise UserError(f"{file}: {key} = {value!r} of {kind.__name__} is not {words}; correct it.")
    for key, arguments in (("losses", "batch, progress"), ("predict", "images")):
        if getattr(kind, key) is getattr(base, key):
            raise UserError(f"{file}: {kind.__name__} has no {key}(self, {arguments}); define it.")


def _method_module(name: str) -> ModuleType:
    if is_plugin(name):
        return plugins.imported(plugins.where(name), lambda: plugins.module(name))
    return plugins.imported(f"methods/{name}.py", lambda: importlib.import_module(f"methods.{name}"))


def plugin_content(name: str) -> str:
    """Of a plug-in the hash of its file, which its ids hold; of a method of the tree, which has versions,
    nothing.
    """
    if not is_plugin(name):
        return ""
    method(name)
    return plugins.content(name)


def dataset(name: str) -> type[Dataset]:
    """The data set class in datasets/NAME.py or the plug-in NAME.py, for NAME or any variant NAME-... of
    it.
    """
    name = name.replace("_", "-")
    file = next((known for known in dataset_names() if name == known or name.startswith(known + "-")), None)
    if file is None:
        raise unknown("data set", name, dataset_names())
    stem = file.replace("-", "_")
    if file in _names("datasets"):
        where, load = f"datasets/{stem}.py", lambda: importlib.import_module(f"datasets.{stem}")
    else:
        where, load = plugins.where(stem), lambda: plugins.module(stem)
    module = plugins.imported(where, load)
    found = [c for c in vars(module).values() if inspect.isclass(c) and getattr(c, "name", None) == file]
    if len(found) != 1:
        raise UserError(
            f"{where} defines {len(found)} classes with name = {file!r}; it must define exactly one."
        )
    return typing.cast("type[Dataset]", found[0])


def open_dataset(name: str, data: Path) -> Dataset:
    """The data set that a name or a variant means, with its data in the folder `data`, if they are there."""
    return dataset(name)(data, name.replace("_", "-"))


def default_labels(name: str) -> str:
    """The label setting where none is named: what the data set's class says in `default_labels`, else one
    label an image.
    """
    return str(getattr(dataset(name), "default_labels", "one"))


def hyperparameters(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(defaults, types) of a method's own keywords: its keyword-only `__init__` parameters are its schema."""
    init = method(name).__init__
    parameters = [
        p for p in inspect.signature(init).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    hints = typing.get_type_hints(init)
    for p in parameters:
        if p.default is p.empty or p.name not in hints:
            raise UserError(
                f"the keyword {p.name} of the method {name} lacks a type or a default; write {p.name}: float "
                f"= 1.0."
            )
    return {p.name: p.default for p in parameters}, {p.name: hints[p.name] for p in parameters}


def resolve_hyperparameters(name: str, given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(all values, sorted names of those away from their defaults). Raises `UserError` for unknown names and
    wrong types.
    """
    defaults, hints = hyperparameters(name)
    values = {key: convert(hints, key, value, f"hyper-parameter of {name}") for key, value in given.items()}
    changed = tuple(sorted(key for key, value in values.items() if value != defaults[key]))
    return defaults | values, changed


@cache
def source_hash(name: str) -> str:
    """`code_hash` of what a method is made of: its file and every module of `methods` that it imports,
    directly or not.
    """
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
    return code_hash(Path(str(sys.modules[n].__file__)).read_text(encoding="utf-8") for n in seen)
