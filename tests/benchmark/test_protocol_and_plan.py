"""Protocol files and plans: what they mean, and one sentence for what they cannot mean."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.spec import plan, protocol, registry
from tests.conftest import SHIPPED_DEFAULT

NOWHERE = Path("no-such-data")


def test_shipped_protocols_and_plans_load() -> None:
    assert {"quickstart", "thin"} <= set(protocol.names()) & set(plan.names())
    for name in protocol.names():
        made = protocol.load(name)
        assert (name == "own-data") == (not made.tasks and not made.size)
    for name in plan.names():
        if name == "own-data":  # what its tasks are, nobody knows without the data
            with pytest.raises(
                UserError, match="there is no own-data in no-such-data; `bench data prepare own-data PATH`"
            ):
                plan.make([name], [], NOWHERE)
        else:
            assert plan.make([name], [], NOWHERE).cells


def test_what_a_protocol_leaves_empty_is_the_data_sets() -> None:
    (made,) = plan.make(["multi_task"], ["tasks=[]", "size=[]", "seeds=1"], NOWHERE).cells
    scenes = registry.open_dataset("scenes", NOWHERE)
    assert made.protocol.tasks == tuple(scenes.tasks) and len(made.protocol.tasks) > 3
    assert made.protocol.size == scenes.default_size
    (sized,) = plan.make(["multi_task"], ["tasks=[]", "size=[64, 64]", "seeds=1"], NOWHERE).cells
    assert sized.protocol.size == (64, 64) and sized.protocol.tasks == made.protocol.tasks
    assert sized.labels == "one"
    with pytest.raises(UserError, match=r"unknown task in loss_weights .* 'dept'; did you mean 'depth'"):
        plan.make(["multi_task"], ["tasks=[]", "loss_weights={dept=2.0}"], NOWHERE)


@pytest.mark.parametrize("name", ["quickstart", "thin"])
def test_the_quickstart_is_four_methods_and_two_seeds_in_twelve_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "DEFAULT", SHIPPED_DEFAULT if name == "quickstart" else name)
    cells = plan.make([], [], NOWHERE).cells
    assert {c.protocol.name for c in cells} == {name}
    assert len(cells) == 12 and len({c.id for c in cells}) == 12
    assert {c.method for c in cells} == {"single_task", "multi_task", "mtpsl", "prototype"}
    single = [c for c in cells if c.method == "single_task" and c.label_seed == 0]
    assert [c.tasks for c in single] == [("semseg",), ("depth",), ("normals",)]
    assert all(c.protocol.tasks == ("semseg", "depth", "normals") for c in single)


def test_the_quickstart_trains_a_pretrained_encoder_and_ranks_nothing() -> None:
    cells = plan.make(["quickstart"], [], NOWHERE).cells
    (shown,) = {c.protocol.name: c.protocol for c in cells}.values()
    assert (shown.version, shown.encoder, shown.weights) == (2, "timm:tf_efficientnet_lite0", "package")
    assert shown.demonstration and "demonstration" not in protocol.SETTABLE
    assert cells[6].id == replace(cells[6], protocol=replace(shown, demonstration=False)).id == "56231d082226"
    # The methods' own networks are the same under both; the thin one's runs take seconds.
    quick = plan.make(["thin"], [], NOWHERE).cells
    assert [(c.method, c.hyperparameters, c.seed) for c in cells] == [
        (c.method, c.hyperparameters, c.seed) for c in quick
    ]
    assert quick[0].protocol.encoder == "small" and not quick[0].protocol.demonstration
    for name in (
        "field",
        "label-budget-scenes",
        "balancing-scenes",
        "seed-variance-scenes",
        "ablation-scenes",
    ):
        assert all(c.protocol == shown for c in plan.make([name], [], NOWHERE).cells), name


def test_settings_override_the_plan() -> None:
    settings = [
        "labels=random",
        "seeds=[4]",
        "epochs=2",
        "size=[64, 96]",
        "hparams.prototype.codes=[8, 16]",
        "encoder=resnet18",
    ]
    cells = plan.make(["prototype"], settings, NOWHERE).cells
    assert [
        (c.labels, c.label_seed, c.protocol.epochs, c.protocol.size, c.protocol.encoder) for c in cells
    ] == [("random", 4, 2.0, (64, 96), "resnet18")] * 2
    assert [c.hyperparameters["codes"] for c in cells] == [8, 16]
    product = plan.make(["multi_task"], ['labels=["one", "full"]', "seeds=3", "lr=[0.1, 0.2]"], NOWHERE).cells
    assert len(product) == 12


def test_a_plan_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = ["multi_task"]\nseeds = 3\nepochs = 1\n'
    )
    assert [c.label_seed for c in plan.make([str(file)], [], NOWHERE).cells] == [0, 1, 2]
    assert plan.make([str(file)], [], NOWHERE).cells[0].protocol.epochs == 1.0


def test_weights_enter_the_spec_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"one")
    (tmp_path / "b.pth").write_bytes(b"one")
    made = [plan.make(["multi_task"], [f"weights={tmp_path / n}"], NOWHERE) for n in ("a.pth", "b.pth")]
    assert made[0].cells[0].id == made[1].cells[0].id
    assert made[1].weights == {made[1].cells[0].protocol.weights: tmp_path / "b.pth"}


BAD = {
    "unknown method": (["multitask"], [], r"unknown plan or method 'multitask'; did you mean 'multi_task'\?"),
    "two plans": (["thin", "other"], [], "neither a method nor the only plan"),
    "absent file": (["absent.toml"], [], "there is no plan file absent.toml"),
    "unknown setting": ([], ["epoch=3"], r"unknown key in plan thin 'epoch'; did you mean 'epochs'\?"),
    "not a setting": ([], ["epochs"], "'epochs' is not key=value"),
    "near miss": ([], ["hparams.tc_magin=1"], r"'tc_magin'; did you mean 'tc_margin'\?"),
    "near miss of a method's": (
        [],
        ["hparams.prototype.tc_magin=1"],
        r"'tc_magin'; did you mean 'tc_margin'\?",
    ),
    "wrong type": ([], ["epochs=many"], "epochs is 'many'; expected a number"),
    "unknown label setting": ([], ["labels=ones"], r"'ones'"),
    "fraction out of range": ([], ["labels=fraction:1.5"], "fraction"),
    "unknown task": ([], ['tasks=["semseg", "dept"]'], r"'dept'; did you mean 'depth'\?"),
    "unknown data set": ([], ["dataset=scene"], r"'scene'; did you mean 'scenes'\?"),
    "unknown protocol": ([], ["protocol=quick"], "unknown protocol 'quick'"),
    "unknown balance": ([], ["balance=equals"], "did you mean 'equal'"),
    "seeds": ([], ["seeds=-1"], "seeds is -1; expected a whole number >= 1; give a number of seeds"),
    "size": ([], ["size=[90, 128]"], "multiple of 8"),
    "batch": ([], ["batch=0"], "batch is 0; expected a whole number >= 1"),
    "weights": ([], ["weights=nowhere.pth"], "nowhere.pth.*nor a file"),
    "judge": ([], ["judge=train"], "unknown judge 'train'; known: holdout, test"),
    "holdout": ([], ["holdout=1.0"], "holdout is 1.0; expected a number < 1"),
    "scales": ([], ["scales=[0.0, 1.0]"], r"scales.0 is 0.0; expected a number > 0"),
    "scale bounds": ([], ["scale_draw=uniform", "scales=[1.0]"], "must be two bounds"),
    "edge metric": ([], ["edge_metric=odsf"], "edge_metric 'odsf'; did you mean 'odsF'"),
    "form of a data set": (
        [],
        ["dataset=nyuv2-14"],
        r"unknown form of nyuv2 'nyuv2-14'; did you mean 'nyuv2-",
    ),
    "variant of scenes": ([], ["dataset=scenes-v9"], "unknown variant of scenes 'scenes-v9'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str) -> None:
    arguments, settings, message = BAD[case]
    with pytest.raises(UserError, match=message) as caught:
        plan.make(arguments, settings, NOWHERE)
    assert "\n" not in str(caught.value)


def test_malformed_toml_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('summary = "x"\n[[grid]\n')
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML: .*line 2"):
        plan.make([str(file)], [], NOWHERE)
    file.write_text('[[grid]]\nprotocol = "thin"\n')
    with pytest.raises(UserError, match="has no dataset"):
        plan.make([str(file)], [], NOWHERE)
    file.write_text('[[grids]]\nprotocol = "thin"\n')
    with pytest.raises(UserError, match="did you mean 'grid'"):
        plan.make([str(file)], [], NOWHERE)


def test_a_protocol_may_change_another(tmp_path: Path) -> None:
    light, full = protocol.load("nyuv2-13-light"), protocol.load("nyuv2-13")
    assert (
        light.size == full.size
        and light.tasks == full.tasks
        and light.epochs < full.epochs
        and light.name == "nyuv2-13-light"
    )
    (tmp_path / "mine.toml").write_text('base = "thin"\nepochs = 1\n')
    mine = protocol.load(str(tmp_path / "mine.toml"))
    assert mine.name == "mine" and mine.epochs == 1.0 and mine.size == protocol.load("thin").size
    (tmp_path / "deep.toml").write_text(f'base = "{tmp_path / "mine.toml"}"\n')
    with pytest.raises(UserError, match=r"mine\.toml is the base of .*deep\.toml and has one itself"):
        protocol.load(str(tmp_path / "deep.toml"))
    (tmp_path / "lost.toml").write_text('base = "quickstrat"\n')
    with pytest.raises(UserError, match="unknown protocol 'quickstrat'; did you mean 'quickstart'"):
        protocol.load(str(tmp_path / "lost.toml"))


def test_a_frozen_split_varies_the_train_seed_alone() -> None:
    cells = plan.make(["nyuv2", "multi_task"], ["labels=published:one", "seeds=3"], NOWHERE).cells
    assert [(c.labels, c.label_seed, c.train_seed) for c in cells] == [
        ("published:one", 0, s) for s in range(3)
    ]
    assert cells[1].folder.split("/")[1].startswith("multi_task-publishedone-s0.1-")
    assert [c.seed for c in cells] == ["0", "0.1", "0.2"]


def test_a_tuning_protocol_is_another_board_than_the_score() -> None:
    ids = {
        plan.make(["multi_task"], s, NOWHERE).cells[0].id
        for s in ([], ["judge=holdout"], ["judge=holdout", "holdout=0.2"])
    }
    assert len(ids) == 3
