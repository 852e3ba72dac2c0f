"""The one exception that means: the input is wrong, and this sentence says how to put it right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MANY = 30  # names that a message lists at the most


class UserError(Exception):
    """Bad input. The command line prints the message alone and exits with code 2.

    The message is one sentence that names the file, key or value, what was expected and what to do.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for an unknown name, with the nearest known names as a suggestion."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
    hint = f"did you mean {near[0]!r}?" if near else f"known: {shown or 'none'}."
    return UserError(f"unknown {what} {name!r}; {hint}")
