"""The constant predictor sees visible labels only, and is the best constant for its metric."""

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.metrics.constant import CHUNK, constant_predictions
from benchmark.metrics.maps import meter
from datasets import tasks
from datasets.tasks import IGNORE, Task

EVERY = (tasks.semseg((*"abcd",)), tasks.depth(), tasks.normals(), tasks.saliency(), tasks.edge())
TASKS = {t.name: t for t in EVERY}


def split(images: int = CHUNK + 6, height: int = 5, width: int = 7) -> tuple[dict[str, Tensor], Tensor]:
    """Compact targets of more than one chunk of images, with gaps, and a mask that shows half of them."""
    g = torch.Generator().manual_seed(3)
    shape = (images, 1, height, width)
    chances = torch.tensor([0.2, 0.5, 0.1, 0.2])
    semseg = torch.multinomial(chances, images * height * width, True, generator=g).view(shape)
    mean = torch.tensor([0.3, -1, -0.8]).view(1, 3, 1, 1)
    vectors = torch.randn(images, 3, height, width, generator=g) + mean
    targets = {
        "semseg": semseg.to(torch.uint8),
        "depth": (torch.rand(shape, generator=g) ** 2 * 6 + 0.5).half(),
        "normals": (torch.nn.functional.normalize(vectors, dim=1) * 127).round().to(torch.int8),
        "saliency": (torch.rand(shape, generator=g) < 0.3).to(torch.uint8),
        "edge": (torch.rand(shape, generator=g) < 0.02).to(torch.uint8),
    }
    hidden = torch.rand(shape, generator=g) < 0.15
    targets = {n: torch.where(hidden, TASKS[n].ignore, v).to(v.dtype) for n, v in targets.items()}
    return targets, torch.rand(images, len(TASKS), generator=g) < 0.5


def judged(task: Task, constant: Tensor, target: Tensor) -> float:
    prediction = constant.view(1, -1, 1, 1).expand(len(target), -1, *target.shape[2:])
    m = meter(task)
    return m.values(m.statistics(prediction, task.maps.widen(target)).sum(0).numpy())[task.metric]


def test_constants_equal_a_loop_over_visible_pixels() -> None:
    targets, labelled = split()
    constants = constant_predictions(TASKS, targets, labelled)
    seen: dict[str, list[np.ndarray]] = {"semseg": [], "depth": [], "normals": []}
    for t, name in enumerate(("semseg", "depth", "normals")):
        for image in labelled[:, t].nonzero()[:, 0].tolist():
            values = TASKS[name].maps.widen(targets[name][image : image + 1])[0].numpy()
            for y, x in np.ndindex(*values.shape[1:]):
                pixel = values[:, y, x]
                if (pixel[0] != IGNORE) if name == "semseg" else pixel.any():
                    seen[name].append(pixel.astype(np.float64))
    assert constants["semseg"].tolist() == [0, 1, 0, 0]
    assert int(np.bincount(np.concatenate(seen["semseg"]).astype(int)).argmax()) == 1
    depths = np.sort(np.concatenate(seen["depth"]))
    assert depths[(len(depths) - 1) // 2] == constants["depth"].item()
    mean = np.mean(seen["normals"], 0)
    np.testing.assert_allclose(constants["normals"].numpy(), mean / np.linalg.norm(mean), atol=1e-6)
    assert all(constants[name].shape == (task.channels,) for name, task in TASKS.items())


def test_hidden_labels_change_nothing() -> None:
    targets, labelled = split()
    before = constant_predictions(TASKS, targets, labelled)
    for t, values in enumerate(targets.values()):
        values[~labelled[:, t]] = 2
    after = constant_predictions(TASKS, targets, labelled)
    assert all(torch.equal(before[name], after[name]) for name in TASKS)
    seen = constant_predictions(TASKS, targets, torch.ones_like(labelled))
    assert not torch.equal(seen["semseg"], after["semseg"]) and not torch.equal(seen["depth"], after["depth"])


@pytest.mark.parametrize("name", list(TASKS))
def test_no_other_constant_does_better_on_the_labels_it_saw(name: str) -> None:
    task = TASKS[name]
    targets, _ = split()
    seen = torch.ones(len(targets[name]), 1, dtype=torch.bool)
    constant = constant_predictions({name: task}, {name: targets[name]}, seen)[name]
    best = judged(task, constant, targets[name])
    g = torch.Generator().manual_seed(4)
    others = [constant + torch.randn(constant.shape, generator=g) for _ in range(10)]
    others = list(torch.eye(4)) if name == "semseg" else others
    others += [-constant] if name in ("saliency", "edge") else []
    # The mean direction minimises squared chords, not angles: here to within a tenth of a degree.
    slack = 0.1 if name == "normals" else 1e-6
    assert all(task.sign * (best - judged(task, other, targets[name])) >= -slack for other in others)
    assert any(task.sign * (best - judged(task, other, targets[name])) > 0 for other in others)


def test_a_task_without_a_visible_label_gets_zeros() -> None:
    targets, labelled = split()
    labelled[:, 1] = False
    targets["normals"][:] = 0
    constants = constant_predictions(TASKS, targets, labelled)
    assert constants["depth"].tolist() == [0] and constants["normals"].tolist() == [0, 0, 0]
