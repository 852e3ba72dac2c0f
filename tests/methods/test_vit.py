"""Plain transformers as encoders: the pyramid, frozen and fine-tuned. Shapes: `test_encoders`."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.training.step import Step
from methods.multi_task import MultiTask
from methods.networks.build import make_encoder
from methods.networks.vit import ViTTrunk
from tests.helpers import THREE, tiny_batch, tiny_problem, tiny_protocol

TINY = "timm:vit_tiny_patch16_224"


def level(trunk: ViTTrunk, i: int, x: torch.Tensor) -> torch.Tensor:
    """One level of the pyramid, step by step."""

    def norm(layer: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
        last = F.layer_norm(x.movedim(1, -1), x.shape[1:2], layer.weight, layer.bias, layer.eps)
        return last.movedim(-1, 1)

    *resize, one, first, three, second = list(trunk.pyramid[i])
    if i == 0:
        x = F.conv_transpose2d(x, resize[0].weight, resize[0].bias, stride=2)
        x = F.conv_transpose2d(F.gelu(norm(resize[1], x)), resize[3].weight, resize[3].bias, stride=2)
    elif i == 1:
        x = F.conv_transpose2d(x, resize[0].weight, resize[0].bias, stride=2)
    elif i == 3:
        x = F.max_pool2d(x, 2)
    x = norm(first, F.conv2d(x, one.weight))
    return norm(second, F.conv2d(x, three.weight, padding=1))


def test_maps_are_those_of_the_network_itself() -> None:
    """Fine-tuned, the last one for every level; frozen, those behind a quarter of the blocks each."""
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 96)
    for frozen, taken in ((False, [11] * 4), (True, [2, 5, 8, 11])):
        trunk = make_encoder(TINY, 8, freeze=frozen).eval().trunk
        assert isinstance(trunk, ViTTrunk)
        outputs: list[torch.Tensor] = []
        keep = outputs.append
        hooks = [b.register_forward_hook(lambda m, i, out, k=keep: k(out)) for b in trunk.net.blocks]
        with torch.no_grad():
            trunk.net.forward_features(image)
            for hook in hooks:
                hook.remove()
            found = trunk(image)
            for i, k in enumerate(taken):
                tokens = trunk.net.norm(outputs[k])[:, 1:]  # without the class token
                maps = tokens.mT.reshape(2, -1, 4, 6)
                torch.testing.assert_close(found[i], level(trunk, i, maps), rtol=1e-4, atol=1e-5)


def test_a_patch_of_14_sees_an_image_of_14_sixteenths() -> None:
    trunk = make_encoder("timm:vit_small_patch14_dinov2", 8).eval().trunk
    assert isinstance(trunk, ViTTrunk)
    seen: list[torch.Size] = []
    trunk.net.patch_embed.register_forward_pre_hook(lambda m, given: seen.append(given[0].shape))
    with torch.no_grad():
        trunk(torch.randn(1, 3, 96, 128))
        trunk(torch.randn(1, 3, 90, 100))
    assert [tuple(shape[-2:]) for shape in seen] == [(84, 112), (84, 112)]


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_only_the_pyramid_learns_and_fine_tuned_it_keeps_its_own_rate(frozen: bool) -> None:
    torch.manual_seed(0)
    problem = tiny_problem(THREE, 8, make_encoder=lambda: make_encoder(TINY, 8, freeze=frozen))
    method = MultiTask(problem).train()
    trunk = method.encoder.trunk
    assert isinstance(trunk, ViTTrunk) and trunk.net.training != frozen
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    protocol = tiny_protocol(lr=1e-3, freeze=frozen, encoder_lr_scale=0.1)
    step = Step(method, protocol, 2)
    rates = {id(p): g["lr_scale"] for g in step.optimiser.param_groups for p in g["params"]}
    assert all(rates[id(p)] == 1.0 for p in trunk.pyramid.parameters())
    assert all(rates.get(id(p)) == (None if frozen else 0.1) for p in trunk.net.parameters())
    step(tiny_batch(THREE, torch.ones(2, 3, dtype=torch.bool), dtype=torch.float32), 0)
    after = trunk.state_dict()
    moved = {name.split(".")[0] for name, value in after.items() if not value.equal(before[name])}
    assert moved == ({"pyramid"} if frozen else {"pyramid", "net"})
