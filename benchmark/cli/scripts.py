"""`--json`: one JSON value on standard output, and all that is for people on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout


def aside(as_json: bool) -> AbstractContextManager[object]:
    """With `as_json`, what is printed inside, by a user's own code too, goes to standard error."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


@contextmanager
def for_scripts(as_json: bool, shown: object) -> Iterator[None]:
    """`aside`, and then, with `as_json`, JSON of `shown`, which is filled inside. An exception leaves
    standard output empty.
    """
    with aside(as_json):
        yield
    if as_json:
        print(json.dumps(shown, indent=1))
