"""Streams: the same number for the same name and counters; orders restrict to subsets."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import streams


def test_literal_values_never_change() -> None:
    assert streams.bits(0, "order", torch.arange(3)).tolist() == [2099040953, 1887019364, 805834749]


def test_uniform_is_uniform_and_names_and_counters_separate() -> None:
    x = streams.uniform(1, "a", torch.arange(20_000))
    assert x.min() >= 0 and x.max() < 1
    assert abs(float(x.mean()) - 0.5) < 0.01 and abs(float(x.var()) - 1 / 12) < 0.002
    others = [
        streams.uniform(2, "a", torch.arange(20_000)),
        streams.uniform(1, "b", torch.arange(20_000)),
        streams.uniform(1, "a", 0, torch.arange(20_000)),
        streams.uniform(1 << 40, "a", torch.arange(20_000)),
    ]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([x, other]))[0, 1])) < 0.03
    grid = streams.uniform(1, "a", torch.arange(50).view(-1, 1), torch.arange(50))
    assert len(grid.unique()) == 2500  # (a, b) and (b, a) differ


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=40, unique=True),
    st.randoms(),
)
def test_the_order_of_a_subset_is_the_restriction(seed: int, ids: list[int], random: object) -> None:
    whole = torch.tensor(ids)
    order = streams.order(seed, "order", whole, 5)
    assert sorted(order.tolist()) == sorted(ids)
    subset = whole[::2]
    kept = [i for i in order.tolist() if i in set(subset.tolist())]
    assert streams.order(seed, "order", subset, 5).tolist() == kept
    assert streams.order(seed, "order", whole.flip(0), 5).tolist() == order.tolist()


def test_seeded_restores_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with streams.seeded(7, "init"):
        first = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    with streams.seeded(7, "init"):
        assert torch.equal(torch.rand(4), first)
