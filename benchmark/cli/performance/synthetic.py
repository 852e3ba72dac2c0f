"""Samples made up for measuring: images of noise and labels in blocks, so that no data are needed."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.base import Split
from datasets.tasks import Task

BLOCK = 8  # pixels a side within which a label is the same
DIRECTIONS = ((0, 0, -127), (90, 0, -90), (-90, 0, -90), (0, 90, -90), (0, -90, -90))


def split(tasks: dict[str, Task], size: tuple[int, int], count: int) -> Split:
    """A split of `count` samples of size (H, W), with every label of every task; the same on every
    machine.
    """
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=draw)
    coarse = torch.randint(
        0, 2**15, (count, 1, -(-size[0] // BLOCK), -(-size[1] // BLOCK)), dtype=torch.int16, generator=draw
    )
    blocks = coarse.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)[..., : size[0], : size[1]]
    targets = {name: _target(task, blocks) for name, task in tasks.items()}
    available = torch.ones(count, len(tasks), dtype=torch.bool)
    names = tuple(f"made-up-{i}" for i in range(count))
    return Split(torch.arange(count), names, images, targets, available, f"made-up-{count}")


def _target(task: Task, blocks: Tensor) -> Tensor:
    """The compact target (N, C, H, W) of a task, from blocks (N, 1, H, W) of random integers."""
    if task.kind == "depth":
        return ((blocks % 7 + 1) * (task.span[1] / 8)).half()
    if task.kind == "normals":
        table = torch.tensor(DIRECTIONS, dtype=torch.int8)
        return table[(blocks[:, 0] % len(table)).long()].permute(0, 3, 1, 2).contiguous()
    if task.kind == "edge":
        edges = torch.zeros(blocks.shape, dtype=torch.uint8)
        edges[..., 1:] |= (blocks[..., 1:] != blocks[..., :-1]).to(torch.uint8)
        return edges
    return (blocks % (2 if task.kind == "saliency" else task.channels)).to(torch.uint8)
