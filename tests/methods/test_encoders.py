"""Encoders: shapes, torchvision's own weights under our names, and one sentence for weights that do not
fit.
"""

import math
from pathlib import Path

import pytest
import torch
import torchvision

from benchmark.errors import UserError
from methods.networks.build import check_encoder, make_encoder
from methods.networks.encoders import IMAGENET_MEAN


@pytest.mark.parametrize(
    ("name", "size"),
    [("small", (64, 96)), ("small", (45, 70)), ("resnet18", (45, 70)), ("resnet50", (64, 96)),
     ("timm:resnet10t", (45, 70))],
)  # fmt: skip
def test_stages_and_shared_feature(name: str, size: tuple[int, int]) -> None:
    encoder = make_encoder(name, 12).eval()
    with torch.no_grad():
        stages = encoder.stages(torch.randn(2, 3, *size))
    for stage, channels, stride in zip(stages, encoder.channels, (4, 8, 16, 32), strict=True):
        assert stage.shape[1:] == (channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    assert encoder.fuse(stages).shape == (2, 12, math.ceil(size[0] / 8), math.ceil(size[1] / 8))
    assert encoder.trunk.mean == IMAGENET_MEAN


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_classifiers_weights_load_from_a_file(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = torchvision.models.resnet18(weights=None).eval()
    file = tmp_path / f"r18{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, file)
    else:
        from safetensors.torch import save_file

        save_file(net.state_dict(), str(file))
    trunk = make_encoder("resnet18", 8, "sha256:0", file).eval().trunk
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net.layer4(
            net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))))
        )
        assert torch.equal(trunk(x)[3], expected)


@pytest.mark.parametrize("name", ["small", "resnet18", "segnet", "timm:resnet10t"])
def test_a_finished_runs_weights_start_another(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    of_run, file = make_encoder(name, 8), tmp_path / "weights.pt"
    state = {f"shared.encoder.{key}": value for key, value in of_run.state_dict().items()}
    torch.save({"id": "0123456789ab", "method": {"head.weight": torch.ones(2)} | state}, file)
    trunk = make_encoder(name, 8, "sha256:0", file).trunk
    assert all(
        torch.equal(value, of_run.trunk.state_dict()[key]) for key, value in trunk.state_dict().items()
    )


def test_a_timm_models_weights_load_from_a_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(2)
    net = timm.create_model("resnet10t", pretrained=False).eval()
    file = tmp_path / "net.pth"
    torch.save(net.state_dict(), file)
    trunk = make_encoder("timm:resnet10t", 8, "sha256:0", file).eval().trunk
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(trunk(x)[3], net.forward_features(x), atol=1e-6)
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="does not fit timm's resnet10t"):
        make_encoder("timm:resnet10t", 8, "sha256:0", file)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), file)
    with pytest.raises(UserError, match=r"other\.pth holds no weights for this encoder: layers\.0"):
        make_encoder("resnet18", 8, "sha256:0", file)
    file.write_bytes(b"not a file of tensors")
    with pytest.raises(UserError, match=r"other\.pth could not be read as weights"):
        make_encoder("resnet18", 8, "sha256:0", file)
    torch.save([1, 2], file)
    with pytest.raises(UserError, match="no table of tensors"):
        make_encoder("resnet18", 8, "sha256:0", file)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran code from a file",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Malicious()}, file)
    with pytest.raises(UserError, match="could not be read as weights"):
        make_encoder("resnet18", 8, "sha256:0", file)
    assert "ran code" not in capsys.readouterr().out


def test_imagenet_weights_are_those_that_torchvision_itself_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From torchvision's cache, which its own model reads too."""
    name = "resnet18"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.get_model_weights(name)["DEFAULT"]
    cached = tmp_path / "hub" / "checkpoints" / Path(weights.url).name
    cached.parent.mkdir(parents=True)
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), cached)
    net = torchvision.models.get_model(name, weights="DEFAULT").eval()
    trunk = make_encoder(name, 8, "imagenet").eval().trunk
    assert (trunk.mean, trunk.std) == (tuple(weights.transforms().mean), tuple(weights.transforms().std))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        pooled = trunk(x)[3].mean((2, 3))
        assert torch.allclose(net.fc(pooled), net(x), atol=1e-5)


def test_without_a_network_the_sentence_says_how_to_get_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    cure = r"resnet18 could not be downloaded \(OSError\); fetch https.*set weights = 'PATH'"
    with pytest.raises(UserError, match=cure):
        make_encoder("resnet18", 8, "imagenet")


def test_unknown_encoders() -> None:
    with pytest.raises(UserError, match="did you mean 'resnet18'"):
        check_encoder("resnet81", "none")
    with pytest.raises(UserError, match="no ImageNet weights"):
        check_encoder("small", "imagenet")
    with pytest.raises(UserError, match="unknown timm model"):
        make_encoder("timm:resnet10x", 8)
