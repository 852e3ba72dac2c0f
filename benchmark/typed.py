"""Check plain values against types with msgspec, and say in one sentence what is wrong."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from benchmark.errors import UserError, shown, unknown

# Names reach file names, terminals, spreadsheets and figures: none can be a formula, a mark-up or a control
# code there. Prose may hold anything, and is escaped where it is written.
Name = Annotated[str, Meta(max_length=200, pattern=r"\A(?![=+@-])[\w .+=(),:/-]*\Z")]
Prose = Annotated[str, Meta(max_length=4096)]
Unit = Annotated[str, Meta(max_length=20, pattern=r"\A[\w %/.^°-]*\Z")]
# {attribute of a class: (what it must be, whether a value is that)}
Attributes = dict[str, tuple[str, Callable[[Any], bool]]]
Scalar = bool | int | float | Prose | None
Plain = bool | int | float | Prose | None | list[Scalar | list[Scalar]] | dict[Name, Scalar | list[Scalar]]

_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`decimal`": "a number",
    "`str`": "a text",
    "`bool`": "true or false",
    "`object`": "a table",
    "`array`": "a list",
    "`null`": "none",
}


def convert(value: Any, kind: Any, where: str, cure: str = "correct it", name: str = "") -> Any:
    """Return a plain value as a type that msgspec knows, bounds included.

    `where` stands before the key in the message, `cure` after what was expected; `name` is the key of the
    value itself. Raises `UserError` for the innermost value that does not fit.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        inner_key, inner, part, reason = _innermost(value, kind, error)
    except TypeError:  # a type that msgspec does not know, such as Literal[0.5, 1.0]: its values are compared
        choices = _choices(kind)
        if not choices or any(type(one) is type(value) and one == value for one in choices):
            return value
        inner_key, inner, part, reason = "", kind, value, ""
    key = ".".join(filter(None, (name, inner_key)))
    field = re.search(r"(missing required|unknown) field `(.+?)`", reason)
    if field and field[1] == "unknown":
        raise UserError(f"{where}: {unknown('key', field[2], typing.get_type_hints(_bare(inner)))}")
    if field:
        raise UserError(f"{where}: {'.'.join(filter(None, (key, field[2])))} is missing; {cure}.")
    literal = _choices(inner)
    if literal and isinstance(part, str):
        raise UserError(f"{where}: {unknown(key, part, map(str, literal))}")
    expected = "one of " + ", ".join(map(repr, literal)) if literal else _in_words(reason)
    raise UserError(f"{where}: {key} is {shown(part)}; expected {expected}; {cure}.")


def _choices(kind: Any) -> tuple[Any, ...]:
    """Return the values of a Literal; none for another type."""
    return typing.get_args(_bare(kind)) if typing.get_origin(_bare(kind)) is typing.Literal else ()


def check_keys(values: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise `UserError` for the first key that is not known."""
    names = list(known)
    for key in values:
        if key not in names:
            raise unknown(what, str(key), names)


def _in_words(reason: str) -> str:
    """Return what msgspec's message asks for, in words."""
    text = reason.partition(" - at ")[0].removeprefix("Expected ").replace(" | ", "` or `")
    text = re.sub(
        "matching regex .*", "of letters, digits, spaces and _.+=(),:/- that begins otherwise", text
    )
    return re.sub(r"`\w+`", lambda part: _WORDS.get(part[0], part[0]), text)


def _innermost(value: Any, kind: Any, error: Exception) -> tuple[str, Any, Any, str]:
    """Return the dotted key, type and value of the smallest part that fails, and msgspec's reason."""
    for key, part, inner in _parts(value, kind):
        try:
            msgspec.convert(part, inner)
        except msgspec.ValidationError as reason:
            deeper = _innermost(part, inner, reason)
            return (".".join(filter(None, (key, deeper[0]))), *deeper[1:])
    return "", kind, value, str(error)


def _parts(value: Any, kind: Any) -> Iterator[tuple[str, Any, Any]]:
    kind = _bare(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(value, dict) and origin is dict:
        yield from ((str(key), part, arguments[1]) for key, part in value.items())
    elif isinstance(value, dict) and (dataclasses.is_dataclass(kind) or hasattr(kind, "__struct_fields__")):
        hints = typing.get_type_hints(kind, include_extras=True)
        yield from ((key, value[key], hint) for key, hint in hints.items() if key in value)
    elif isinstance(value, list | tuple) and origin in (list, tuple):
        yield from ((str(index), part, arguments[0]) for index, part in enumerate(value))


def _bare(kind: Any) -> Any:
    """Return a type without its bounds and without none."""
    if typing.get_origin(kind) is typing.Annotated:
        return _bare(typing.get_args(kind)[0])
    others = [other for other in typing.get_args(kind) if other is not type(None)]
    return _bare(others[0]) if len(others) == 1 and type(None) in typing.get_args(kind) else kind
