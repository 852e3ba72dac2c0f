"""Checks are functions whose docstring people read; one that fails raises `Broken` with the reason.

With what finds out whether a step waits for numbers of the device, on a CPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.errors import UserError, reason

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
        why = ""
        if needs.get(check) in failed:
            continue
        try:
            check(subject)
        except (Broken, UserError) as error:
            why = str(error)
        except Exception as error:
            why = reason(error, named=True) + place(error)
        about = " ".join((check.__doc__ or "").split()).removesuffix(".")
        yield Finding(check.__name__.replace("_", " "), about, why)
        if why and check in first:
            return
        failed |= {check} if why else set()


def require(holds: object, reason: str) -> None:
    """Raise `Broken` with `reason` unless something holds."""
    if not holds:
        raise Broken(reason)


def require_tensor(what: str, found: Tensor, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...]) -> None:
    """Raise `Broken` unless a tensor has this shape and one of these dtypes."""
    kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
    here = f"{tuple(found.shape)} {str(found.dtype).removeprefix('torch.')}"
    require(tuple(found.shape) == shape and found.dtype in dtypes, f"{what} is {here}, not {shape} {kinds}")


class NoHost(TorchFunctionMode):
    """Refuse methods of tensors that give their numbers to the host, which on a CPU needs no operator."""

    FORBIDDEN = (
        "numpy", "tolist", "item", "cpu", "__array__", "__bool__", "__float__", "__int__", "__index__",
    )  # fmt: skip

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out a function, or raise `Broken`."""
        name = getattr(function, "__name__", "")
        if name in self.FORBIDDEN:
            said = f"a tensor's {name}() waits for the device and ends a CUDA graph"
            raise Broken(f"{said}; compute with tensors, and keep numbers for diagnostics()")
        return function(*args, **(kwargs or {}))


class NoSync(TorchDispatchMode):
    """Refuse operators that read a value on the host, copy one from it, or whose shape depends on data."""

    FORBIDDEN = (
        "_local_scalar_dense", "nonzero", "masked_select", "unique", "lift_fresh", "bincount", "equal.",
        "is_nonzero",
    )  # fmt: skip

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out an operator, or raise `Broken`."""
        name = str(function)
        looks = any(f"aten.{word}" in name for word in self.FORBIDDEN)
        reason = f"{name} needs the host, or has a shape that depends on data; mask and average instead"
        require(not looks, reason)
        indexes = args[1] if name.startswith(("aten.index.", "aten.index_put")) else ()
        masks = any(index is not None and index.dtype == torch.bool for index in indexes)
        require(not masks, "it indexes with booleans, a shape that depends on data; multiply by the mask")
        return function(*args, **(kwargs or {}))
