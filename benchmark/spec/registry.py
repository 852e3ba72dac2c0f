"""Methods and data sets by name: one file each, found by looking there."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark import ROOT
from benchmark.errors import UserError, shown, unknown
from benchmark.spec import plugins
from benchmark.spec.protocol import without_none
from benchmark.spec.source import class_values, code_hash, imported_files
from benchmark.typed import Attributes, check_keys, convert

if TYPE_CHECKING:
    from datasets.base import Dataset
    from methods.base import Method


def _are_views(value: Any) -> bool:
    from methods.base import ViewKind

    described = isinstance(value, tuple) and all(isinstance(kind, ViewKind) for kind in value)
    return described or (type(value) is int and value >= 0)


LONGEST_NAME = 160  # characters of a data set's name with its variant
# What a method's class must say of itself.
CLASS_ATTRIBUTES: Attributes = {
    "version": ("a whole number from 1 to 1000000", lambda value: type(value) is int and 1 <= value <= 10**6),
    "views": ("a whole number of at least 0 or a tuple of methods.base.ViewKind", _are_views),
    "one_task": ("True or False", lambda value: isinstance(value, bool)),
    "own_kinds": ("True or False", lambda value: isinstance(value, bool)),
    "uses_teacher": ("True, or not there", lambda value: value is None or isinstance(value, bool)),
    "summary": ("a text", lambda value: isinstance(value, str)),
    "paper": ("a text", lambda value: isinstance(value, str)),
}
# The files beside the methods and data sets that are not one themselves.
SUPPORT = {
    "methods": {"base", "losses"},
    "datasets": {
        "base", "tasks", "kinds", "labels", "published", "augment", "fit", "packing", "packed",
        "prepared", "preparing", "seen", "sources",
    },
    "metrics": set(),
    "kinds": set(),
}  # fmt: skip


class Description(NamedTuple):
    """What a method's class says of itself."""

    version: int = 1
    summary: str = ""
    paper: str = ""


def _names(package: str) -> list[str]:
    """Return the names in a folder; data sets are written with hyphens, as their variants are."""
    stems = {path.stem for path in (ROOT / package).glob("[!_]*.py")} - SUPPORT[package]
    return sorted(name.replace("_", "-") if package == "datasets" else name for name in stems)


def method_names() -> list[str]:
    """Return all methods, the tree's and then plug-ins. Raises `UserError` for a name that both have."""
    return _names("methods") + _others("methods", "method")


def dataset_names() -> list[str]:
    """Return all data sets, likewise; a plug-in's file name, with hyphens, is that of the data set in it."""
    return _names("datasets") + [name.replace("_", "-") for name in _others("datasets", "data set")]


def _others(kind: plugins.Kind, what: str) -> list[str]:
    taken = {name.replace("-", "_") for name in _names(kind)}
    for name in (found := plugins.names(kind)):
        if name in taken:
            raise UserError(
                f"{plugins.where(name)} has the same name as the built-in {what} {name}; rename it."
            )
    return found


def unknown_method(what: str, name: str, known: Iterable[str]) -> UserError:
    """Return `errors.unknown` for a name that may be that of a method or data set of the user's own."""
    text = str(unknown(what, name, known)).removesuffix(".")
    return UserError(f"{text}{'' if text.endswith('?') else ';'} one of your own needs --plugin FILE.py.")


def is_plugin(name: str) -> bool:
    """Return whether a method is none of the tree's."""
    return name not in _names("methods")


def _file(name: str) -> Path:
    return Path(plugins.where(name)) if is_plugin(name) else ROOT / "methods" / f"{name}.py"


def describe(name: str) -> Description:
    """Return what a method says of itself, for one of the tree without importing it (or torch)."""
    if is_plugin(name):
        kind = method(name)
        return Description(kind.version, kind.summary, kind.paper)
    return Description(**class_values(_file(name), ROOT / "methods", Description._fields))


def describe_dataset(name: str) -> str:
    """Return what a data set is and where it is from, as `describe` does; "" for one that is not here."""
    file = ROOT / "datasets" / f"{name.replace('-', '_')}.py"
    if name not in dataset_names():
        return ""
    if not file.is_file():
        return f"{dataset(name).summary} ({dataset(name).source})"
    return "{summary} ({source})".format(**class_values(file, file.parent, ("summary", "source")))


def method(name: str) -> type[Method]:
    """Return the one `Method` defined in methods/<name>.py, or in the plug-in of that name."""
    if name not in method_names():
        raise unknown_method("method", name, method_names())
    from methods.base import Method

    def is_own(kind: type) -> bool:
        return issubclass(kind, Method) and kind.__module__ in (f"methods.{name}", plugins.module_name(name))

    file, kind = class_in("methods", name, is_own, "subclasses of Method")
    check_attributes(file, kind, CLASS_ATTRIBUTES)
    for key, arguments in (("losses", "batch, progress"), ("predict", "images")):
        if getattr(kind, key) is getattr(Method, key):
            raise UserError(f"{file}: {kind.__name__} has no {key}(self, {arguments}); define it.")
    return kind


def check_attributes(file: str, kind: type, table: Attributes) -> None:
    """Raise `UserError` for the first thing that a class of a file says wrongly of itself."""
    for key, (words, holds) in table.items():
        if not holds(value := getattr(kind, key, None)):
            raise UserError(f"{file}: {key} = {value!r} of {kind.__name__} is not {words}; correct it.")


def class_in(package: plugins.Kind, stem: str, holds: Callable[[type], bool], what: str) -> tuple[str, Any]:
    """Return (file, the one class in it that fulfils a condition), of the tree or of a plug-in."""
    if stem not in SUPPORT[package] and (ROOT / package / f"{stem}.py").is_file():
        file, load = f"{package}/{stem}.py", lambda: importlib.import_module(f"{package}.{stem}")
    else:
        file, load = plugins.where(stem), lambda: plugins.module(stem)
    found = [c for c in vars(plugins.imported(file, load)).values() if inspect.isclass(c) and holds(c)]
    if len(found) != 1:
        raise UserError(f"{file} defines {len(found)} {what}; it must define exactly one.")
    return file, found[0]


def plugin_content(name: str) -> str:
    """Return the hash of a plug-in's file, which its ids hold; "" for a method of the tree."""
    if not is_plugin(name):
        return ""
    method(name)
    return plugins.content(name)


def dataset(name: str) -> type[Dataset]:
    """Return the data set class in datasets/NAME.py, or a plug-in, for NAME or any variant NAME-... of it.

    Of several that fit, the longest. Raises `UserError` for a text that is no name: it names folders, too.
    """
    name = name.replace("_", "-")
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
        words = f"of letters, digits, '.', '-' and '_', {LONGEST_NAME} at most"
        raise UserError(f"{shown(name)} is not the name of a data set; give one {words}.")
    fitting = [known for known in dataset_names() if name == known or name.startswith(known + "-")]
    file = max(fitting, key=len, default=None)
    if file is None:
        raise unknown("data set", name, dataset_names())
    stem, what = file.replace("-", "_"), f"classes with name = {file!r}"
    return typing.cast(
        "type[Dataset]", class_in("datasets", stem, lambda c: getattr(c, "name", None) == file, what)[1]
    )


def open_dataset(name: str, data: Path) -> Dataset:
    """Return the data set of a name or a variant, with its data in the folder `data`, if they are there.

    NAME+NAME joins data sets, as the name of a description of several does, and NAME:TASK:TASK uses their
    labels of these tasks alone.
    """
    parts = [part.split(":") for part in name.split("+")]
    opened: list[tuple[Dataset, tuple[str, ...]]] = []
    for first, *tasks in parts:
        one = dataset(first)(data, first.replace("_", "-"))
        joins = getattr(one, "joins", ())
        if joins and tasks:
            raise UserError(f"{first} joins {', '.join(joins)}; name those of them with their tasks.")
        opened += [(type(one)(data, each), ()) for each in joins] or [(one, tuple(tasks))]
    if len(opened) == 1 and not opened[0][1]:
        return opened[0][0]
    from datasets.sources import Part, Sources

    return typing.cast("Dataset", Sources([Part(*each) for each in opened]))


def default_labels(name: str) -> str:
    """Return the label setting where none is named: the class's `default_labels`, else one label an image."""
    return "given" if "+" in name else str(getattr(dataset(name), "default_labels", "one"))


def entries(text: str | None, title: str) -> list[str]:
    """Return the entries of a section of a docstring, as `Departures:` or `Args:` starts one.

    An entry is an indented line; one that is indented further continues it.
    """
    lines = inspect.cleandoc(text or "").splitlines()
    found: list[str] = []
    for line in lines[lines.index(f"{title}:") + 1 :] if f"{title}:" in lines else ():
        if not line.startswith("    "):
            break
        if line.startswith("     ") and found:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
    return found


def departures(name: str) -> list[str]:
    """Return where a method departs from what is published, an entry of its class's docstring each."""
    return entries(method(name).__doc__, "Departures")


def meanings(name: str) -> dict[str, str]:
    """Return {hyperparameter: meaning} from the section Args of a method's `__init__`."""
    pairs = (entry.partition(": ") for entry in entries(method(name).__init__.__doc__, "Args"))
    return {key: meaning for key, _, meaning in pairs}


def hyperparameters(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (defaults, types) of a method's keyword-only `__init__` parameters, which are its schema."""
    init = method(name).__init__
    parameters = [p for p in inspect.signature(init).parameters.values() if p.kind is p.KEYWORD_ONLY]
    hints = typing.get_type_hints(init)
    for p in parameters:
        if p.default is p.empty or p.name not in hints:
            raise UserError(
                f"the hyperparameter {p.name} of the method {name} lacks a type or a default; add it."
            )
    return {p.name: p.default for p in parameters}, {p.name: hints[p.name] for p in parameters}


def resolve_hyperparameters(name: str, given: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return (all values, sorted names of those away from their defaults).

    Raises `UserError` for unknown names and wrong types.
    """
    defaults, hints = hyperparameters(name)
    what = f"hyperparameter of {name}"
    check_keys(given, hints, what)
    values = {
        key: convert(value, hints[key], what, "change its value", key)
        for key, value in without_none(given, hints).items()
    }
    changed = tuple(sorted(key for key, value in values.items() if value != defaults[key]))
    return defaults | values, changed


@cache
def source_hash(name: str) -> str:
    """Return `code_hash` of a method's file and every file of `methods` that it imports, directly or not."""
    if name not in method_names():
        raise unknown_method("method", name, method_names())
    files = imported_files(_file(name), ROOT / "methods")
    return code_hash(file.read_text(encoding="utf-8") for file in files)
