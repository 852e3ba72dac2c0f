"""Protocols and plans: which runs they mean, and one sentence for what they cannot mean."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.spec import plan, protocol
from benchmark.spec.grid import Expansion
from benchmark.spec.run import RunSpec, run_id
from tests.conftest import SHIPPED_DEFAULT

NOWHERE = Path("no-such-data")
GRID = '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\n'
FOUR = GRID + 'seeds = 2\nlabels = ["one", "random"]\n'
FOUR += 'method = ["single_task", "multi_task", "mtpsl", "prototype"]\n'
ABLATE = (
    '[ablate]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = "prototype"\nseeds = 2\n'
    "components = { tke = false, tc = false, tae = { vq = false, tae = false } }\n"
)
OPEN = ABLATE.replace("components", "# components")


def made(folder: Path, text: str, settings: tuple[str, ...] = (), methods: tuple[str, ...] = ()) -> plan.Plan:
    (file := folder / "mine.toml").write_text(text)
    return plan.make([str(file), *methods], list(settings), NOWHERE)


def test_the_quickstart_has_a_pretrained_encoder_and_ranks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "DEFAULT", SHIPPED_DEFAULT)
    cells = plan.make([], [], NOWHERE).cells
    (shown,) = {c.protocol.name: c.protocol for c in cells}.values()
    assert (shown.version, shown.encoder, shown.weights) == (2, "timm:tf_efficientnet_lite0", "package")
    assert shown.demonstration and "demonstration" not in protocol.SETTABLE
    single = [c for c in cells if c.method == "single_task" and c.label_seed == 0]
    assert [c.tasks for c in single] == [("semseg",), ("depth",), ("normals",)]


def test_settings_override_the_plan() -> None:
    settings = ["labels=random", "seeds=[4]", "epochs=2", "size=[64, 96]", "hparams.prototype.codes=[8, 16]"]
    cells = plan.make(["prototype"], settings, NOWHERE).cells
    found = [(c.labels, c.label_seed, c.protocol.epochs, c.protocol.size) for c in cells]
    assert found == [("random", 4, 2.0, (64, 96))] * 2
    assert [c.hyperparameters["codes"] for c in cells] == [8, 16]
    product = plan.make(["multi_task"], ['labels=["one", "full"]', "seeds=3", "lr=[0.1, 0.2]"], NOWHERE).cells
    assert len(product) == 12


def test_a_protocol_may_change_another(tmp_path: Path) -> None:
    light, full = protocol.load("nyuv2-13-light"), protocol.load("nyuv2-13")
    assert light.tasks == full.tasks and light.epochs < full.epochs and light.name == "nyuv2-13-light"
    (tmp_path / "mine.toml").write_text('base = "thin"\nepochs = 1\n')
    mine = protocol.load(str(tmp_path / "mine.toml"))
    assert mine.name == "mine" and mine.epochs == 1.0 and mine.size == protocol.load("thin").size
    (tmp_path / "deep.toml").write_text(f'base = "{tmp_path / "mine.toml"}"\n')
    with pytest.raises(UserError, match=r"mine\.toml is the base of .*deep\.toml and has one itself"):
        protocol.load(str(tmp_path / "deep.toml"))


def test_every_number_of_a_protocol_has_bounds() -> None:
    for key, value in vars(protocol.load("thin")).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            for wrong in (-1, float("inf"), float("nan")):
                with pytest.raises(UserError, match=f": {key} is {wrong}; expected a"):
                    protocol.load("thin", {key: wrong})


def test_label_and_train_seeds_may_be_axes_of_their_own(tmp_path: Path) -> None:
    text = GRID + 'method = "multi_task"\nlabel_seeds = 2\ntrain_seeds = [3, 4]\n'
    assert [c.seed for c in made(tmp_path, text).cells] == ["0.3", "0.4", "1.3", "1.4"]
    alone = made(tmp_path, GRID + 'method = "multi_task"\ntrain_seed = 2\n').cells
    assert [c.seed for c in alone] == ["0", "0.1"]
    assert [c.seed for c in made(tmp_path, text, ("seeds=[7]",)).cells] == ["7"]
    assert [c.seed for c in made(tmp_path, FOUR, ("label_seeds=[5]",), ("mtpsl",)).cells] == ["5.0"] * 2


EXCLUDES: dict[str, Callable[[RunSpec], bool]] = {
    'method = "mtpsl"\nlabels = "random"': lambda c: c.method == "mtpsl" and c.labels == "random",
    'method = ["mtpsl", "prototype"]\nseed = 1': lambda c: "_" not in c.method and c.seed == "1",
    'protocol = "thin"\nencoder = "small"\nmethod = "multi_task"': lambda c: c.method == "multi_task",
    'dataset = "scenes-v1"\nlabels = "one"\nweights = "none"': lambda c: c.labels == "one",
    "hparams.prototype = { codes = [1, 4096], tke = true }": lambda c: c.method == "prototype",
    "tasks = [['depth'], ['semseg', 'depth', 'normals']]\nseed = 0": lambda c: c.label_seed == 0,
}


@pytest.mark.parametrize("table", EXCLUDES)
def test_what_matches_all_keys_of_an_exclude_is_left_out(table: str, tmp_path: Path) -> None:
    whole = made(tmp_path, FOUR).cells
    found = made(tmp_path, f"{FOUR}\n[[exclude]]\n{table}\n")
    kept = tuple(c for c in whole if not EXCLUDES[table](c))
    assert found.cells == kept and 0 < len(kept) < len(whole)
    assert f"{len(whole) - len(kept)} runs are left out by exclude " in " ".join(found.notes)


def test_excludes_are_united_and_hold_for_what_the_command_line_changes(tmp_path: Path) -> None:
    text = FOUR + '[[exclude]]\nmethod = "mtpsl"\n[[exclude]]\nlabels = "full"\nmethod = "multi_task"\n'
    with pytest.raises(UserError, match=r'exclude labels = "full", method = "multi_task" matches no run'):
        made(tmp_path, text)
    found = made(tmp_path, text, ("labels=full", "seeds=1"))
    assert {c.method for c in found.cells} == {"single_task", "prototype"}
    narrowed = made(tmp_path, FOUR + '[[exclude]]\nmethod = "mtpsl"\n', methods=("multi_task",))
    assert 'no runs are left out by exclude method = "mtpsl"' in narrowed.notes and len(narrowed.cells) == 4


def test_a_published_split_and_a_file_of_weights_are_excluded_by_what_the_plan_says(tmp_path: Path) -> None:
    grid = '[[grid]]\nprotocol = "nyuv2-13"\ndataset = "nyuv2-13"\nlabels = "published:one"\n'
    grid += 'method = "multi_task"\nseeds = 3\n[[exclude]]\nseeds = 1\ndataset = "nyuv2"\n'
    assert [c.train_seed for c in made(tmp_path, grid).cells] == [0, 2]
    (tmp_path / "a.pth").write_bytes(b"content")
    weights = f'weights = "{tmp_path / "a.pth"}"\n'
    text = FOUR.replace("seeds", f'weights = ["none", "{tmp_path / "a.pth"}"]\nseeds')
    assert {c.protocol.weights for c in made(tmp_path, text + "[[exclude]]\n" + weights).cells} == {"none"}


def test_a_plan_includes_others_with_what_they_exclude(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.toml").write_text(FOUR + '[[exclude]]\nmethod = ["mtpsl", "single_task"]\n')
    (tmp_path / "sub" / "middle.toml").write_text('include = ["inner.toml"]\n')
    own = GRID + 'labels = "full"\nmethod = "multi_task"\nseeds = 1\n'
    found = made(tmp_path, 'include = ["thin", "sub/middle.toml", "sub/inner.toml"]\n' + own)
    counted = {(c.method, c.labels) for c in found.cells}
    assert {m for m, labels in counted if labels == "random"} == {"multi_task", "prototype"}
    assert len(plan.make(["thin"], [], NOWHERE).cells) == 12 and ("multi_task", "full") in counted
    # Of the included eight, multi_task with one label is the thin's too: 12 + 6 + 1.
    assert len(found.cells) == 19
    assert len(made(tmp_path, 'include = ["thin"]\n', ("seeds=1", "labels=random"), ("mtpsl",)).cells) == 1
    outer = made(tmp_path, 'include = ["sub/middle.toml"]\n[[exclude]]\nlabels = "random"\n')
    assert {c.labels for c in outer.cells} == {"one"}


def test_leave_one_out(tmp_path: Path) -> None:
    found = made(tmp_path, ABLATE + 'names = { tke = "task knowledge embedding" }\n')
    assert found.ablation is not None and found.ablation.form == "leave-one-out"
    names = [row.name for row in found.ablation.rows]
    assert names == ["full", "without task knowledge embedding", "without tc", "without tae"]
    assert [row.cells[0].changed for row in found.ablation.rows] == [(), ("tke",), ("tc",), ("tae", "vq")]
    assert [c.label_seed for c in found.ablation.rows[1].cells] == [0, 1] and len(found.cells) == 8
    # The full method is the same run as a grid's.
    both = made(tmp_path, FOUR + ABLATE)
    assert len(both.cells) == len(made(tmp_path, FOUR).cells) + 6


def test_cumulative_adds_in_the_order_of_the_components(tmp_path: Path) -> None:
    found = made(tmp_path, ABLATE + 'form = "cumulative"\n').ablation
    assert found is not None
    assert [row.name for row in found.rows] == ["base", "+ tke", "+ tc", "+ tae"]
    lacking = [row.cells[0].changed for row in found.rows]
    assert lacking == [("tae", "tc", "tke", "vq"), ("tae", "tc", "vq"), ("tae", "vq"), ()]


def test_the_command_line_and_excludes_hold_for_an_ablation(tmp_path: Path) -> None:
    settings = ("labels=random", "seeds=[3]", "epochs=1", "hparams.prototype.codes=16")
    text = FOUR + ABLATE + "hparams.prototype.kappa = 0.5\n[[exclude]]\nhparams.prototype.tc = false\n"
    found = made(tmp_path, text, settings)
    assert found.ablation is not None and [len(row.cells) for row in found.ablation.rows] == [1, 1, 0, 1]
    for row in found.ablation.rows:
        for c in row.cells:
            assert (c.labels, c.label_seed, c.protocol.epochs) == ("random", 3, 1.0)
            assert (c.hyperparameters["codes"], c.hyperparameters["kappa"]) == (16, 0.5)
    # A component stays removed whatever a setting says of its keyword.
    kept = made(tmp_path, ABLATE, ("hparams.tke=true",)).ablation
    assert kept is not None
    assert [row.cells[0].hyperparameters["tke"] for row in kept.rows] == [True, False, True, True]
    other = made(tmp_path, FOUR + ABLATE, methods=("mtpsl",))
    assert other.ablation is None and {c.method for c in other.cells} == {"mtpsl"}
    assert "the ablation of prototype is left out, as other methods were named" in other.notes


def test_every_run_keeps_the_contrasts_of_its_plan_and_its_id(tmp_path: Path) -> None:
    side = '[[contrast]]\nfirst = { method = "prototype", tke = true }\nsecond = { method = "multi_task" }\n'
    text = f'{GRID}method = ["multi_task", "prototype"]\nseeds = 1\nhparams.prototype.tke = [true, false]\n'
    with_it, without = made(tmp_path, text + side), made(tmp_path, text)
    assert [s.id for s in with_it.cells] == [s.id for s in without.cells]
    for spec in with_it.cells:
        assert [c["name"] for c in spec.contrasts] == ["prototype(tke=True) - multi_task"]
    first = with_it.cells[0]
    assert RunSpec.from_dict(first.as_dict() | {"id": first.id}, "spec.json") == first


def test_a_rate_is_a_number_a_list_or_a_table_by_method(tmp_path: Path) -> None:
    def expanded(**keys: Any) -> list[RunSpec]:
        grid = {"protocol": "thin", "dataset": "scenes", "method": ["multi_task", "mtpsl"], "seeds": [0]}
        return Expansion({}, [], tmp_path).specs(grid | keys, "p")

    plain = expanded()
    assert [s.id for s in expanded(lr_scale=1)] == [s.id for s in plain]
    table = expanded(lr_scale={"mtpsl": [0.5, 2]})
    assert [(s.method, s.lr_scale) for s in table] == [("multi_task", 1.0), ("mtpsl", 0.5), ("mtpsl", 2.0)]
    assert table[0].id == plain[0].id and len({s.id for s in [*table, *plain]}) == 4
    old = plain[0].as_dict()  # of a record made before there was such a key
    del old["lr_scale"], old["contrasts"]
    assert run_id(old) == plain[0].id
    for wrong in (0, -1, True, "fast", [1.0, float("inf")], {"mtpsl": "x"}):
        with pytest.raises(UserError, match=r"plan p: lr_scale\S* is .*; expected a number"):
            expanded(lr_scale=wrong)
    with pytest.raises(UserError, match="did you mean 'mtpsl'"):
        expanded(lr_scale={"mtpls": 1.0})


AMTL = ("method=multi_task", "balance=amtl_g")
POTENTIALS = "weighting.amtl_g.potentials"
ALL_HALF = "{semseg=0.5, depth=0.5, normals=0.5}"


def test_a_weighting_takes_hyperparameters_which_are_part_of_a_run_where_changed(tmp_path: Path) -> None:
    """Lists are several runs; what is at its default, or of a weighting that is not used, changes nothing."""
    text = GRID + 'labels = "one"\nmethod = ["single_task", "multi_task"]\nbalance = ["equal", "amtl_g"]\n'
    table = "[grid.weighting.amtl_g]\ngamma = [0.5, 2]\n"
    plain, several = made(tmp_path, text).cells, made(tmp_path, text + table).cells
    own = [c.weighting for c in several if c.method == "multi_task"]
    assert own == [{}, {"gamma": 0.5}, {}] and len(several) == len(plain) + 1
    assert {c.id for c in plain} < {c.id for c in several}
    settings = (*AMTL, f"{POTENTIALS}={ALL_HALF}", 'weighting.amtl_g.runs=["0123456789ab"]')
    (one,) = made(tmp_path, text, settings).cells
    assert one.weighting == {"potentials": dict.fromkeys(one.tasks, 0.5), "runs": ["0123456789ab"]}
    assert RunSpec.from_dict(one.as_dict() | {"id": one.id}, "spec.json") == one
    single = made(tmp_path, text + "[grid.weighting.equal]\nscores = true\n", (), ("single_task",))
    assert [c.weighting for c in single.cells] == [{"scores": True}] * 3
    left = "[[exclude]]\nweighting.amtl_g.gamma = 2.0\n"
    kept = made(tmp_path, text + table + left).cells
    assert [c.weighting for c in kept if c.method == "multi_task"] == [{}, {"gamma": 0.5}]
    side = 'method = "multi_task", balance = "amtl_g", weighting.amtl_g.gamma ='
    contrast = f"[[contrast]]\nfirst = {{ {side} 0.5 }}\nsecond = {{ {side} 2 }}\n"
    found = made(tmp_path, text + table + contrast)
    rows = [s for s in found.cells if s.method == "multi_task" and s.balance == "amtl_g"]
    searched = [replace(s, tuning="2 trials on the last 10% of train") for s in rows]
    how = {s.id: {"trials": 2, "holdout": 0.1} for s in searched}
    written = plan.text(found, searched, how, "x", NOWHERE)
    assert [s.id for s in made(tmp_path, written).cells] == [s.id for s in searched]


BAD: dict[str, tuple[list[str], list[str], str]] = {
    "unknown method": (["multitask"], [], r"unknown plan or method 'multitask'; did you mean 'multi_task'\?"),
    "no data": (["own-data"], [], "there is no own-data in no-such-data; `bench data prepare"),
    "frozen": (["multi_task"], ["freeze=true"], "would keep an encoder at random weights"),
    "two plans": (["thin", "other"], [], "neither a method nor the only plan"),
    "absent file": (["absent.toml"], [], "there is no plan file absent.toml"),
    "unknown setting": ([], ["epoch=3"], r"unknown key in plan thin 'epoch'; did you mean 'epochs'\?"),
    "not a setting": ([], ["epochs"], "'epochs' is not key=value"),
    "near miss": ([], ["hparams.tc_magin=1"], r"'tc_magin'; did you mean 'tc_margin'\?"),
    "wrong type": ([], ["epochs=many"], "epochs is 'many'; expected a number"),
    "label setting": ([], ["labels=ones"], r"'ones'"),
    "unknown task": ([], ['tasks=["semseg", "dept"]'], r"'dept'; did you mean 'depth'\?"),
    "unknown protocol": ([], ["protocol=quick"], "unknown protocol 'quick'"),
    "unknown balance": ([], ["balance=equals"], "did you mean 'equal'"),
    "weighting of no run": (["multi_task"], ["weighting.amtl_g.gamma=1"], "add --set balance=amtl_g"),
    "unknown weighting": ([], ["weighting.amtlg.gamma=1"], "in --set 'amtlg'; did you mean 'amtl_g'"),
    "weighting's key": ([], [*AMTL, "weighting.amtl_g.gama=1"], "of amtl_g 'gama'; did you mean 'gamma'"),
    "weighting's bound": ([], [*AMTL, "weighting.amtl_g.gamma=-1"], "gamma is -1; expected a number >= 0"),
    "potential: task": ([], [*AMTL, f"{POTENTIALS}={{dept=0.5}}"], "'dept'; did you mean 'depth'"),
    "potential: lacks": ([], [*AMTL, f"{POTENTIALS}={{depth=0.5}}"], "amtl_g lack semseg, normals; give one"),
    "potential: no run": ([], [*AMTL, f"{POTENTIALS}={ALL_HALF}"], "name no run; give the ids"),
    "seeds": ([], ["seeds=-1"], "seeds is -1; expected a whole number >= 1; give a number of seeds"),
    "weights": ([], ["weights=nowhere.pth"], "nowhere.pth.*nor a file"),
    "judge": ([], ["judge=train"], "unknown judge 'train'; known: holdout, test"),
    "scale bounds": ([], ["scale_draw=uniform", "scales=[1.0]"], "must be two bounds"),
    "form of a data set": ([], ["dataset=nyuv2-14"], "form of nyuv2 'nyuv2-14'; did you mean 'nyuv2-"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case: str) -> None:
    arguments, settings, message = BAD[case]
    with pytest.raises(UserError, match=message) as caught:
        plan.make(arguments, settings, NOWHERE)
    assert "\n" not in str(caught.value)


OURS = FOUR + '[[contrast]]\nfirst = { method = "prototype"'
SECOND = ' }\nsecond = { method = "multi_task" }\n'
EXCLUDE = FOUR + "[[exclude]]\n"
WRONG = {
    "not TOML": ('summary = "x"\n[[grid]\n', r"mine\.toml is not valid TOML: .*line 2"),
    "no data set": ('[[grid]]\nprotocol = "thin"\n', "has no dataset"),
    "unknown key": ('[[grids]]\nprotocol = "thin"\n', "did you mean 'grid'"),
    "two rows": (OURS + SECOND, "is 2 rows of it, not one"),
    "no row": (f'{OURS}, labels = "full"{SECOND}', "is 0 rows of it, not one"),
    "contrast's key": (f"{OURS}, tkee = true{SECOND}", "did you mean 'tke'"),
    "contrast's weighting": (f"{OURS}, weighting.amtl = {{ gamma = 1 }}{SECOND}", "did you mean 'amtl_g'"),
    "one side": (OURS + "}\n", "has no second ="),
    "exclude's key": (f'{EXCLUDE}label = "one"\n', r"key in \[\[exclude\]\] of plan mine 'label'; did"),
    "exclude's keyword": (EXCLUDE + "hparams.prototype.code = 16\n", "'code'; did you mean 'codes'"),
    "exclude's weighting": (EXCLUDE + "weighting.amtl_g.gama = 1\n", "mine 'gama'; did you mean 'gamma'"),
    "no key": (EXCLUDE, r"an \[\[exclude\]\] of plan mine has no key, which would leave out every run"),
    "excludes nothing": (EXCLUDE + "seed = 7\n", "exclude seeds = 7 matches no run of plan mine; correct"),
    "excludes all": (f'{EXCLUDE}dataset = "scenes"\n', "no run left: 24 runs are left out by exclude"),
    "grid's weighting": (FOUR + "weighting.amtl_g = 3\n", "weighting.amtl_g is 3; expected a table"),
    "not tables": (FOUR.replace("[[grid]]", "[grid]"), r"grid is .*; expected a list.*; write \[\[grid\]\]"),
    "nothing": ('summary = "x"\n', r"mine\.toml has no \[\[grid\]\]; add one"),
    "itself": ('include = ["mine.toml"]\n', r"in a circle: mine\.toml -> mine\.toml; remove one"),
    "seeds twice": (FOUR + "label_seeds = 2\n", "has seeds and label_seeds; give seeds"),
    "methods": (ABLATE.replace('"prototype"', '["mtpsl"]'), r"\['mtpsl'\]; expected a text.*name one method"),
    "no components": (OPEN, r"\[ablate\] of plan mine has no components; add components"),
    "names nobody": (ABLATE + "names = { tk = 'x' }\n", r"names of \[ablate\] .* 'tk'; did you mean 'tke'"),
    "removes nothing": (OPEN + "components = { tke = true }\n", "are the same runs: a component must set"),
    "several": (ABLATE + "hparams.prototype.codes = [8, 16]\n", "2 sets of hyperparameters in the row"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_plan_cannot_mean_is_one_sentence(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    with pytest.raises(UserError, match=message) as caught:
        made(tmp_path, text)
    assert "\n" not in str(caught.value)
