"""Data sets of files: found as packed stores in the data folder, or read there from what people have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from benchmark.errors import UserError, unknown
from datasets import packed, published
from datasets.base import Split
from datasets.fit import Fit
from datasets.layouts.base import Source
from datasets.packing import Arrays, pack
from datasets.tasks import Task

MTAN = "on Dropbox behind pages that the README of lorenmt/mtan on GitHub links to"
SPLITS = (
    "the papers' label splits come from VICO-UoE/MTPSL on GitHub, folder data_split; `bench labels "
    "import PATH` reads your copy."
)


@dataclass(frozen=True)
class Form:
    """Describe one form in which a data set is used.

    tasks: all that it may have; size: the (H, W) that its papers use; fit: how images of other sizes meet it;
    images: how many the papers train and test on.
    """

    tasks: dict[str, Task]
    size: tuple[int, int]
    fit: Fit = "scale"
    images: tuple[int, int] | None = None


class Prepared(ABC):
    """Read a data set of files, from packed stores or as people have it.

    Its name in specs is a form's, with the variant of the labels where they are not the papers'. A subclass
    says which forms there are (the first is meant where none is named), how to `open` what people have, and
    which of the papers' label splits fit it. Nothing is read before a property or `split` needs it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    forms: ClassVar[dict[str, Form]]
    expected: ClassVar[str]  # what a folder or file of it looks like, for messages
    url: ClassVar[str | None] = None  # a file that anyone may fetch; no publisher gives a checksum
    url_size: ClassVar[int | None] = None  # its bytes, where commonly quoted
    elsewhere: ClassVar[tuple[str, ...]]  # sentences on the other ways to come by it

    def __init__(self, data: Path, wanted: str = "") -> None:
        self.data = data
        self.wanted = wanted or self.name
        self.progress: Callable[[int, int], None] | None = None

    @classmethod
    @abstractmethod
    def open(cls, path: Path, form: str) -> Source | None:
        """Return the reader of a folder or file; None for no known layout."""

    @classmethod
    def form_of(cls, name: str) -> str:
        """Return the form that a name means, a data set's being its first. Raises `UserError` for none."""
        if name == cls.name:
            return next(iter(cls.forms))
        for form in sorted(cls.forms, key=len, reverse=True):
            if name == form or name.startswith(form + "-"):
                return form
        raise unknown(f"form of {cls.name}", name, cls.forms)

    @classmethod
    def form_in(cls, source: Source, name: str) -> Form:
        """Return a folder's form; some data sets' folders say so themselves."""
        return cls.forms[name]

    @cached_property
    def _stores(self) -> list[packed.Store]:
        return [store for store in packed.find(self.data, self.name) if self._means(store.variant)]

    @property
    def _own(self) -> list[packed.Store]:
        """The stores of the variant, of one size each."""
        return [store for store in self._stores if store.variant == self.variant]

    @cached_property
    def _unpacked(self) -> Source | None:
        """What lies in the data folder itself, or in it under the data set's name, as people have it."""
        form = self.form_of(self.wanted)
        for folder in (self.data / self.name, self.data):
            if folder.exists() and (found := self.open(folder, form)):
                return next((s for s in found.members if self._means(variant_of(form, s))), None)
        return None

    def _means(self, variant: str) -> bool:
        return self.wanted == self.name or variant == self.wanted or variant.startswith(self.wanted + "-")

    @cached_property
    def variant(self) -> str:
        """Name the data here, or without any the papers'. Raises `UserError` where several are meant."""
        here = sorted({store.variant for store in self._stores})
        if self.wanted in here or len(here) == 1:
            return self.wanted if self.wanted in here else here[0]
        if here:
            cure = f"name one of them as dataset instead of {self.wanted!r}"
            raise UserError(f"{self.data} holds {', '.join(here)}; {cure}.")
        form = self.form_of(self.wanted)
        if self._unpacked:
            return variant_of(form, self._unpacked)
        return form if self.wanted == self.name else self.wanted

    def here(self) -> tuple[str, ...]:
        """Name what there is of them, one for each variant and size, packed or not."""
        found = tuple(f"{store.variant} at {store.size[0]}x{store.size[1]}" for store in self._stores)
        return found or (f"{self.variant}, not packed",) * (self._unpacked is not None)

    @property
    def default_size(self) -> tuple[int, int]:
        """Return the papers' (H, W), or one that is here."""
        form = self.form_of(self.variant)
        sizes = [store.size for store in self._own]
        unpacked = self._unpacked if not sizes else None
        size = (self.form_in(unpacked, form) if unpacked else self.forms[form]).size
        return size if size in sizes or not sizes else sizes[0]

    @property
    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the data here have; without any, the form's."""
        if found := [self._tasks_in(store) for store in self._own]:  # what every size has
            return {name: task for name, task in found[0].items() if all(name in tasks for tasks in found)}
        return dict(self._unpacked.tasks if self._unpacked else self.forms[self.form_of(self.variant)].tasks)

    @property
    def teachers(self) -> tuple[str, ...]:
        """Return the tasks of which train images have a teacher's maps."""
        held = next(iter(self._own), self._unpacked)
        return held.teachers if held else ()

    def _tasks_in(self, store: packed.Store) -> dict[str, Task]:
        every = self.forms[self.form_of(self.variant)].tasks
        return {name: task for name, task in every.items() if name in store.manifest["tasks"]}

    def split(self, name: str, size: tuple[int, int], limit: int | None = None) -> Split:
        """Map a split's first `limit` samples at (H, W), or read them.

        From a store, or from the user's folder. Raises `UserError` when the data are absent, not prepared at
        this size, damaged or odd.
        """
        if name not in packed.SPLITS:
            raise unknown(f"split of {self.name}", name, packed.SPLITS)
        if limit is not None and limit < 1:
            raise UserError(f"{self.name}: limit is {limit}; expected at least 1 image.")
        arrays, total, how = self._arrays(name, size, limit)
        split = replace(arrays.split(self.tasks, limit, total), fit=how)
        return replace(split, published=partial(self._published, split)) if name == "train" else split

    def _arrays(self, name: str, size: tuple[int, int], limit: int | None) -> tuple[Arrays, int, Fit]:
        for store in self._own:
            if store.size == size:
                arrays = store.arrays(name)
                return arrays, len(arrays.names), store.manifest["fit"]
        wanted = "x".join(map(str, size))
        if sizes := ", ".join("x".join(map(str, store.size)) for store in self._own):
            cure = f"`bench data prepare {self.form_of(self.variant)} PATH --size {wanted}` prepares it"
            raise UserError(f"{self.variant} is prepared at {sizes} in {self.data}, not at {wanted}; {cure}.")
        if self._unpacked is None:
            raise self._absent()
        form = self.form_in(self._unpacked, self.form_of(self.variant))
        said = self.progress or (lambda done, wanted: None)
        arrays = pack(self._unpacked, name, self.tasks, size, form.fit, limit=limit, progress=said)
        return arrays, len(self._unpacked.names(name)), form.fit

    def _absent(self) -> UserError:
        cure = f"`bench data prepare {self.form_of(self.wanted)} PATH` prepares it from {self.expected}"
        return UserError(f"there is no {self.wanted} in {self.data}; {cure}.")

    def _published(self, split: Split, which: str, tasks: Sequence[str]) -> Tensor:
        total = split.total if split.total is not None else len(split)
        rows = self.published_rows(split)
        return published.load(self.data, self.name, which, split.names, rows, total, tuple(tasks))

    @classmethod
    def published_rows(cls, split: Split) -> Tensor:
        """Find each sample's row in the papers' label split, unused where that goes by name; (N,) int64."""
        return split.ids


def variant_of(form: str, source: Source) -> str:
    """Name a form, with a source's variant: `nyuv2-13-derived-normals`."""
    return f"{form}-{source.variant}" if source.variant else form
