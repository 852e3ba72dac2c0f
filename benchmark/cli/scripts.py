"""What commands print: sentences for people, and with `--json` one JSON value on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout

from benchmark.execute.progress import make_console


def say(text: object) -> None:
    """Print a sentence in one line, as it is: paths and names are no markup."""
    make_console().print(text, soft_wrap=True)


def aside(as_json: bool) -> AbstractContextManager[object]:
    """Send what is printed inside, by a user's own code too, to standard error with `as_json`."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


@contextmanager
def for_scripts(as_json: bool, shown: object) -> Iterator[None]:
    """Print, with `as_json`, JSON of `shown`, which is filled inside; all else goes to standard error.

    An exception leaves standard output empty.
    """
    with aside(as_json):
        yield
    if as_json:
        print(json.dumps(shown, indent=1))
