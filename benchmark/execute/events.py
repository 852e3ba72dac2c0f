"""Write a run's curve as event files too, where `--log tensorboard` asks for them."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.files import writing


class Log:
    """The event files of a run, in a folder of their own; none where `kind` is empty."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind, self.count = folder, kind, 0
        self.writer: Any = None

    def write(self, curve: Sequence[dict[str, Any]], before: float = math.inf) -> None:
        """Write the points of a curve that are new and of a step before `before`.

        The files of a process before this one go first: a run that is taken up logs some points again.
        """
        if not self.kind:
            return
        with writing(self.folder.parent):
            if self.writer is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of the package's own about what it imports
                    from torch.utils.tensorboard import SummaryWriter
                shutil.rmtree(self.folder, ignore_errors=True)
                self.writer = SummaryWriter(str(self.folder))
            old = self.count
            for point in curve[old:]:
                if point["step"] >= before:
                    break
                self.count += 1
                for part in ("loss", "test", "diagnostics"):
                    for name, value in point.get(part, {}).items():
                        if value is not None:
                            self.writer.add_scalar(f"{part}/{name}", value, point["step"])
            if self.count > old:
                self.writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self.writer is not None:
            with suppress(OSError):  # of a full disk `write` tells
                self.writer.close()
