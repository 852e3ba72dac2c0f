"""What every method must keep, checked on a small problem: `bench check`, and the test suite, run these.

A check is a function of a `Subject` that returns nothing when the method keeps it and raises `Broken` with
the reason otherwise; its docstring is what people read. A method's own error counts as broken too, whatever
it raises.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.errors import UserError
from benchmark.runs.rundir import RunDir
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.training.build import build_method, check_labels
from benchmark.training.loop import Interrupted, Options, Run
from datasets.base import Split
from datasets.tasks import Task
from methods.base import Batch, Losses, Method


class Broken(Exception):
    """A method does not keep a check; the message says what and why."""


@dataclass(frozen=True)
class Subject:
    """A run of a method that is checked, and the data it is checked on. tasks: {name: Task} of the whole
    protocol.
    """

    spec: RunSpec
    train: Split
    test: Split
    tasks: dict[str, Task]

    def run(self, train: Split | None = None, **options: Any) -> Run:
        return Run(self.spec, train or self.train, self.test, self.tasks, Options(**options))

    def trained(self, folder: Path, train: Split | None = None) -> Run:
        """A run after its last step, begun or resumed in `folder`."""
        run, place = self.run(train), RunDir(folder, self.spec.folder)
        claim = place.claim(self.spec)
        assert claim is not None
        try:
            run.start(place)
            run.train(place, claim)
        finally:
            claim.release()
        return run

    @cached_property
    def kind(self) -> type[Method]:
        return registry.method(self.spec.method)

    @cached_property
    def once(self) -> Run:
        """A trained run that several checks look at."""
        with tempfile.TemporaryDirectory() as folder:
            return self.trained(Path(folder))


@dataclass(frozen=True)
class Finding:
    """check: its name. about: what it asks. reason: why the method does not keep it, or nothing."""

    check: str
    about: str
    reason: str


def check(subject: Subject) -> Iterator[Finding]:
    """The findings of all checks, one after another. Where the method cannot be built, the rest is not
    tried.
    """
    for function in CHECKS:
        reason = ""
        try:
            function(subject)
        except (Broken, UserError) as error:
            reason = str(error)
        except Exception as error:  # the method's own
            place = _line_of(error, subject.kind)
            reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":") + place
        yield Finding(function.__name__.replace("_", " "), " ".join((function.__doc__ or "").split()), reason)
        if reason and function in (keywords, a_first_step):
            return


def _line_of(error: Exception, kind: type[Method]) -> str:
    """Where in the method's own file an error arose."""
    own, trace, found = inspect.getsourcefile(kind), error.__traceback__, ""
    while trace:
        if trace.tb_frame.f_code.co_filename == own:
            found = f" (line {trace.tb_lineno} of {Path(own).name})"
        trace = trace.tb_next
    return found


def keywords(subject: Subject) -> None:
    """Hyper-parameters are keyword-only, have a type and a default, and are plain values."""
    init = subject.kind.__init__
    for parameter in list(inspect.signature(init).parameters.values())[2:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise Broken(f"{parameter.name} of __init__ is not keyword-only; put a * before it")
        if not isinstance(parameter.default, bool | int | float | str | tuple | None):
            raise Broken(f"the default of {parameter.name}, {parameter.default!r}, is no plain value")
    if not subject.kind.summary:
        raise Broken("it has no summary; say in one line what the method is")


def a_first_step(subject: Subject) -> None:
    """A step gives one finite loss for each task, changes the weights, and names the same terms as the next
    step.
    """
    run = subject.run()
    with tempfile.TemporaryDirectory() as folder:
        run.start(RunDir(Path(folder), subject.spec.folder))
    before = _weights(run)
    batch = run.feed.batch(0)
    losses = run.method.train().losses(batch, torch.tensor(0.0))
    if not isinstance(losses, Losses):
        raise Broken(
            f"losses() returns a {type(losses).__name__}; it must return Losses({{task: loss}}, "
            f"{{name: extra loss}})"
        )
    if set(losses.tasks) != set(subject.spec.tasks):
        raise Broken(f"losses() names {sorted(losses.tasks)} as tasks; they are {sorted(subject.spec.tasks)}")
    for name, value in (losses.tasks | losses.extra).items():
        if value.dim() or not torch.isfinite(value):
            raise Broken(
                f"the loss {name!r} is {value.detach().flatten()[:3].tolist()}, not one finite number"
            )
    for step in range(2):
        torch.manual_seed(step)
        run.stepper(run.feed.batch(step), step)
    if failure := run.stepper.failure():
        raise Broken(f"{failure[1]} is not finite after {failure[0] + 1} steps")
    if all(torch.equal(before[name], value) for name, value in _weights(run).items()):
        raise Broken("two steps changed no weight")


def any_labels(subject: Subject) -> None:
    """Losses and gradients are finite whatever labels a batch has: all, none, some."""
    run = subject.run()
    batch = run.feed.batch(0)
    shape = batch.labelled.shape
    for said, pattern in (("no sample has a label", torch.zeros(shape)), ("each has one", torch.eye(*shape))):
        losses = run.method.losses(_hidden(batch, pattern.bool(), run.tasks), torch.tensor(0.5))
        run.method.zero_grad()
        total = losses.total()
        if total.requires_grad:
            total.backward()
        gradients = [p.grad for p in run.method.parameters() if p.grad is not None]
        if not torch.isfinite(total) or not all(bool(torch.isfinite(g).all()) for g in gradients):
            raise Broken(
                f"a loss or a gradient is not finite where {said}; divide by a count clamped to 1, and mask "
                f"before"
            )


def hidden_labels(subject: Subject) -> None:
    """Labels that the run may not see change no bit of its weights and losses."""
    mask = check_labels(subject.spec, subject.train, subject.test)
    targets = dict(subject.train.targets)
    for t, name in enumerate(
        subject.spec.protocol.tasks
    ):  # another sample's labels: wrong, and like any label
        targets[name] = torch.where(mask[:, t].view(-1, 1, 1, 1), targets[name], targets[name].roll(1, 0))
    with tempfile.TemporaryDirectory() as folder:
        other = subject.trained(Path(folder), replace(subject.train, targets=targets))
    _same(
        subject.once,
        other,
        "other values of hidden labels end in other weights: something reads labels that are not visible",
    )


def no_look_at_data(subject: Subject) -> None:
    """A step waits for no number of the device and has no shape that depends on data, so that it can become
    one CUDA graph.
    """
    run = subject.run()
    run.method.train()
    run.loop(0)  # what is made once may be made
    host = run.feed.batch(1).labelled_host
    with NoSync():
        run.stepper.advance(run.feed.batch_at(run.stepper.at, None, host))


def repeatable(subject: Subject) -> None:
    """The same run ends in the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        again = subject.trained(Path(folder))
    _same(subject.once, again, "a second run ends in other weights: draw from torch's generator in losses()")


def resumable(subject: Subject) -> None:
    """A run that is stopped and goes on ends in the same bits: all state is in the state dict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = Options(checkpoint_every=1)
        options.report = lambda step, steps, loss: options.stop.set() if step == 2 else None
        run, place = (
            Run(subject.spec, subject.train, subject.test, subject.tasks, options),
            RunDir(folder, subject.spec.folder),
        )
        claim = place.claim(subject.spec)
        assert claim is not None
        try:
            run.start(place)
            run.train(place, claim)
        except Interrupted:
            pass
        finally:
            claim.release()
        resumed = subject.trained(folder)
    _same(
        subject.once,
        resumed,
        "stopped and resumed it ends in other weights: keep state in buffers, not in attributes",
    )


def predictions(subject: Subject) -> None:
    """predict() gives every task a finite map of its channels at the image's size, the same for an image in
    any batch.
    """
    run = subject.once
    images, _ = run.test.rows(0)
    run.method.eval()
    with torch.no_grad():
        whole, again, alone = (
            run.method.predict(images),
            run.method.predict(images),
            run.method.predict(images[:1]),
        )
    run.method.train()
    for name, task in run.tasks.items():
        if name not in whole:
            raise Broken(f"predict() gives no {name}")
        wanted = (len(images), task.channels, *subject.spec.protocol.size)
        if tuple(whole[name].shape) != wanted:
            raise Broken(f"predict() gives {name} in shape {tuple(whole[name].shape)}, not {wanted}")
        if not bool(torch.isfinite(whole[name]).all()):
            raise Broken(f"predict() gives {name} values that are not finite")
        if not torch.equal(whole[name], again[name]):
            raise Broken(
                f"predict() gives another {name} the second time: draw from a generator of its own with a "
                f"fixed seed"
            )
        if not torch.allclose(whole[name][:1], alone[name], rtol=1e-3, atol=1e-3):
            raise Broken(
                f"predict() gives an image another {name} in another batch: metrics would depend on the "
                f"batch size"
            )


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
        if not torch.equal(one[name], two[name]):
            raise Broken(
                f"a method with the same state and inference_modules() alone predicts another {name}"
            )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    keywords, a_first_step, any_labels, hidden_labels, no_look_at_data, repeatable, resumable, predictions,
    state,
)  # fmt: skip


class NoSync(TorchDispatchMode):
    """Refuses every operator that reads a value on the host, copies one from it, or has a shape that depends
    on data.
    """

    FORBIDDEN = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "lift_fresh",
        "bincount",
        "equal.",
        "is_nonzero",
    )

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        if any(f"aten.{word}" in name for word in self.FORBIDDEN):
            raise Broken(
                f"{name} needs the host, or has a shape that depends on data; mask and average on the device "
                f"instead"
            )
        if name.startswith(("aten.index.", "aten.index_put")) and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        ):
            raise Broken(
                "it indexes with booleans, whose shape depends on data; multiply by the mask instead"
            )
        return function(*args, **(kwargs or {}))


def _weights(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.method.state_dict().items()}


def _same(a: Run, b: Run, reason: str) -> None:
    first, second = a.method.state_dict(), b.method.state_dict()
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise Broken(f"{reason} (first {name})")
    if a.curve != b.curve:
        raise Broken(f"{reason} (its losses differ)")


def _hidden(batch: Batch, labelled: Tensor, tasks: dict[str, Task]) -> Batch:
    """The batch with other labels visible, of those that it has."""
    labelled = labelled & batch.labelled

    def hide(targets: dict[str, Tensor]) -> dict[str, Tensor]:
        masks = dict(zip(tasks, labelled.unbind(1), strict=True))
        return {
            n: torch.where(masks[n].view(-1, 1, 1, 1), v, torch.full_like(v, tasks[n].ignore))
            for n, v in targets.items()
        }

    views = tuple(replace(view, targets=hide(view.targets)) for view in batch.views)
    return replace(batch, targets=hide(batch.targets), labelled=labelled, labelled_host=labelled, views=views)
