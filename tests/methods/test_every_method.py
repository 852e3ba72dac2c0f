"""What every method's own code must do, whichever it is; the harness's side is in tests/test_contract.py."""

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.contract.checks import NoSync
from benchmark.errors import UserError
from benchmark.spec import registry
from benchmark.training.build import initialise
from methods.base import Batch, Losses, Method, view_kinds
from tests.conftest import ROOT
from tests.helpers import SMALL
from tests.methods.cases import ALL, EMPTY, LABELS, THREE, Labelled, batch, problem, reached

METHODS = registry.method_names()
# Every method with its defaults, and what they do not reach.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{name}({key}={value})": (name, {key: value})
    for name, key, value in (
        ("diffusion", "space", "prediction"), ("direct_map", "mapper_learns_from", "labels"),
        ("mean_teacher", "evaluate", "student"), ("mean_teacher", "trust", "bins"),
        ("consistency", "trust", "bins"),
        ("hitts", "bins", False), ("hitts", "evaluate", "student"), ("prototype", "vq_mode", "ema"),
        ("rdc", "regions", "grid"), ("rdc", "covariance", "full"),
        ("prototype", "affinity_level", "slots"), ("prototype", "projection", "per_task"),
        ("prototype", "cross_attention", "constant"), ("prototype", "aux_weight", 0.5),
    )
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | VARIANTS
THIN = {"direct_map": {"mapper_width": 1}, "jtr": {"ae_width": 1}, "mtpsl": {"mapper_width": 1}}
SIZE = (32, 32)


def made(case: str, **changes: Any) -> Method:
    name, keywords = CASES[case]
    kind = registry.method(name)
    torch.manual_seed(3)
    chosen = problem(("depth",) if kind.one_task else THREE, SIZE)
    return kind(replace(chosen, **changes), **(SMALL.get(name, {}) | THIN.get(name, {}) | keywords))


def given(method: Method, labelled: list[list[int]]) -> Batch:
    columns = [row[-len(method.problem.tasks) :] for row in labelled]
    return batch(method.problem, columns, views=len(view_kinds(method.views)), single=True)


def test_the_readme_has_a_row_on_what_each_adds_and_one_on_what_it_needs() -> None:
    lines = (ROOT / "methods" / "README.md").read_text(encoding="utf-8").splitlines()
    named = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert sorted(named) == sorted(METHODS * 2)


@pytest.mark.parametrize(
    ("case", "complete"), [*((case, False) for case in VARIANTS), ("mtpsl", True), ("rdc", True)]
)
def test_a_step_never_looks_at_the_data(case: str, complete: bool) -> None:
    """What the contract asks of the defaults."""
    method = made(case, complete=complete)
    data, progress = given(method, LABELS["mixed"][:2]), torch.tensor(0.1)
    with NoSync():
        method.losses(data, progress).total().backward()
        method.after_step()


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_finite_and_no_label_is_no_supervised_loss(case: str) -> None:
    """In reduced precision too, in which losses are float32."""
    method = made(case)
    for labelled in ("mixed", "nothing", "full"):
        method.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            losses = method.losses(given(method, LABELS[labelled][:2]), torch.tensor(0.5))
        terms = [*losses.tasks.values(), *losses.extra.values()]
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms)
        sum(losses.tasks.values(), torch.zeros(())).backward(retain_graph=True)
        assert labelled != "nothing" or (not reached(method) and not any(losses.tasks.values()))
        losses.total().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    method.zero_grad()
    losses = method.losses(given(method, [[1, 0, 0]] * 3), torch.tensor(0.0))
    sum(losses.tasks.values(), torch.zeros(())).backward()
    assert reached(method) == ("semseg" in method.problem.tasks)
    for name in method.problem.tasks:
        assert name == "semseg" or not reached(method.heads[name]), name  # type: ignore[index]


def ids(parameters: Any) -> list[int]:
    return sorted(map(id, parameters))


UNDECAYED = ("codebook.codes", "slots.values", "tokens.values", "table.values")
EXTRA = {  # with parts that predictions do not need
    "direct_map", "hitts", "jtr", "mean_teacher", "mtpsl", "pad_net", "perceptual_map", "prototype", "rdc",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_parameters_are_listed_once_drawn_by_their_module_and_shipped_where_needed(
    case: str,
) -> None:
    method = made(case).eval()
    groups, names = method.param_groups(), {id(p): name for name, p in method.named_parameters()}
    trained = [p for p in method.parameters() if p.requires_grad]
    assert ids(p for group in groups for p in group["params"]) == ids(trained)
    for group in groups:
        free = [names[id(p)] for p in group["params"]]
        assert free
        if group.get("weight_decay") == 0.0:
            assert all(name.endswith(UNDECAYED) for name in free)
        elif "lr_scale" in group:
            assert group["lr_scale"] in (10.0, 2.0) and all(n.endswith(("gamma", "beta")) for n in free)
    for module in method.modules():
        if list(module.parameters(recurse=False)):
            assert callable(getattr(module, "reset_parameters", None)), type(module)
    images = torch.randn(2, 3, *SIZE)
    shipped = {id(p) for module in method.inference_modules() for p in module.parameters()}
    with torch.no_grad():
        before = method.predict(images)
        for p in method.parameters():
            if id(p) not in shipped:
                p.fill_(torch.nan)
        after: dict[str, Tensor] = method.predict(images)
    assert all(torch.equal(after[name], before[name]) for name in method.problem.tasks)
    assert (len(shipped) < len(names)) == (CASES[case][0] in EXTRA or "bins" in case)


@pytest.mark.parametrize("name", METHODS)
def test_one_task_is_trained_or_skipped_and_small_images_are_refused_or_fit(name: str) -> None:
    kind = registry.method(name)
    assert kind.one_task or kind.skip({name: ALL[name] for name in THREE}) is None
    reason = kind.skip({"depth": ALL["depth"]})
    if reason is None:
        method = kind(problem(("depth",)), **SMALL.get(name, {}))
        method.losses(given(method, [[1], [0]]), torch.tensor(1.0)).total().backward()
        assert reached(method)
    else:
        assert "at least two" in reason
    try:
        kind(problem(size=(16, 64)), **SMALL.get(name, {}))
    except UserError as error:
        assert str(error).startswith(f"{name}: images must be at least 32 pixels")
    else:
        assert name not in ("direct_map", "jtr", "mtpsl", "perceptual_map", "rdc")


def losses_of(method: str, labelled: Labelled, **keywords: Any) -> tuple[Method, Losses]:
    """Of a method that has begun, in float64."""
    torch.manual_seed(3)
    made = registry.method(method)(problem(), **SMALL.get(method, {}) | THIN.get(method, {}) | keywords)
    initialise(made, 0)
    made.double()
    empty = EMPTY if labelled == "one" else ()
    data = batch(made.problem, labelled, views=len(view_kinds(made.views)), empty=empty)
    made.prepare(iter([data]))
    losses = made.losses(data, torch.tensor(0.5, dtype=torch.float64))
    return made, losses


WITHOUT = {  # what a method is without its own parts
    "prototype": ("multi_task", {part: False for part in ("vq", "tae", "tke", "tc", "retrieval")}),
    "hitts": ("multi_task", {part: False for part in ("tokens", "bins", "pseudo", "features")}),
    "wide_multi_task": ("multi_task", {"factor": 1.0}),
    "teacher_labels": ("multi_task", {"weight": 0.0}),
    "rdc": ("mtpsl", {"weight": 0.0}),
}


@pytest.mark.parametrize("method", WITHOUT)
def test_without_its_parts_a_method_is_another_to_the_bit(method: str) -> None:
    other, keywords = WITHOUT[method]
    found = []
    for kind, own in ((method, keywords), (other, {"consistency_weight": 0.0} if other == "mtpsl" else {})):
        made, losses = losses_of(kind, "mixed", **own)
        losses.total().backward()
        assert not any(losses.extra.values())
        grads = {n: p.grad for n, p in made.named_parameters() if not n.startswith("mapper")}
        found.append((losses.tasks, grads, dict(made.named_parameters()).keys() & grads))
    assert found[0][2] == found[1][2]
    for one, two in zip(found[0][:2], found[1][:2], strict=True):
        assert one.keys() == two.keys() and len(one) >= 3
        assert all(torch.equal(value, two[name]) for name, value in one.items())


# No valid pixel of any label, no label, or no task without its label beside one with: no partner.
ALONE = [(m, "one") for m in ("direct_map", "mtpsl", "perceptual_map", "rdc")]


@pytest.mark.parametrize(("method", "labelled"), [*ALONE, ("jtr", "nothing"), ("direct_map", "none or all")])
def test_what_no_label_can_teach_gives_exactly_nothing(method: str, labelled: str) -> None:
    made, losses = losses_of(method, labelled)
    losses.total().backward()
    assert losses.extra and not any(losses.extra.values())
    assert not reached(made.stack_encoder if method == "jtr" else made.mapper)  # type: ignore[arg-type]
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


# Whole numbers are at least 1 and others not negative, as `bounds` asks; these are what else is said.
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("consistency", {"confidence": 1.0}, "confidence must be at least 0 and below 1, not 1.0"),
    ("consistency", {"weight": float("inf")}, "weight must be 0 or more, not inf"),
    ("consistency", {"agreement": 0.0}, "agreement must be greater than 0, not 0.0"),
    ("consistency", {"ramp_up": 1.5}, "ramp_up must lie between 0 and 1, not 1.5"),
    ("consistency", {"ramp_up": float("nan")}, "ramp_up must lie between 0 and 1, not nan"),
    ("diffusion", {"beta_start": 0.0}, "beta_start"), ("diffusion", {"beta_end": 1.0}, "beta_end"),
    ("diffusion", {"beta_start": 0.1, "beta_end": 0.01}, "beta_end"),
    ("diffusion", {"heads": 5}, "multiple of heads"), ("diffusion", {"heads": 3}, "not 8 for 3 heads"),
    ("jtr", {"depth_mean": 1.0}, "depth_mean and depth_std go together"),
    ("jtr", {"depth_std": 1.0}, "depth_mean and depth_std go together"),
    ("jtr", {"depth_mean": 1.0, "depth_std": 0.0}, "depth_std must be positive"),
    ("hitts", {"tokens": False}, "features = true needs tokens = true"), ("hitts", {"decay": 1.0}, "decay"),
    ("mean_teacher", {"decay": 1.0}, "decay must be at least 0 and below 1, not 1.0"),
    ("prototype", {"heads": 3}, "multiple of heads"), ("prototype", {"kappa": 0.0}, "kappa"),
    ("prototype", {"retrieval": False, "cross_attention": "constant"}, "cross_attention"),
    ("prototype", {"cross_attention": "constant", "affinity_level": "slots"}, "affinity_level"),
    ("prototype", {"retrieval": False, "affinity_level": "slots"}, "affinity_level"),
    ("prototype", {"retrieval": False, "detach_affinity": True}, "detach_affinity"),
    ("prototype", {"retrieval": False, "aux_weight": 0.5}, "aux_weight"),
    ("rdc", {"kappa": 0.0}, "kappa must be above 0"), ("rdc", {"ramp_up": 1.5}, r"ramp_up in \[0, 1\]"),
    ("retrieval", {"width": 9}, "width a multiple of heads"),
]  # fmt: skip


def bounds() -> list[tuple[str, dict[str, Any], str]]:
    """From the signatures: 0 in place of each whole number, -1 in place of each number with a fraction."""
    found = []
    for name in METHODS:
        for key, parameter in inspect.signature(registry.method(name)).parameters.items():
            if str(parameter.annotation) in ("int", "float"):
                bad = 0 if str(parameter.annotation) == "int" else -1.0
                found.append((name, {key: bad}, "hyper-parameter"))
    return found


@pytest.mark.parametrize(("name", "bad", "words"), [*bounds(), *OTHERS])
def test_hyperparameters_out_of_range_are_one_sentence(name: str, bad: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        registry.method(name)(problem(), **(SMALL.get(name, {}) | bad))
    text = str(caught.value)
    assert text.startswith(f"{name}: ") and text.endswith(".") and "\n" not in text
    assert len(bounds()) > 40
