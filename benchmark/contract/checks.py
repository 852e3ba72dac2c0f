"""Checks are functions whose docstring people read; one that fails raises `Broken` with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from benchmark.errors import UserError

S = TypeVar("S")


class Broken(Exception):
    """A method or data set fails a check; the message says what and why."""


@dataclass(frozen=True)
class Finding:
    """check: its name. about: what it asks. reason: why the subject fails it, or nothing."""

    check: str
    about: str
    reason: str


def findings(
    checks: Iterable[Callable[[S], None]],
    subject: S,
    place: Callable[[Exception], str] = lambda error: "",
    first: tuple[Callable[[S], None], ...] = (),
    needs: Mapping[Any, Any] = {},
) -> Iterator[Finding]:
    """Yield the finding of each check. The subject's own error fails a check too, whatever it is.

    place: says where an error arose. first: where one of these fails, the rest is not tried. needs: {check:
    the one before it whose failure it could not be told from}; it is not tried then.
    """
    failed = set()
    for check in checks:
        reason = ""
        if needs.get(check) in failed:
            continue
        try:
            check(subject)
        except (Broken, UserError) as error:
            reason = str(error)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":") + place(error)
        about = " ".join((check.__doc__ or "").split()).removesuffix(".")
        yield Finding(check.__name__.replace("_", " "), about, reason)
        if reason and check in first:
            return
        failed |= {check} if reason else set()


def require(holds: object, reason: str) -> None:
    """Raise `Broken` with `reason` unless something holds."""
    if not holds:
        raise Broken(reason)


def require_tensor(what: str, found: Tensor, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...]) -> None:
    """Raise `Broken` unless a tensor has this shape and one of these dtypes."""
    kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    here = f"{tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}"
    require(tuple(found.shape) == shape and found.dtype in dtypes, f"{what} is {here}, not {shape} {kinds}")
