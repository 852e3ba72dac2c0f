"""The blocks: shapes on even and odd sizes, the codebook against loops, attention against its formula."""

import itertools
import math

import pytest
import torch
from torch import nn

from methods.networks.codebook import Codebook, nearest
from methods.networks.retrieval import Attention


def test_nearest_equals_the_loop_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, codes = torch.randn(50, 5), torch.randn(9, 5)
    expected = [min(range(9), key=lambda k: float((x - codes[k]).norm())) for x in features]
    assert nearest(features, codes).tolist() == expected
    monkeypatch.setattr("methods.networks.codebook.DISTANCES", 4 * 9)
    assert nearest(features, codes).tolist() == expected


def test_nearest_ignores_autocast_and_keeps_the_precision_setting() -> None:
    # Far from the origin bfloat16 cannot tell the codes apart.
    codes = 100 + torch.randn(64, 8)
    features = codes[torch.arange(64).flip(0)] + 0.01 * torch.randn(64, 8)
    before = torch.backends.cuda.matmul.fp32_precision
    with torch.autocast("cpu", torch.bfloat16):
        assert nearest(features, codes).tolist() == list(range(63, -1, -1))
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_lookup_leaves_the_feature_out_of_the_gradient_and_vqvae_passes_it_on() -> None:
    weights = torch.randn(2, 4, 3, 3)
    for mode in ("lookup", "vqvae", "ema"):
        book = Codebook(6, 4, mode)
        x = torch.randn(2, 4, 3, 3, requires_grad=True)
        found = book(x)
        features = found.features.detach().permute(0, 2, 3, 1)
        torch.testing.assert_close(features, book.codes.detach()[found.indices])
        (found.features * weights).sum().backward()
        if mode == "lookup":
            assert found.loss is None and x.grad is None and book.codes.grad is not None
            expected = torch.zeros(6, 4)
            for b, i, j in itertools.product(range(2), range(3), range(3)):
                expected[found.indices[b, i, j]] += weights[b, :, i, j]
            torch.testing.assert_close(book.codes.grad, expected)
        else:
            assert found.loss is not None
            torch.testing.assert_close(x.grad, weights)
            assert book.codes.grad is None


def test_codebook_loss_pulls_each_side_with_its_own_weight() -> None:
    for mode, pull in (("vqvae", 1.0), ("ema", 0.0)):
        book = Codebook(6, 4, mode)
        x = torch.randn(2, 4, 3, 3, requires_grad=True)
        loss = book(x).loss
        assert loss is not None
        loss.backward()
        difference = x.detach() - book.codes.detach()[book(x).indices].permute(0, 3, 1, 2)
        torch.testing.assert_close(x.grad, 0.25 * 2 * difference / x.numel())
        if pull:
            torch.testing.assert_close(book.codes.grad.sum(0), -2 * difference.sum((0, 2, 3)) / x.numel())


def test_moving_averages_equal_the_loop_and_dead_codes_restart() -> None:
    book = Codebook(5, 3, "ema").double()
    book.codes[4], book.count[4] = 1e3, 0.05  # nothing is near it
    book.total.copy_(book.codes * book.count[:, None])
    count, total = book.count.tolist(), list(book.total.clone())
    restarts = 0
    for step in range(100):
        torch.manual_seed(step)
        x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
        indices = book(x).indices.flatten().tolist()
        book.update()
        rows = x.permute(0, 2, 3, 1).reshape(-1, 3)
        for k in range(5):
            mine = [row for row, index in zip(rows, indices, strict=True) if index == k]
            count[k] = 0.99 * count[k] + 0.01 * len(mine)
            total[k] = 0.99 * total[k] + 0.01 * sum(mine, torch.zeros(3, dtype=torch.float64))
        mean = sum(count) / 5
        for k in range(5):
            if count[k] < 0.01 * mean:
                restarts += 1
                count[k], total[k] = mean, mean * rows[k * 40 // 5]
        expected = torch.stack([t / c for t, c in zip(total, count, strict=True)])
        torch.testing.assert_close(book.codes, expected, rtol=1e-8, atol=1e-8)
    assert restarts >= 1 and float(book.codes[4].norm()) < 10
    frozen = book.codes.clone()
    book.eval()
    book(torch.randn(1, 3, 2, 2, dtype=torch.float64))
    assert torch.equal(book.codes, frozen)


def test_attention_equals_torchs_own_and_its_entropy_is_that_of_the_weights() -> None:
    attention, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([attention.query.weight, attention.key_value.weight]).detach()
    theirs.in_proj_bias.data = torch.cat([attention.query.bias, attention.key_value.bias]).detach()
    theirs.out_proj.load_state_dict(attention.out.state_dict())
    x, y = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    expected, weights = theirs(x, y, y, average_attn_weights=False)
    torch.testing.assert_close(attention(x, y), expected)
    entropy = -(weights * weights.log()).sum(-1).mean() / math.log(7)
    torch.testing.assert_close(attention.entropy(x, y), entropy)
    same = torch.ones(3, 7, 8)
    assert float(attention.entropy(x, same).detach()) == pytest.approx(1.0)
    assert float(attention.entropy(x, y[:, :1]).detach()) == pytest.approx(0.0, abs=1e-6)
