"""One run, from spec to record."""

from __future__ import annotations

import io
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmark import streams
from benchmark.errors import UserError, reason
from benchmark.files import read_tensors, replacing, write_json, writing
from benchmark.runs import pictures, provenance
from benchmark.runs.claim import Claim
from benchmark.runs.rundir import RunDir
from benchmark.runs.schema import Point
from benchmark.spec import registry
from benchmark.spec.protocol import CountOrZero, NotNegative
from benchmark.spec.run import RunSpec
from benchmark.training import outcome
from benchmark.training.batches import Feed
from benchmark.training.build import build_method, check_labels, init_hashes, normalisation
from benchmark.training.cuda_graph import Loop
from benchmark.training.device import arithmetic, on_device
from benchmark.training.evaluate import Scores, TestSet
from benchmark.training.step import Step, lr_factor
from datasets import labels
from datasets.base import Split
from datasets.tasks import Task

CURVE_POINTS = 40  # of the training losses, at most


class Diverged(Exception):
    """A loss or gradient is not finite; the message names step, term and learning rate."""


class Interrupted(Exception):
    """The user asked to stop; the run was checkpointed at a step's end."""


@dataclass
class Options:
    """How a run is carried out; nothing here changes a number of it, or enters its id.

    checkpoint_every: steps. stop: set it to stop at the next step's end. report: called with (step, steps,
    mean loss) at log cadence. beat: called after every step. note: called with a sentence for people.
    capture: steps as one CUDA graph, where that can be. keep: "weights" keeps the inference weights, "all"
    the optimiser's state too, "none" neither.
    """

    device: str = "cpu"
    checkpoint_every: int = 500
    keep: str = "weights"
    weights: dict[str, Path] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None
    beat: Callable[[], None] = lambda: None
    note: Callable[[str], None] = lambda sentence: None
    capture: bool = True


class Place(msgspec.Struct):
    """Where a checkpoint stands."""

    step: CountOrZero
    logged: CountOrZero
    seconds: NotNegative
    curve: list[Point]
    cpu_seconds: NotNegative = 0.0


class Run:
    """A run under way: what it is made of, and where it stands."""

    def __init__(
        self, spec: RunSpec, train: Split, test: Split, tasks: dict[str, Task], options: Options
    ) -> None:
        """tasks: {name: Task} of the whole protocol. Raises `UserError` as `check_labels` does."""
        self.spec, self.options, protocol = spec, options, spec.protocol
        # Now: the code may change meanwhile.
        self.environment = provenance.environment(options.device, protocol.threads)
        torch.set_num_threads(protocol.threads)
        arithmetic(options.device, protocol.precision)
        self.mask = check_labels(spec, train, test)
        self.tasks = {name: tasks[name] for name in spec.tasks}
        own = self.mask[:, [protocol.tasks.index(t) for t in spec.tasks]]
        shares, complete = own.double().mean(0), labels.complete(spec.labels, own)
        complete = complete and (train.source is None or bool(own.all()))
        fraction = labels.parse(spec.labels).name == "fraction"
        alone = registry.method(spec.method).one_task
        if alone:  # every image that such a run sees carries its label
            shares, complete = torch.ones_like(shares), True
        self.method = build_method(spec, self.tasks, shares if fraction else None, options.weights, complete)
        self.init = init_hashes(self.method)
        on_device(self.method, options.device, protocol.encoder)
        mean_std = normalisation(self.method)
        self.feed = Feed(
            train, self.mask, self.tasks, protocol, seed=spec.train_seed, views=self.method.views,
            normalisation=mean_std,
            device=options.device, labelled_only=alone,
            with_teacher=getattr(self.method, "uses_teacher", False),
        )  # fmt: skip
        self.test = TestSet(test, self.tasks, mean_std, protocol.batch, options.device, protocol.encoder)
        self.train_split, self.test_fingerprint = train, test.fingerprint
        weighted = (spec.balance, spec.lr_scale, spec.weighting)
        self.stepper = Step(self.method, protocol, self.feed.steps, *weighted)
        self.loop = Loop(self.feed, self.stepper, spec.balance, options.capture)
        self.told: str | None = None
        self.test.beat = options.beat
        self.curve: list[dict[str, Any]] = []
        self._peak = 0
        self.step, self.logged, self.seconds, self.cpu_seconds = 0, 0, 0.0, 0.0

    @property
    def epoch(self) -> float:
        """The number of times that every image was seen so far."""
        return round(self.step * self.spec.protocol.batch / self.feed.images, 3)

    def peak(self) -> int:
        """Return the most bytes of a GPU that the run has held, diagnostics aside."""
        return max(self._peak, torch.cuda.max_memory_allocated(self.options.device))

    def start(self, run: RunDir) -> None:
        """Go to the last checkpoint, or prepare the method for step 0."""
        with writing(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            write_json(run.file("env.json"), self.environment)
            path = run.file("checkpoint.pt")
            if path.exists():
                self._load(path)
            # What a killed process logged after its last checkpoint will be logged again.
            lines = (json.dumps(point) + "\n" for point in self.curve)
            run.file("curve.jsonl").write_text("".join(lines), encoding="utf-8")
        if not self.step:
            self.prepare()

    def prepare(self) -> None:
        """Let the method look at the first batches."""
        steps = range(min(8, self.feed.steps))
        with streams.seeded(self.spec.train_seed, "init", streams.name_hash("prepare")), torch.no_grad():
            self.method.prepare(self.feed.batch(step) for step in steps)

    def take(self, step: int, loop: Loop) -> None:
        """Take the step of this number, seeded by it: what a method draws itself needs no saved state."""
        torch.manual_seed(streams.seed_of(self.spec.train_seed, "method", step))  # of the CPU and of CUDA
        loop(step)

    def train(self, run: RunDir, claim: Claim) -> None:
        """Take all steps that are left.

        Raises `Diverged`, `Interrupted`, or `Lost` when another process took the run.
        """
        steps, options = self.feed.steps, self.options
        log_every = max(1, -(-steps // CURVE_POINTS))
        evaluate_every = steps / (self.spec.protocol.evaluations + 1)
        began, processor = time.perf_counter(), time.process_time()
        self.method.train()
        while self.step < steps:
            self.take(self.step, self.loop)
            self.step += 1
            options.beat()
            last = self.step == steps
            if self.step % log_every == 0 or last:
                self._log()
                if not last and self.step // evaluate_every > (self.step - log_every) // evaluate_every:
                    began += self._evaluate()  # the cost is that of training alone
                with writing(run.path), run.file("curve.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(self.curve[-1]) + "\n")
            # After the last step too: judging may take longer than the process is left.
            if self.step % options.checkpoint_every == 0 or last or options.stop.is_set():
                self._check_finite()
                claim.check()
                now = time.perf_counter()
                self.seconds, began = self.seconds + now - began, now
                # Evaluations included; where others keep the machine busy, it does not grow.
                spent = time.process_time()
                self.cpu_seconds, processor = self.cpu_seconds + spent - processor, spent
                self._save(run.file("checkpoint.pt"), claim)
                if options.stop.is_set():
                    raise Interrupted(f"stopped at step {self.step} of {steps}")
        self._check_finite()
        self.seconds += time.perf_counter() - began

    def _log(self) -> None:
        losses = self.stepper.read(self.step - self.logged)
        self.logged = self.step
        self.curve.append({"step": self.step, "epoch": self.epoch, "loss": losses})
        self.options.report(self.step, self.feed.steps, sum(losses.values()))
        if self.loop.reason != self.told and self.options.device.startswith("cuda"):
            self.told = self.loop.reason
            self.options.note(f"{self.spec.folder} is not captured as a CUDA graph: {self.told}")
        self._check_finite()

    def _evaluate(self) -> float:
        """Add primary metrics and scalar diagnostics to the curve; return the seconds that it took."""
        before, cuda = time.perf_counter(), self.options.device.startswith("cuda")
        scores = self.test.scores(self.method, self.spec.protocol.precision)
        self.curve[-1]["test"] = {t: next(iter(s.values.values())) for t, s in scores.items()}
        self._peak = self.peak() if cuda else 0
        found = {n: float(d.array) for n, d in outcome.diagnostics(self).items() if d.kind == "scalar"}
        if found:
            finite = {name: value if math.isfinite(value) else None for name, value in found.items()}
            self.curve[-1]["diagnostics"] = finite
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.options.device)
        return time.perf_counter() - before

    def _check_finite(self) -> None:
        """Raise `Diverged` if a loss, a gradient or, after the last update, a weight is not finite."""
        found, steps, protocol = self.stepper.failure(), self.feed.steps, self.spec.protocol
        finite = [torch.isfinite(p).all() for p in self.method.parameters()]
        if found is None and not bool(torch.stack(finite).all()):
            found = (self.step - 1, "a weight after the update")
        if found:
            step, term = found
            rate = protocol.lr * self.spec.lr_scale * lr_factor(protocol, step, steps)
            raise Diverged(
                f"{term} is not finite at step {step} (counted from 0) of {steps}, learning rate {rate:.3g}"
            )

    def _save(self, path: Path, claim: Claim) -> None:
        state = {key: getattr(self, key) for key in ("step", "logged", "seconds", "cpu_seconds", "curve")}
        state |= {"method": self.method.state_dict(), "stepper": self.stepper.state()}
        save(state | {"id": self.spec.id}, path, claim)

    def _load(self, path: Path) -> None:
        cure = f"remove it to start the run {path.parent.name} anew"
        try:
            state = read_tensors(path, self.options.device)
            if state["id"] != self.spec.id:
                raise UserError(
                    f"the checkpoint {path} is of run {state['id']}, not of {self.spec.id}; {cure}."
                )
            self.method.load_state_dict(state["method"])
            self.stepper.load(state["stepper"])
            at = msgspec.convert({key: state[key] for key in Place.__struct_fields__ if key in state}, Place)
            if not at.logged <= at.step <= self.feed.steps:
                raise ValueError(f"it is at step {at.step} of {self.feed.steps}")
            self.curve, self.step, self.logged = state["curve"], at.step, at.logged
            self.seconds, self.cpu_seconds = at.seconds, at.cpu_seconds
        except UserError:
            raise
        except Exception as error:  # a damaged file raises many kinds
            raise UserError(f"the checkpoint {path} is damaged ({reason(error)[:160]}); {cure}.") from None

    def _check_stop(self) -> None:
        """Stop if asked, between batches of the last evaluation: all training is in the checkpoint."""
        self.options.beat()
        if self.options.stop.is_set():
            raise Interrupted(f"stopped after all {self.step} steps, before the run was judged")

    def finish(self, run: RunDir, claim: Claim) -> dict[str, Any]:
        """Evaluate, write everything a record needs, and last the record itself.

        Raises `Interrupted` and `Lost`.
        """
        began = time.perf_counter()
        self.test.beat = self._check_stop
        try:
            scores: dict[str, Scores] = self.test.scores(self.method, self.spec.protocol.precision)
        finally:
            self.test.beat = self.options.beat  # no circle: a run gives its memory back when nobody holds it
        evaluation = time.perf_counter() - began
        claim.check()
        panel = outcome.panel(self)
        result = outcome.record(self, scores, evaluation)
        with writing(run.path):
            with replacing(run.file("panel.webp"), claim.token) as draft:
                pictures.save_webp(panel, draft)
            with replacing(run.file("per_image.npz"), claim.token) as draft:
                outcome.write_arrays(self, scores, draft)
            if self.options.keep == "all":
                self._save(run.file("checkpoint.pt"), claim)
            if self.options.keep != "none":
                weights = {"id": self.spec.id, "method": self.method.state_dict()}
                save(weights, run.file("weights.pt"), claim)
        claim.publish_record(result)
        if self.options.keep != "all":
            run.file("checkpoint.pt").unlink(missing_ok=True)
        return result


def save(state: Any, path: Path, claim: Claim) -> None:
    """Save with torch, leaving the old file or the new one, and nothing if the run was taken over."""
    # Through memory: torch's writer turns a full disk into a RuntimeError, and a sentence needs the cause.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with writing(path.parent), claim.replacing(path) as draft:
        draft.write_bytes(buffer.getvalue())
