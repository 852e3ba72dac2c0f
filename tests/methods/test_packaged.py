"""Weights from an installed package: ImageNet's, in the right places; one sentence for everything else."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmark.errors import UserError
from benchmark.spec.plan import expand, read
from datasets import augment
from methods.networks import packaged
from methods.networks.build import check_encoder, make_encoder

LITE0 = "timm:tf_efficientnet_lite0"
MILITARY_UNIFORM = 652  # ImageNet's class, of 1000


def photograph() -> Tensor:
    """(1, 3, 224, 224) uint8: Grace Hopper in naval uniform, a photograph that matplotlib carries."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        pixels = np.array(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def classifier(state: dict[str, Tensor] | None = None) -> Any:
    import timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    if state is not None:
        net.load_state_dict(state)
    return net


def probabilities(trunk: Any, head: Any) -> Tensor:
    """(1000,) of the photograph, by a trunk's last stage under a classifier's own head."""
    shown, _ = augment.identity(photograph(), {}, {}, trunk.mean, trunk.std)
    with torch.no_grad():
        features = head.bn2(head.conv_head(trunk(shown)[3]))
        return head.classifier(head.global_pool(features)).softmax(1)[0]  # type: ignore[no-any-return]


def test_the_packaged_weights_are_the_pretrained_ones() -> None:
    """The classifier, and our trunk under its head, see a military uniform: probability 0.47 (the next class
    0.07), and at most 0.0013 for eight random trunks.
    """
    names = packaged.read(LITE0, classifier().state_dict())
    net = classifier(names)
    trunk = make_encoder(LITE0, 8, "package").eval().trunk
    assert trunk.mean == trunk.std == (0.5, 0.5, 0.5)
    with torch.no_grad():
        whole = net(photograph() / 127.5 - 1).softmax(1)[0]
    assert int(whole.argmax()) == MILITARY_UNIFORM
    found = probabilities(trunk, net)
    assert torch.allclose(found, whole, atol=1e-4)
    assert found[MILITARY_UNIFORM] > 0.4 and found.topk(2).values[1] < 0.1
    random = probabilities(make_encoder(LITE0, 8, "none").eval().trunk, net)
    assert random[MILITARY_UNIFORM] < 0.02
    own = trunk.net.state_dict()  # type: ignore[union-attr]
    assert len(names) == 296 and all(torch.equal(value, names[name]) for name, value in own.items())
    left = sorted(names.keys() - own)
    assert {name.split(".")[0] for name in left} == {"bn2", "classifier", "conv_head"}


def test_package_stays_package_in_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table pins the content, so the word identifies it, and a board shows what its protocol says."""
    monkeypatch.setattr(packaged, "find", lambda encoder: tmp_path)
    settings = {"encoder": LITE0, "weights": "package"}
    plan = expand(read("thin"), settings, ["multi_task"], tmp_path)
    assert {cell.protocol.weights for cell in plan.cells} == {"package"} and not plan.weights


def test_weights_that_no_package_carries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no package carries weights of encoder 'resnet18' .but of {LITE0}"):
        check_encoder("resnet18", "package")
    with pytest.raises(UserError, match="neither one of 'none', 'imagenet', 'package' nor a file"):
        expand(read("thin"), {"weights": "packaged"}, ["multi_task"], tmp_path)
    ours = packaged.PACKAGES[LITE0]
    monkeypatch.setitem(packaged.PACKAGES, LITE0, dataclasses.replace(ours, name="a-package-that-nobody-has"))
    with pytest.raises(UserError, match="a-package-that-nobody-has, which is not installed; install"):
        check_encoder(LITE0, "package")


def test_a_file_that_is_not_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "lite0.pth"
    monkeypatch.setattr(packaged, "find", lambda encoder: file)
    torch.save({}, file)
    with pytest.raises(UserError, match=r"lite0\.pth is not the file that .* is known by"):
        packaged.read(LITE0, {})
    # The known file, and a timm that builds the network in another way.
    state = {"_a.weight": torch.zeros(3, 2), "_b.bias": torch.zeros(3)}
    torch.save(state, file)
    digest = packaged.hashlib.sha256(file.read_bytes()).hexdigest()
    known = dataclasses.replace(packaged.PACKAGES[LITE0], sha256=digest)
    monkeypatch.setitem(packaged.PACKAGES, LITE0, known)
    right = {"a.weight": torch.ones(3, 2), "b.bias": torch.ones(3)}
    assert list(packaged.read(LITE0, right)) == list(right)
    others: dict[str, dict[str, Tensor]] = {
        "_b.bias is not b.weight": {"a.weight": torch.ones(3, 2), "b.weight": torch.ones(3)},
        "_a.weight is not a.weight": right | {"a.weight": torch.ones(2, 3)},
        "nothing is not c.bias": right | {"c.bias": torch.ones(3)},
        "_b.bias is not there": {"a.weight": torch.ones(3, 2)},
    }
    for message, model in others.items():
        with pytest.raises(UserError, match=re.escape(f"timm builds it: {message}; install")):
            packaged.read(LITE0, model)
