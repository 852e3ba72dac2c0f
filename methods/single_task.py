"""The single-task reference: one network a task, each trained on the images labelled for it."""

from __future__ import annotations

from typing import ClassVar

from methods.multi_task import MultiTask


class SingleTask(MultiTask):
    """Train `multi_task` on one task; a plan turns it into T runs.

    Departures:
        MTPSL's code: it draws batches of all images and skips those without the label; here none is drawn.
    """

    summary = "T networks, one a task, each on the images that carry its label; the reference of delta m"
    paper = "reference"
    one_task: ClassVar[bool] = True
