"""What every method must do, whoever wrote it. Runs over all methods found in methods/."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.contract import methods as contract
from benchmark.spec import registry
from benchmark.spec.run import RunSpec
from benchmark.spec.weighting import BALANCES, EQUAL
from benchmark.training.build import init_hashes
from benchmark.training.loop import Run
from datasets import labels
from datasets.base import Split
from tests.helpers import (
    CASES,
    FOUR,
    METHODS,
    SIX,
    TASKS,
    THREE,
    assert_same,
    computed,
    finished,
    run_of,
    specs,
    tiny_spec,
    tiny_split,
    trained,
    weights,
)


def with_garbage(split: Split, spec: RunSpec) -> Split:
    """The same split with noise, NaN and impossible classes wherever the run's mask hides a label."""
    names = spec.protocol.tasks
    columns = [list(split.targets).index(n) for n in names]
    mask = labels.sample(split.ids, split.available[:, columns], spec.labels, spec.label_seed)
    targets = dict(split.targets)
    for t, name in enumerate(names):
        bad = torch.randint(0, 120, targets[name].shape).to(targets[name].dtype)
        if bad.is_floating_point():
            bad[..., ::2] = float("nan")
        targets[name] = torch.where(mask[:, t].view(-1, 1, 1, 1), targets[name], bad)
    return replace(split, targets=targets)


def spec_of(case: str, setting: str = "random") -> RunSpec:
    """A run of at least three steps: of the few images that a one-task method sees in more epochs."""
    epochs = 4.0 if registry.method(CASES[case][0]).one_task else 1.0
    tasks = SIX if case == "multi_task" or setting != "random" else FOUR
    return specs(case, labels=setting, tasks=tasks, epochs=epochs)[-1]


@pytest.mark.parametrize(
    ("method", "setting"),
    [*((case, "random") for case in CASES), ("mtpsl", "given"), ("mtpsl", "fraction:0.5")],
)
def test_neither_garbage_nor_a_stop_changes_a_record(method: str, setting: str, tmp_path: Path) -> None:
    """Nor any weight, and what comes after training: the constant prediction, diagnostics, pictures."""
    spec, train = spec_of(method, setting), tiny_split()
    dirty, names = with_garbage(train, spec), spec.protocol.tasks
    hides = [not torch.equal(dirty.targets[n].nan_to_num(), train.targets[n].nan_to_num()) for n in names]
    assert all(hides) or (setting == "given" and any(hides))
    one, there, record = finished(spec, tmp_path / "clean", train)
    trained(spec, tmp_path / "dirty", dirty, stop=2)
    two, here, same = finished(spec, tmp_path / "dirty", dirty)
    assert one.step == two.step > 2
    assert_same(weights(one), weights(two))
    assert computed(record) == computed(same)
    assert there.file("panel.webp").read_bytes() == here.file("panel.webp").read_bytes()


@pytest.mark.parametrize("method", CASES)
def test_every_method_keeps_the_contract(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes, finite losses under any labels, its state is whole; the rest is what the test above asks."""
    above = (contract.hidden_labels, contract.repeatable, contract.resumable)
    asked = [each for each in contract.CHECKS if each not in above]
    monkeypatch.setattr(contract, "CHECKS", asked)
    spec = spec_of(method)
    tasks = {name: TASKS[name] for name in spec.protocol.tasks}
    subject = contract.Subject(spec, tiny_split(), tiny_split(20, 9), tasks)
    found = list(contract.check(subject))
    assert len(found) == len(asked) == len(set(asked)) == 7
    assert not {finding.check: finding.reason for finding in found if finding.reason}
    batch = subject.once.feed.batch(0)
    assert len(batch.views) == subject.once.method.views
    for diagnostic in subject.once.method.diagnostics(batch).values():
        assert torch.isfinite(torch.as_tensor(diagnostic.array)).all()


def shapes(run: Run, part: str) -> dict[str, torch.Size]:
    return {n: p.shape for n, p in run.method.named_parameters() if n.startswith(f"{part}.")}


def test_equal_seeds_mean_equal_labels_order_crops_and_shared_weights() -> None:
    """For a one-task method, whose images are a part of the whole, on the restriction."""
    train = tiny_split()
    runs = {m: [run_of(s, train) for s in specs(m)] for m in METHODS}
    whole = {m: r[0] for m, r in runs.items() if not registry.method(m).one_task}
    first = whole["multi_task"]
    mask_hashes = {labels.mask_hash(train.ids, run.mask, THREE) for many in runs.values() for run in many}
    assert len(mask_hashes) == 1
    assert len({run.feed.hashes["order"] for run in whole.values()}) == 1
    assert len({run.feed.hashes["crops"] for run in whole.values()}) == 1
    for name, many in runs.items():
        for run in many:
            alike = [p for p in run.init.keys() & first.init.keys() if shapes(run, p) == shapes(first, p)]
            assert {part: run.init[part] for part in alike} == {part: first.init[part] for part in alike}
            # Encoder, a decoder, a head; the wide one's are of other shapes.
            assert len(alike) >= (1 if name == "wide_multi_task" else 3)
    order = [int(i) for i in torch.cat([first.feed.batch(s).index for s in range(3)])]  # 12 images: one epoch
    for run in runs["single_task"]:
        column = THREE.index(run.spec.tasks[0])
        allowed = set(train.ids[run.mask[:, column]].tolist())
        steps = -(-len(allowed) // run.feed.batch_size)
        own = [int(i) for i in torch.cat([run.feed.batch(s).index for s in range(steps)])][: len(allowed)]
        assert own == [i for i in order if i in allowed]
        crops = {int(i): d for i, d in zip(first.feed._ids[:12], first.feed._draws[0][:12], strict=True)}
        assert all(torch.equal(d, crops[int(i)]) for i, d in zip(own, run.feed._draws[0], strict=False))


def test_other_seeds_mean_other_everything() -> None:
    train = tiny_split()
    one, two = (run_of(tiny_spec(seed=s), train) for s in (0, 1))
    assert labels.mask_hash(train.ids, one.mask, THREE) != labels.mask_hash(train.ids, two.mask, THREE)
    assert all(one.feed.hashes[key] != two.feed.hashes[key] for key in ("order", "crops"))
    assert all(init_hashes(one.method)[k] != v for k, v in init_hashes(two.method).items())


@pytest.fixture(scope="module")
def unweighted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of multi_task under `equal`."""
    return weights(trained(tiny_spec("multi_task", "random"), tmp_path_factory.mktemp("equal")))


# A method of extra losses under some, too; any method under `equal` is tested above.
WEIGHTED = [("multi_task", b) for b in BALANCES if b != EQUAL] + [
    ("mtpsl", b) for b in ("uncertainty", "pcgrad")
]


@pytest.mark.parametrize(("method", "balance"), WEIGHTED)
def test_neither_garbage_in_hidden_labels_nor_an_interruption_changes_a_bit(
    method: str, balance: str, unweighted: dict[str, Tensor], tmp_path: Path
) -> None:
    """Against a run on clean data without a stop. Three epochs, as dwa looks at two."""
    if BALANCES[balance].kind == "gradients":
        pytest.importorskip("torchjd")
    spec = replace(tiny_spec(method, "random"), balance=balance)
    dirty = with_garbage(tiny_split(), spec)
    whole = trained(spec, tmp_path / "whole")
    cut = trained(spec, tmp_path / "cut", dirty, stop=5)
    resumed = trained(spec, tmp_path / "cut", dirty)
    assert cut.step == 5 and resumed.step == whole.step > 5
    assert_same(weights(whole), weights(resumed))
    assert_same(whole.stepper.balancing.state_dict(), resumed.stepper.balancing.state_dict())
    assert whole.curve == resumed.curve
    if method == "multi_task":
        assert any(not torch.equal(value, unweighted[name]) for name, value in weights(whole).items())


@pytest.mark.slow
@pytest.mark.parametrize("balance", [name for name in BALANCES if name != EQUAL])
@pytest.mark.parametrize("setting", ["full", "given", "one", "random", "fraction:0.5"])
@pytest.mark.parametrize("method", [name for name in METHODS if not registry.method(name).one_task])
def test_nor_does_it_in_the_whole_product(method: str, setting: str, balance: str, tmp_path: Path) -> None:
    if BALANCES[balance].kind == "gradients":
        pytest.importorskip("torchjd")
    spec, train = replace(tiny_spec(method, setting, epochs=2.0), balance=balance), tiny_split()
    clean = trained(spec, tmp_path / "a", train)
    dirty = trained(spec, tmp_path / "b", with_garbage(train, spec))
    assert_same(weights(clean), weights(dirty))
    assert clean.curve == dirty.curve
    assert all(bool(torch.isfinite(value).all()) for value in weights(clean).values())
