"""The one exception that means: the input is wrong, and this sentence says how to put it right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

MANY = 30  # names that a message lists at the most


class UserError(Exception):
    """Bad input. The command line prints the message alone and exits with code 2.

    The message is one sentence that names the file, key or value, what was expected and what to do.
    """


def shown(value: object) -> str:
    """Return a value as messages quote it, at most 60 characters long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"a {type(value).__name__} with too long a number"
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """Return a text that leaves a terminal as it is.

    Control characters, marks that turn the direction of writing and what is no character become `\\x1b`.
    """
    odd = "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
    return re.sub(odd, lambda found: ascii(found[0])[1:-1], text)


def reason(error: BaseException | str, named: bool = False) -> str:
    """Return an error's message in one line, after its kind if that is to be `named` or all there is."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    return f"{kind}: {text}" if named and text else text or kind


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for an unknown name, with the nearest known names as a suggestion."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listed = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
    hint = f"did you mean {near[0]!r}?" if near else f"known: {listed or 'none'}."
    return UserError(f"unknown {what} {shown(name)}; {hint}")
