"""The whole product of methods, label settings and balancings; `make test-all` runs it, `make test` its
parts.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.spec import registry
from benchmark.spec.weighting import BALANCES, EQUAL
from tests.helpers import tiny_spec, tiny_split
from tests.test_contract import METHODS, SETTINGS, assert_same, trained, weights, with_garbage


@pytest.mark.slow
@pytest.mark.parametrize("balance", [name for name in BALANCES if name != EQUAL])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("method", [name for name in METHODS if not registry.method(name).one_task])
def test_garbage_in_hidden_labels_changes_no_bit(
    method: str, setting: str, balance: str, tmp_path: Path
) -> None:
    if BALANCES[balance].kind == "gradients":
        pytest.importorskip("torchjd")
    spec, train = replace(tiny_spec(method, setting, epochs=2.0), balance=balance), tiny_split()
    clean, dirty = (
        trained(spec, tmp_path / name, split)
        for name, split in (("a", train), ("b", with_garbage(train, spec)))
    )
    assert_same(weights(clean), weights(dirty))
    assert clean.curve == dirty.curve
    assert all(bool(torch.isfinite(value).all()) for value in weights(clean).values())
