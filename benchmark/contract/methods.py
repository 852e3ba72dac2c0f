"""What every method must keep, checked on a small problem: `bench check`, and the test suite, run these."""

from __future__ import annotations

import inspect
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from benchmark.contract.checks import Broken, Finding, NoHost, NoSync, findings, require
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.training.build import build_method, check_labels
from benchmark.training.loop import Interrupted, Options, Run
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Batch, Losses, Method
from methods.losses import per_sample_loss


@dataclass(frozen=True)
class Subject:
    """A run of a method that is checked, and its data. tasks: {name: Task} of the whole protocol."""

    spec: RunSpec
    train: Split
    test: Split
    tasks: dict[str, Task]

    def run(self, train: Split | None = None, options: Options | None = None) -> Run:
        """Return a run that has not begun."""
        return Run(self.spec, train or self.train, self.test, self.tasks, options or Options())

    def trained(self, train: Split | None = None, stop_at: int | None = None) -> Run:
        """Return a run after its last step, stopped after `stop_at` steps and resumed on the way."""
        stopping = Options(checkpoint_every=1)
        stopping.report = lambda step, steps, loss: stopping.stop.set() if step == stop_at else None
        with tempfile.TemporaryDirectory() as folder:
            place = RunDir(Path(folder), self.spec.folder)
            for options in (Options(),) if stop_at is None else (stopping, Options()):
                run, claim = self.run(train, options), place.claim(self.spec)
                assert claim is not None
                try:
                    run.start(place)
                    with suppress(Interrupted):
                        run.train(place, claim)
                finally:
                    claim.release()
        return run

    @cached_property
    def kind(self) -> type[Method]:
        """The method's class."""
        return registry.method(self.spec.method)

    @cached_property
    def once(self) -> Run:
        """A trained run that several checks look at."""
        return self.trained()


def check(subject: Subject) -> Iterator[Finding]:
    """Yield the findings of all checks; where the method cannot be built, the rest is not tried."""

    def line(error: Exception) -> str:
        """Say where in the method's own file an error arose."""
        own = inspect.getsourcefile(subject.kind)
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == own]
        return f" (line {lines[-1]} of {Path(str(own)).name})" if lines else ""

    needs = {hidden_labels: repeatable, resumable: repeatable}
    return findings(CHECKS, subject, line, first=(keywords, a_first_step), needs=needs)


def keywords(subject: Subject) -> None:
    """Hyperparameters are keyword-only, have a type and a default, and are plain values."""
    for parameter in list(inspect.signature(subject.kind.__init__).parameters.values())[2:]:
        name, default = parameter.name, parameter.default
        only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        require(only, f"{name} of __init__ is not keyword-only; put a * before it")
        plain = isinstance(default, bool | int | float | str | tuple | None)
        require(plain, f"the default of {name}, {default!r}, is no plain value")
    require(subject.kind.summary, "it has no summary; say in one line what the method is")


def a_first_step(subject: Subject) -> None:
    """A step gives one finite loss a task, changes the weights, and names the terms of the next step."""
    run = subject.run()
    run.prepare()
    before, batch = _weights(run), run.feed.batch(0)
    try:
        losses = run.method.train().losses(batch, torch.tensor(0.0))
    except IndexError as error:
        count = len(batch.views)
        cure = "set views to as many as losses() reads of batch.views"
        raise Broken(
            f"losses() raises IndexError: {error}; views = {count} gives {count} views: {cure}"
        ) from error
    wanted = "it must return Losses({task: loss}, {name: extra loss})"
    require(isinstance(losses, Losses), f"losses() returns a {type(losses).__name__}; {wanted}")
    names, tasks = sorted(losses.tasks), sorted(subject.spec.tasks)
    require(names == tasks, f"losses() names {names} as tasks; they are {tasks}")
    for name, value in (losses.tasks | losses.extra).items():
        finite = not value.dim() and bool(torch.isfinite(value))
        shown = value.detach().flatten()[:3].tolist()
        require(finite, f"the loss {name!r} is {shown}, not one finite number")
    for step in range(2):
        torch.manual_seed(step)
        run.stepper(run.feed.batch(step), step)
    if failure := run.stepper.failure():
        raise Broken(f"{failure[1]} is not finite after {failure[0] + 1} steps")
    changed = any(not torch.equal(before[name], value) for name, value in _weights(run).items())
    require(changed, "two steps changed no weight")


def any_labels(subject: Subject) -> None:
    """Losses and gradients are finite whatever labels a batch has: all, none, some."""
    run = subject.run()
    batch = run.feed.batch(0)
    shape = batch.labelled.shape
    for what, pattern in (("no sample has a label", torch.zeros(shape)), ("each has one", torch.eye(*shape))):
        total = run.method.losses(_hidden(batch, pattern.bool(), run.tasks), torch.tensor(0.5)).total()
        run.method.zero_grad()
        if total.requires_grad:
            total.backward()
        found = [total, *(p.grad for p in run.method.parameters() if p.grad is not None)]
        finite = all(bool(torch.isfinite(value).all()) for value in found)
        require(finite, f"a loss or a gradient is not finite where {what}; divide by a count clamped to 1")


def pseudo_targets(subject: Subject) -> None:
    """Normals that losses() makes into targets of its own have unit length, as labels have."""
    run, lengths, loss = subject.run(), list[Tensor](), per_sample_loss

    def heard(task: Task, prediction: Tensor, target: Tensor) -> Tensor:
        if task.kind == "normals":
            lengths.append(target.detach().square().sum(1, keepdim=True).sqrt()[task.valid(target)])
        return loss(task, prediction, target)

    users = [m for m in list(sys.modules.values()) if getattr(m, "per_sample_loss", None) is loss]
    with ExitStack() as patches:
        for module in users:
            patches.enter_context(mock.patch.object(module, "per_sample_loss", heard))
        run.method.train().losses(run.feed.batch(0), torch.tensor(0.5))
    found = torch.cat([torch.ones(1), *(each.float().flatten() for each in lengths)])
    least, most = float(found.min()), float(found.max())
    reason = f"normals given to a loss as targets have lengths from {least:.2f} to {most:.2f}"
    require(least > 0.95 and most < 1.05, f"{reason}; divide them by their length first, as F.normalize does")


def hidden_labels(subject: Subject) -> None:
    """Labels that the run may not see change no bit of its weights and losses."""
    mask = check_labels(subject.spec, subject.train, subject.test)
    targets = dict(subject.train.targets)
    for t, name in enumerate(subject.spec.protocol.tasks):
        other = targets[name].roll(1, 0)  # another sample's labels: wrong, and like any label
        targets[name] = torch.where(mask[:, t].view(-1, 1, 1, 1), targets[name], other)
    run = subject.trained(replace(subject.train, targets=targets))
    reason = "other values of hidden labels end in other weights: something reads labels that are not visible"
    _require_same(subject.once, run, reason)


def no_look_at_data(subject: Subject) -> None:
    """A step waits for no number of the device and no shape depends on data, as a CUDA graph asks."""
    run = subject.run()
    run.method.train()
    run.loop(0)  # what is made once may be made
    host = run.feed.batch(1).labelled_host
    with NoHost(), NoSync():
        run.stepper.advance(run.feed.batch_at(run.stepper.at, None, host))


def repeatable(subject: Subject) -> None:
    """The same run ends in the same bits."""
    reason = (
        "a second run ends in other weights: draw from torch's generator, not from random or numpy, and keep "
        "nothing in globals; hidden labels and resuming are checked when this holds"
    )
    _require_same(subject.once, subject.trained(), reason)


def resumable(subject: Subject) -> None:
    """A run that is stopped and goes on ends in the same bits: all state is in the state dict."""
    reason = "stopped and resumed it ends in other weights: keep state in buffers, not in attributes"
    _require_same(subject.once, subject.trained(stop_at=2), reason)


def predictions(subject: Subject) -> None:
    """predict() gives every task a finite map at the image's size, the same for an image in any batch."""
    run = subject.once
    images, _ = run.test.rows(0)
    run.method.eval()
    with torch.no_grad():
        whole, again, alone = (run.method.predict(given) for given in (images, images, images[:1]))
    run.method.train()
    for name, task in run.tasks.items():
        require(name in whole, f"predict() gives no {name}")
        wanted, found = (len(images), task.channels, *subject.spec.protocol.size), tuple(whole[name].shape)
        require(found == wanted, f"predict() gives {name} in shape {found}, not {wanted}")
        require(torch.isfinite(whole[name]).all(), f"predict() gives {name} values that are not finite")
        same = torch.equal(whole[name], again[name])
        require(
            same, f"predict() gives another {name} the second time: draw from a generator with a fixed seed"
        )
        same = torch.allclose(whole[name][:1], alone[name], rtol=1e-3, atol=1e-3)
        require(same, f"predict() gives an image another {name} in another batch")


def state(subject: Subject) -> None:
    """The state dict holds all that predict() needs, and inference_modules() all of its parameters."""
    run = subject.once
    fresh = build_method(subject.spec, run.tasks, None, {})
    fresh.load_state_dict(run.method.state_dict())
    shipped = {id(p) for module in fresh.inference_modules() for p in module.parameters()}
    images, _ = run.test.rows(0)
    with torch.no_grad():
        for parameter in fresh.parameters():
            if id(parameter) not in shipped:
                parameter.fill_(torch.nan)
        one, two = run.method.eval().predict(images), fresh.eval().predict(images)
    run.method.train()
    for name in run.tasks:
        same = torch.equal(one[name], two[name])
        require(same, f"a method with the same state and inference_modules() alone predicts another {name}")


# In the order in which to look: what a failure of one would be mistaken for comes before it.
CHECKS: tuple[Callable[[Subject], None], ...] = (
    keywords, a_first_step, any_labels, pseudo_targets, repeatable, hidden_labels, resumable,
    no_look_at_data, predictions, state,
)  # fmt: skip


def _weights(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def _require_same(a: Run, b: Run, reason: str) -> None:
    second = b.method.state_dict()
    for name, value in a.method.state_dict().items():
        require(torch.equal(value, second[name]), f"{reason} (first {name})")
    require(a.curve == b.curve, f"{reason} (its losses differ)")


def _hidden(batch: Batch, labelled: Tensor, tasks: dict[str, Task]) -> Batch:
    """Return the batch with other labels visible, of those that it has."""
    labelled = labelled & batch.labelled
    masks = {name: column.view(-1, 1, 1, 1) for name, column in zip(tasks, labelled.unbind(1), strict=True)}

    def hide(targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.where(masks[name], tasks[name].ignore) for name, value in targets.items()}

    views = tuple(replace(view, targets=hide(view.targets)) for view in batch.views)
    return replace(batch, targets=hide(batch.targets), labelled=labelled, labelled_host=labelled, views=views)
