"""Encoders: shapes, others' own weights under our names, and one sentence for weights that do not fit."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from benchmark.errors import UserError
from methods.networks.build import check_encoder, make_encoder
from methods.networks.encoders import IMAGENET_MEAN

VIT = "timm:vit_tiny_patch16_224"


def from_file(name: str, file: Path) -> Any:
    return make_encoder(name, 8, "sha256:0", file).eval().trunk


@pytest.mark.parametrize(
    ("name", "size", "freeze"),
    [
        *((name, (45, 70), False) for name in ("small", "resnet18", "segnet", "timm:resnet10t")),
        ("small", (64, 96), False), ("resnet50", (32, 64), False),
        (VIT, (64, 96), False), (VIT, (45, 70), True), ("timm:vit_small_patch14_dinov2", (45, 70), True),
        ("timm:vit_small_patch16_dinov3", (45, 70), False),
    ],
)  # fmt: skip
def test_stages_and_shared_feature(name: str, size: tuple[int, int], freeze: bool) -> None:
    encoder = make_encoder(name, 12, freeze=freeze).eval()
    *strides, of_shared = (1, 2, 4, 8, 16, 32, 1) if name == "segnet" else (4, 8, 16, 32, 8)

    def at(stride: int) -> tuple[int, int]:
        return math.ceil(size[0] / stride), math.ceil(size[1] / stride)

    with torch.no_grad():
        stages = encoder.stages(torch.randn(1, 3, *size))
    for stage, channels, stride in zip(stages, encoder.channels, strides, strict=True):
        assert stage.shape == (1, channels, *at(stride))
    assert encoder.fuse(stages).shape == (1, 12, *at(of_shared))
    own = timm.get_pretrained_cfg(name[5:]).mean if name.startswith("timm:") else IMAGENET_MEAN
    assert name == "segnet" or encoder.trunk.mean == tuple(own)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_weights_load_from_a_file(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net, file = torchvision.models.resnet18(weights=None).eval(), tmp_path / f"r18{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, file)
    else:
        save_file(net.state_dict(), str(file))
    x = y = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for part in list(net.children())[:-2]:
            y = part(y)
        assert torch.equal(from_file("resnet18", file)(x)[3], y)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_timms_weights_load_from_a_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    state, file = timm.create_model(name, pretrained=False).state_dict(), tmp_path / "net.pth"
    torch.save(state, file)
    own = from_file(f"timm:{name}", file).net.state_dict()
    assert len(own) > len(state) - 4 and all(torch.equal(value, state[key]) for key, value in own.items())
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=f"does not fit timm's {name}"):
        from_file(f"timm:{name}", file)


@pytest.mark.parametrize("name", ["small", "resnet18", "segnet", "timm:resnet10t"])
def test_a_finished_runs_weights_start_another(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    of_run, file = make_encoder(name, 8), tmp_path / "weights.pt"
    state = {f"shared.encoder.{key}": value for key, value in of_run.state_dict().items()}
    torch.save({"id": "0123456789ab", "method": {"head.weight": torch.ones(2)} | state}, file)
    found, wanted = from_file(name, file).state_dict(), of_run.trunk.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran code from a file",)


BAD: list[tuple[Any, str]] = [
    ({"layer1.0.conv1.weight": torch.ones(2)}, "holds no weights for this encoder: layers"),
    (b"not a file of tensors", "could not be read as weights"), ([1, 2], "no table of tensors"),
    ({"conv1.weight": Malicious()}, "could not be read as weights"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD)
def test_weights_that_do_not_fit_are_named_and_no_code_is_run(
    content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(UserError, match=rf"other\.pth .*{message}"):
        from_file("resnet18", file)
    assert "ran code" not in capsys.readouterr().out


def test_imagenet_weights_are_those_of_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From torchvision's cache, which its own model reads too. Without: the sentence says how to get them."""
    name = "resnet18"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        patch.setattr("torch.hub.download_url_to_file", lambda *given, **named: 1 / 0)
        make_encoder(name, 8, "imagenet")
    assert "resnet18 could not be downloaded (ZeroDivisionError); fetch https" in str(caught.value)
    assert "set weights = 'PATH'" in str(caught.value)
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), cached)
    net = torchvision.models.get_model(name, weights="DEFAULT").eval()
    trunk = make_encoder(name, 8, "imagenet").eval().trunk
    assert (trunk.mean, trunk.std) == (tuple(weights.transforms().mean), tuple(weights.transforms().std))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net.fc(trunk(x)[3].mean((2, 3))), net(x), atol=1e-5)


def test_unknown_encoders() -> None:
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        check_encoder("resnet81", "none")
    with pytest.raises(UserError, match="no ImageNet weights"):
        check_encoder("small", "imagenet")
    for name, message in (
        ("resnet10x", "unknown timm model"),
        ("vit_base_r50_s16_224", r"the timm model 'vit_base_r50_s16_224' is n.* choose another\."),
        ("vit_relpos_small_patch16_224", r"'vit_relpos_small_patch16_224' is n.* choose another\."),
    ):
        with torch.device("meta"), pytest.raises(UserError, match=message):
            make_encoder(f"timm:{name}", 8)
