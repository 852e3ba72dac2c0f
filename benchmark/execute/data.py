"""Read the data of runs, each split once a process, and check runs against them before the first starts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import RunSpec

if TYPE_CHECKING:
    from datasets.base import Split
    from datasets.tasks import Task

HELD = 4  # splits in memory at a time: of two data sets, or sizes
PATIENCE_SECONDS = 5.0  # between two notes about a split that takes its time


class Data:
    """Splits by data set and size. note: told what is ready, and how far a long preparation is."""

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda message: None) -> None:
        self.folder, self.note = folder, note
        self._splits: dict[Any, Split] = {}

    def tasks(self, spec: RunSpec) -> dict[str, Task]:
        """Return {name: task} of a run's whole protocol."""
        tasks = registry.open_dataset(spec.variant, self.folder).tasks
        metrics = {"edge": spec.protocol.edge_metric}
        chosen = {name: tasks[name] for name in spec.protocol.tasks}
        return {
            name: replace(task, metric=metrics.get(task.kind, task.metric)) for name, task in chosen.items()
        }

    def split(self, spec: RunSpec, name: str) -> Split:
        """Return a split of a run's data set. Raises `UserError` for absent, damaged or other data.

        For tuning, "train" is the first part of the train images and "test" the rest, which is set aside.
        """
        if spec.protocol.judge == "holdout":
            from datasets.packing import narrowed  # torch comes with it

            train = self._whole(spec, "train")
            kept = len(train) - max(1, round(spec.protocol.holdout * len(train)))
            if kept < 1:
                raise UserError(f"holdout = {spec.protocol.holdout} sets all train images aside; lower it.")
            return narrowed(train, *((0, kept) if name == "train" else (kept, len(train))))
        return self._whole(spec, name)

    def check(self, cells: Sequence[RunSpec], results: Path, *, force: bool) -> None:
        """Raise the `UserError` that any run deserves, before the first leaves a trace.

        Finished runs must have used the data that are here: no board could hold both.
        """
        pending = [spec for spec in cells if force or RunDir(results, spec.folder).state() != "done"]
        check_keywords(pending, self)
        if pending:
            from benchmark.training.build import check_labels

            apart: set[str] = set()
            for spec in sorted(pending, key=lambda s: (s.variant, s.protocol.size)):  # each is read once
                train, test = self.split(spec, "train"), self.split(spec, "test")
                check_labels(spec, train, test)
                if train.source is not None and train.fingerprint not in apart:
                    check_apart(train, test)
                    apart.add(train.fingerprint)
        here = {spec.variant for spec in cells if registry.open_dataset(spec.variant, self.folder).here()}
        for spec in cells:
            record = None if spec in pending else RunDir(results, spec.folder).record
            if not record or not (pending or spec.variant in here):
                continue
            if record["hashes"]["data"] != self.split(spec, "train").fingerprint:
                raise UserError(
                    f"{spec.folder} was computed on other data than those of {spec.variant} in {self.folder} "
                    f"now; give --force to run the plan anew, or another folder with --results."
                )

    def _whole(self, spec: RunSpec, name: str) -> Split:
        limit = spec.protocol.train_images if name == "train" else spec.protocol.test_images
        key = (spec.variant, name, spec.protocol.size, limit)
        if key not in self._splits:
            dataset = registry.open_dataset(spec.variant, self.folder)
            if dataset.variant != spec.variant:
                raise UserError(
                    f"the data in {self.folder} are {dataset.variant!r} but the run was planned for "
                    f"{spec.variant!r}; name the right folder with --data or plan again."
                )
            began = told = time.monotonic()

            def progress(done: int, wanted: int) -> None:
                nonlocal told
                if time.monotonic() - told > PATIENCE_SECONDS:
                    told = time.monotonic()
                    self.note(f"{spec.variant}: {name} images: {done} of {wanted}")

            dataset.progress = progress
            split = self._splits[key] = dataset.split(name, spec.protocol.size, limit)
            size, seconds = "x".join(map(str, spec.protocol.size)), time.monotonic() - began
            self.note(f"{dataset.variant}: {len(split)} {name} images at {size} ready in {seconds:.1f} s")
        self._splits[key] = self._splits.pop(key)  # the newest last
        for old in list(self._splits)[:-HELD]:
            del self._splits[old]
        return self._splits[key]


def check_apart(train: Split, test: Split) -> None:
    """Raise `UserError` if joined data sets share an image: one is tested on what another trained on."""
    known: dict[bytes, tuple[str, int]] = {}
    for split in (train, test):
        assert split.source is not None
        for name, image, source in zip(split.names, split.images, split.source.tolist(), strict=True):
            digest = hashlib.sha256(image.contiguous().numpy().data).digest()
            other, its_source = known.setdefault(digest, (name, source))
            if source != its_source:
                raise UserError(
                    f"{name} is the same image as {other}, which would count twice, or be trained on and "
                    "tested on; take it out of one of the data sets that are joined."
                )


def check_keywords(cells: Sequence[RunSpec], data: Data) -> None:
    """Raise the `UserError` that a method's hyperparameters deserve, for each kind of run once."""
    from benchmark.training.build import check_method

    checked = set()
    for spec in cells:
        p = spec.protocol
        method = (spec.method, repr((spec.hyperparameters, spec.weighting)), spec.balance, spec.tasks)
        kind = (method, p.tasks, p.encoder, p.width, p.size, p.decoder_blocks)
        if kind not in checked:
            check_method(spec, data.tasks(spec))
            checked.add(kind)
