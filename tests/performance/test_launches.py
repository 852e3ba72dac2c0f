"""A step must not come to launch more kernels than it does: launches are most of a small network's time."""

import pytest

from benchmark.spec import registry
from tests.performance.launches import launches

# Of torch 2.11; another version may take an operator apart in another way, hence the margin.
MOST = {
    "consistency": 421, "diffusion": 1192, "direct_map": 746, "hitts": 1294, "jtr": 1107, "mean_teacher": 506,
    "mtpsl": 637, "multi_task": 256, "pad_net": 405, "perceptual_map": 1332, "prototype": 667,
    "rdc": 818, "retrieval": 459, "single_task": 154, "teacher_labels": 343, "wide_multi_task": 262,
}  # fmt: skip


def test_every_method_is_counted() -> None:
    assert MOST.keys() == set(registry.method_names())


@pytest.mark.parametrize("name", MOST)
def test_a_step_launches_no_more_kernels(name: str) -> None:
    counts = launches(name)
    assert 0.8 * MOST[name] < counts.total() <= 1.03 * MOST[name]
    assert counts["_fused_adam_"] in (1, 2)  # groups; one kernel for many parameters
