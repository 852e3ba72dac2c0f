"""Pickles of plain data, read as data: nothing that such a file says is imported or called.

`pickletools.genops` splits a pickle into opcodes and runs none of them. The interpreter here knows the
opcodes that describe text, bytes, numbers, tuples, lists and dicts, and moves such values on a stack of its
own. Of the opcodes that could run code it takes GLOBAL, REDUCE and BUILD, for the names in `NAMES` alone,
which stay names: NumPy's wrappers of a value are kept as `Made` and its text scalars decoded from their bytes
here. Any other name or opcode ends the reading. Memory is bounded by the file's size: every value costs at
least one opcode, text that is decoded is short, and the memo is a dict, so that large numbers in a file claim
nothing.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAMES = {
    "numpy dtype": "dtype",
    "numpy ndarray": "ndarray",
    "numpy.core.multiarray _reconstruct": "_reconstruct",
    "numpy._core.multiarray _reconstruct": "_reconstruct",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "_codecs encode": "encode",  # how protocol 2 writes bytes
}
_VALUES = {
    "BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
    "SHORT_BINBYTES",
}  # fmt: skip
_MARK = object()
_MAKERS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
_LONGEST = 100  # characters of a text scalar, so that decoding one stored text many times stays cheap


@dataclass(frozen=True)
class Name:
    """A name of `NAMES`, standing for itself."""

    name: str


@dataclass(eq=False)
class Made:
    """What a file would have had made: the name, its arguments, and the state set afterwards."""

    name: str
    arguments: tuple[Any, ...]
    state: tuple[Any, ...] = ()


def load(content: bytes) -> Any:
    """The value of a pickle: None, bool, int, float, str, bytes, tuple, list, dict with str keys, or `Made`.

    A 0-dimensional object array, in which `numpy.save` wraps any other object, is given as that object.
    Raises `ValueError` with a phrase that says what is not plain data, or that the pickle is damaged.
    """
    try:
        value = _interpret(content)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its pickle is damaged") from error
    if isinstance(value, Made) and value.name == "_reconstruct" and len(value.state) == 5:
        _, shape, _, _, items = value.state
        if shape == () and type(items) is list and len(items) == 1:
            return items[0]
    return value


def _interpret(content: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def take(count: int) -> list[Any]:
        if len(stack) < count:
            raise IndexError
        taken = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return taken

    def take_to_mark() -> list[Any]:
        count = 1
        while stack[-count] is not _MARK:  # an IndexError where there is none
            count += 1
        return take(count)[1:]

    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "STOP":
                return stack[-1]
            case "PROTO" | "FRAME":
                pass
            case name if name in _VALUES:
                stack.append(argument)
            case name if name in _MAKERS:
                stack.append(_MAKERS[name]())
            case "TUPLE":
                stack.append(tuple(take_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(take(int(name[-1]))))
            case "APPEND" | "APPENDS" as name:
                items = take(1) if name == "APPEND" else take_to_mark()
                _expect(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS" as name:
                items = take(2) if name == "SETITEM" else take_to_mark()
                keys = [_expect(key, str) for key in items[::2]]
                into = _expect(stack[-1], dict)
                if len(items) % 2 or len(set(keys)) != len(keys) or not into.keys().isdisjoint(keys):
                    raise ValueError("it gives a key twice")
                into.update(zip(keys, items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[_expect(argument, int)] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[_expect(argument, int)])
            case "GLOBAL":
                stack.append(_name(str(argument)))
            case "STACK_GLOBAL":
                module, what = take(2)
                stack.append(_name(f"{_expect(module, str)} {_expect(what, str)}"))
            case "REDUCE":
                called, arguments = take(2)
                stack.append(_made(_expect(called, Name).name, _expect(arguments, tuple)))
            case "BUILD":
                (state,) = take(1)
                _expect(stack[-1], Made).state = _expect(state, tuple)
            case name:
                raise ValueError(f"its pickle holds {name}, which no plain data need")
    raise ValueError("its pickle is damaged")


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _name(full: str) -> Name:
    if full not in NAMES:
        raise ValueError(f"its pickle names {full[:60].replace(' ', '.')!r}, which is code and not data")
    return Name(NAMES[full])


def _made(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "encode":
        text, encoding = arguments
        if encoding != "latin1" or len(_expect(text, str)) > 4 * _LONGEST:
            raise TypeError
        return text.encode("latin-1")
    if name == "scalar":
        kind, raw = arguments
        return _text(_expect(kind, Made), _expect(raw, bytes))
    return Made(name, arguments)


def _text(kind: Made, raw: bytes) -> str:
    """The text of a NumPy unicode scalar, which is stored as UTF-32."""
    code = _expect(kind.arguments[0], str)
    if kind.name != "dtype" or not code.startswith("U") or kind.state[1] != "<":
        raise ValueError("it holds a NumPy value that is not text")
    if len(raw) > 4 * _LONGEST:
        raise ValueError(f"it holds a text of more than {_LONGEST} characters")
    return raw.decode("utf-32-le").rstrip("\0")
