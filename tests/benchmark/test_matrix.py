"""Plans beyond a grid: what is left out, what is included, what is ablated, and one sentence for what cannot
be meant.
"""

from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.spec import plan

NOWHERE = Path("no-such-data")
GRID = '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\n'
FOUR = (
    GRID
    + 'labels = ["one", "random"]\nmethod = ["single_task", "multi_task", "mtpsl", "prototype"]\nseeds = 2\n'
)
ABLATE = (
    '[ablate]\nprotocol = "thin"\ndataset = "scenes"\nlabels = "one"\nmethod = "prototype"\nseeds = 2\n'
    "components = { tke = false, tc = false, tae = { vq = false, tae = false } }\n"
)


def made(
    folder: Path, text: str, settings: list[str] | None = None, methods: tuple[str, ...] = ()
) -> plan.Plan:
    file = folder / "mine.toml"
    file.write_text(text)
    return plan.make([str(file), *methods], settings or [], NOWHERE)


SHIPPED = {
    "quickstart": 12,
    "thin": 12,
    "field": 28,
    "nyuv2": 60,
    "nyuv2-40": 70,
    "nyuv2-small": 88,
    "nyuv2-smoke": 6,
    "pascal-context": 80,
    "cityscapes": 25,
    "prototype-ablation": 50,
    "ablation-scenes": 16,
    "prototype-dimension": 45,
    "prototype-controls": 70,
    "label-budget": 150,
    "label-budget-scenes": 60,
    "encoder-swap": 90,
    "balancing": 155,
    "balancing-scenes": 30,
    "seed-variance": 125,
    "seed-variance-scenes": 36,
}


def test_every_shipped_plan_but_that_of_own_data_is_counted_here() -> None:
    assert sorted([*SHIPPED, "own-data"]) == plan.names()
    assert all(plan.read(name)["summary"] for name in plan.names())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_plan_expands_without_data(name: str) -> None:
    cells = plan.make([name], [], NOWHERE).cells
    assert len(cells) == len({c.id for c in cells}) == SHIPPED[name]
    assert {"single_task", "multi_task"} <= {
        c.method for c in cells
    }  # every board has its reference and its baseline


@pytest.mark.parametrize("name", ["prototype-ablation", "ablation-scenes"])
def test_the_papers_ablation_adds_codebook_then_prototypes_then_consistency(name: str) -> None:
    found = plan.make([name], [], NOWHERE).ablation
    assert found is not None and found.form == "cumulative"
    switches = ("vq", "tae", "tke", "retrieval", "tc")
    on = [{s for s in switches if row.cells[0].hyperparameters[s]} for row in found.rows]
    assert on == [set(), {"vq", "tae"}, {"vq", "tae", "tke", "retrieval"}, set(switches)]
    assert all(not row.cells[0].changed for row in found.rows[3:]) or name == "ablation-scenes"


def test_the_shipped_studies_vary_what_they_say() -> None:
    def values(name: str, method: str = "prototype") -> list[plan.RunSpec]:
        return [c for c in plan.make([name], [], NOWHERE).cells if c.method == method]

    assert {c.labels for c in values("label-budget")} == {f"fraction:{p}" for p in (0.05, 0.1, 0.2, 0.5, 1.0)}
    assert {c.protocol.encoder for c in values("encoder-swap")} == {
        "resnet18",
        "resnet50",
        "timm:tf_efficientnet_lite0",
    }
    dimension = {
        c.hyperparameters["proto_dim"]: c for c in values("prototype-dimension") if c.hyperparameters["tke"]
    }
    assert set(dimension) == {256, 512, 1024, 2048}
    assert sum(not c.hyperparameters["retrieval"] for c in values("prototype-dimension")) == 5
    controls = {str({k: c.hyperparameters[k] for k in c.changed}) for c in values("prototype-controls")}
    assert len(controls) == 9 and values("prototype-controls", "retrieval")
    assert len({c.balance for c in values("balancing")}) == 14
    assert len({(c.label_seed, c.train_seed) for c in values("seed-variance")}) == 25


def test_label_and_train_seeds_may_be_axes_of_their_own(tmp_path: Path) -> None:
    text = GRID + 'method = "multi_task"\nlabel_seeds = 2\ntrain_seeds = [3, 4]\n'
    assert [(c.label_seed, c.train_seed, c.seed) for c in made(tmp_path, text).cells] == [
        (0, 3, "0.3"),
        (0, 4, "0.4"),
        (1, 3, "1.3"),
        (1, 4, "1.4"),
    ]
    alone = made(tmp_path, GRID + 'method = "multi_task"\ntrain_seed = 2\n').cells
    assert [(c.label_seed, c.train_seed) for c in alone] == [(0, 0), (0, 1)]
    assert [(c.label_seed, c.train_seed) for c in made(tmp_path, text, ["seeds=[7]"]).cells] == [(7, 7)]
    assert [
        (c.label_seed, c.train_seed) for c in made(tmp_path, FOUR, ["label_seeds=[5]"], ("mtpsl",)).cells
    ] == [(5, 0)] * 2


EXCLUDES = {
    'method = "mtpsl"\nlabels = "random"': lambda c: c.method == "mtpsl" and c.labels == "random",
    'method = ["mtpsl", "prototype"]\nseed = 1': lambda c: (
        c.method in ("mtpsl", "prototype") and c.train_seed == 1
    ),
    "seeds = [1]": lambda c: c.label_seed == 1,
    "train_seeds = 1\nlabel_seeds = 1": lambda c: c.label_seed == 1,
    'protocol = "thin"\nencoder = "small"\nmethod = "multi_task"': lambda c: c.method == "multi_task",
    'dataset = "scenes"\nsize = [96, 128]\nbalance = "equal"\nlabels = "one"': lambda c: c.labels == "one",
    'dataset = "scenes-v1"\nlabels = "one"\nweights = "none"': lambda c: c.labels == "one",
    "hparams.prototype.codes = 4096": lambda c: c.method == "prototype",
    "hparams.prototype = { codes = [1, 4096], tke = true }\nlabels = 'one'": lambda c: (
        c.method == "prototype" and c.labels == "one"
    ),
    "tasks = [['depth'], ['semseg', 'depth', 'normals']]\nseed = 0": lambda c: c.label_seed == 0,
}


@pytest.mark.parametrize("table", EXCLUDES)
def test_what_matches_all_keys_of_an_exclude_is_left_out(table: str, tmp_path: Path) -> None:
    whole = made(tmp_path, FOUR).cells
    found = made(tmp_path, f"{FOUR}\n[[exclude]]\n{table}\n")
    assert found.cells == tuple(c for c in whole if not EXCLUDES[table](c)) and 0 < len(found.cells) < len(
        whole
    )
    assert any(
        note.startswith(f"{len(whole) - len(found.cells)} runs are left out by exclude ")
        for note in found.notes
    )


def test_excludes_are_united_and_hold_for_what_the_command_line_changes(tmp_path: Path) -> None:
    text = FOUR + '[[exclude]]\nmethod = "mtpsl"\n[[exclude]]\nlabels = "full"\nmethod = "multi_task"\n'
    with pytest.raises(
        UserError,
        match=r'exclude labels = "full", method = "multi_task" matches no run of plan mine; correct',
    ):
        made(tmp_path, text)
    found = made(tmp_path, text, ["labels=full", "seeds=1"])
    assert {c.method for c in found.cells} == {"single_task", "prototype"}
    narrowed = made(tmp_path, FOUR + '[[exclude]]\nmethod = "mtpsl"\n', methods=("multi_task",))
    assert 'no runs are left out by exclude method = "mtpsl"' in narrowed.notes and len(narrowed.cells) == 4


def test_a_published_split_and_a_file_of_weights_are_excluded_by_what_the_plan_says(tmp_path: Path) -> None:
    grid = (
        '[[grid]]\nprotocol = "nyuv2-13"\ndataset = "nyuv2-13"\nlabels = "published:one"\nmethod = '
        '"multi_task"\nseeds = 3\n'
    )
    assert [
        c.train_seed for c in made(tmp_path, grid + '[[exclude]]\nseeds = 1\ndataset = "nyuv2"\n').cells
    ] == [0, 2]
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
    assert len(made(tmp_path, 'include = ["thin"]\n', ["seeds=1", "labels=random"], ("mtpsl",)).cells) == 1
    outer = made(tmp_path, 'include = ["sub/middle.toml"]\n[[exclude]]\nlabels = "random"\n')
    assert {c.labels for c in outer.cells} == {"one"}


def test_leave_one_out(tmp_path: Path) -> None:
    found = made(tmp_path, ABLATE + 'names = { tke = "task knowledge embedding" }\n')
    assert (
        found.ablation is not None
        and found.ablation.method == "prototype"
        and found.ablation.form == "leave-one-out"
    )
    assert [row.name for row in found.ablation.rows] == [
        "full",
        "without task knowledge embedding",
        "without tc",
        "without tae",
    ]
    assert [row.cells[0].changed for row in found.ablation.rows] == [(), ("tke",), ("tc",), ("tae", "vq")]
    assert [c.label_seed for c in found.ablation.rows[1].cells] == [0, 1] and len(found.cells) == 8
    # The full method is the same run as a grid's.
    both = made(tmp_path, FOUR + ABLATE)
    assert len(both.cells) == len(made(tmp_path, FOUR).cells) + 6


def test_cumulative_adds_in_the_order_of_the_components(tmp_path: Path) -> None:
    found = made(tmp_path, ABLATE + 'form = "cumulative"\n').ablation
    assert found is not None
    assert [row.name for row in found.rows] == ["base", "+ tke", "+ tc", "+ tae"]
    assert [row.cells[0].changed for row in found.rows] == [
        ("tae", "tc", "tke", "vq"),
        ("tae", "tc", "vq"),
        ("tae", "vq"),
        (),
    ]


def test_the_command_line_and_excludes_hold_for_an_ablation(tmp_path: Path) -> None:
    settings = ["labels=random", "seeds=[3]", "epochs=1", "hparams.prototype.codes=16"]
    found = made(
        tmp_path,
        FOUR + ABLATE + "hparams.prototype.kappa = 0.5\n[[exclude]]\nhparams.prototype.tc = false\n",
        settings,
    )
    assert found.ablation is not None and [len(row.cells) for row in found.ablation.rows] == [1, 1, 0, 1]
    for row in found.ablation.rows:
        for c in row.cells:
            assert (c.labels, c.label_seed, c.protocol.epochs) == ("random", 3, 1.0)
            assert (c.hyperparameters["codes"], c.hyperparameters["kappa"]) == (16, 0.5)
    # A component stays removed whatever a setting says of its keyword.
    kept = made(tmp_path, ABLATE, ["hparams.tke=true"]).ablation
    assert kept is not None and [row.cells[0].hyperparameters["tke"] for row in kept.rows] == [
        True,
        False,
        True,
        True,
    ]
    other = made(tmp_path, FOUR + ABLATE, methods=("mtpsl",))
    assert other.ablation is None and {c.method for c in other.cells} == {"mtpsl"}
    assert "the ablation of prototype is left out, as other methods were named" in other.notes
    assert made(tmp_path, FOUR + ABLATE, methods=("prototype",)).ablation is not None
    assert made(tmp_path, FOUR + ABLATE, ['method=["prototype"]']).ablation is not None


OPEN = ABLATE.replace("components", "# components")
WRONG = {
    "exclude: unknown key": (
        FOUR + '[[exclude]]\nmethods = "mtpsl"\nlabel = "one"\n',
        r"key in \[\[exclude\]\] of plan mine 'label'; did",
    ),
    "exclude: unknown method": (
        FOUR + '[[exclude]]\nmethod = "mtpls"\n',
        'exclude method = "mtpls" matches no run of plan mine',
    ),
    "exclude: unknown balance": (
        FOUR + '[[exclude]]\nbalance = "dwb"\n',
        '"dwb" matches no run',
    ),
    "exclude: unknown labels": (FOUR + '[[exclude]]\nlabels = "ones"\n', '"ones" matches no run'),
    "exclude: unknown data set": (
        FOUR + '[[exclude]]\ndataset = "scene"\n',
        '"scene" matches no run',
    ),
    "exclude: type": (
        FOUR + '[[exclude]]\nepochs = "many"\n',
        'epochs = "many" matches no run',
    ),
    "exclude: seeds": (
        FOUR + '[[exclude]]\nseeds = "all"\n',
        'seeds = "all" matches no run',
    ),
    "exclude: hparams": (
        FOUR + "[[exclude]]\nhparams.codes = 16\n",
        r"hparams.codes is 16; expected a table",
    ),
    "exclude: hparams of nobody": (
        FOUR + "[[exclude]]\nhparams.protoype.codes = 16\n",
        "unknown method in .* did you mean 'prototype'",
    ),
    "exclude: unknown keyword": (
        FOUR + "[[exclude]]\nhparams.prototype.code = 16\n",
        "'code'; did you mean 'codes'",
    ),
    "exclude: no key": (
        FOUR + "[[exclude]]\n",
        r"an \[\[exclude\]\] of plan mine has no key, which would leave out every run",
    ),
    "exclude: nothing": (
        FOUR + "[[exclude]]\nseed = 7\n",
        "exclude seeds = 7 matches no run of plan mine; correct",
    ),
    "exclude: no run has both": (
        GRID
        + 'method = ["multi_task", "prototype"]\n[[exclude]]\nmethod = "multi_task"\nhparams.prototype.codes '
        "= 4096\n",
        "matches no run of plan mine; correct it or remove it",
    ),
    "exclude: everything": (
        FOUR + '[[exclude]]\ndataset = "scenes"\n',
        "has no run left: 24 runs are left out by exclude dataset",
    ),
    "exclude: not tables": (
        'exclude = "mtpsl"\n' + FOUR,
        r"mine\.toml: exclude is 'mtpsl'; expected a list.*; write \[\[exclude\]\]",
    ),
    "grid: not tables": (
        FOUR.replace("[[grid]]", "[grid]"),
        r"mine\.toml: grid is .*; expected a list.*; write \[\[grid\]\]",
    ),
    "nothing": ('summary = "x"\n', r"mine\.toml has no \[\[grid\]\]; add one"),
    "include: not a list": ('include = "thin"\n', r"mine\.toml: include is 'thin'; expected a list"),
    "include: unknown": (
        'include = ["quickstrat"]\n',
        "unknown plan 'quickstrat'; did you mean 'quickstart'",
    ),
    "include: absent": ('include = ["other.toml"]\n', r"there is no plan file .*other\.toml"),
    "include: itself": (
        'include = ["mine.toml"]\n',
        r"include each other in a circle: mine\.toml -> mine\.toml; remove one",
    ),
    "seeds twice": (
        FOUR + "label_seeds = 2\n",
        "has seeds and label_seeds; give seeds, which are both, or label_seeds and train_seeds",
    ),
    "label seeds": (
        GRID + "method = 'multi_task'\nlabel_seeds = -1\n",
        "label_seeds is -1; expected a whole number >= 1",
    ),
    "ablate: not a table": (
        'ablate = "prototype"\n' + FOUR,
        r"mine\.toml: ablate is 'prototype'; expected a table.*; write \[ablate\]",
    ),
    "ablate: unknown key": (
        ABLATE + "component = 1\n",
        r"unknown key in \[ablate\] of plan mine 'component'; did you mean 'components'",
    ),
    "ablate: no method": (
        ABLATE.replace("method", "# method"),
        r"\[ablate\] of plan mine: method is None; expected a text",
    ),
    "ablate: methods": (
        ABLATE.replace('"prototype"', '["prototype", "mtpsl"]'),
        r"method is \['prototype', 'mtpsl'\]; expected a text.*name one method",
    ),
    "ablate: no components": (OPEN, r"\[ablate\] of plan mine has no components; add components"),
    "ablate: form": (
        ABLATE + 'form = "cumulativ"\n',
        r"\[ablate\] of plan mine: unknown form 'cumulativ'; did you mean 'cumulative'",
    ),
    "ablate: names": (
        ABLATE + "names = { tke = 1 }\n",
        r"\[ablate\] of plan mine: names.tke is 1; expected a text",
    ),
    "ablate: names nobody": (
        ABLATE + "names = { tk = 'x' }\n",
        r"component in names of \[ablate\] of plan mine 'tk'; did you mean 'tke'",
    ),
    "ablate: keyword": (
        OPEN + "components = { tkee = false }\n",
        "unknown hyperparameter of prototype 'tkee'; did you mean 'tke'",
    ),
    "ablate: nothing removed": (
        OPEN + "components = { tke = true }\n",
        r"rows 'full' and 'without tke' in \[ablate\] of plan mine are the same runs: a component must set",
    ),
    "ablate: several": (
        ABLATE + "hparams.prototype.codes = [8, 16]\n",
        "gives its method 2 sets of hyperparameters in the row 'full'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_plan_cannot_mean_is_one_sentence(case: str, tmp_path: Path) -> None:
    text, message = WRONG[case]
    with pytest.raises(UserError, match=message) as caught:
        made(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_longer_circle_of_includes_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('include = ["mine.toml"]\n')
    with pytest.raises(
        UserError, match=r"circle: mine\.toml -> a\.toml -> mine\.toml; remove one of these includes"
    ):
        made(tmp_path, 'include = ["a.toml"]\n')


@pytest.mark.parametrize(
    "line", ["hparams = 3", "hparams.prototype = 3", "tuning = 3", "tuning.prototype = 3"]
)
def test_tables_that_are_none_are_named(line: str, tmp_path: Path) -> None:
    text = '[[grid]]\nprotocol = "thin"\ndataset = "scenes"\nmethod = "prototype"\n' + line + "\n"
    with pytest.raises(UserError, match=r"plan mine: (hparams|tuning)\S* is 3; expected a table"):
        made(tmp_path, text)


def test_a_row_that_is_excluded_altogether_is_not_in_the_table() -> None:
    from benchmark.report.ablation import tables
    from benchmark.spec.ablation import Ablation, Row

    cell = plan.make(["thin", "multi_task"], [], NOWHERE).cells[:1]
    assert (
        tables(Ablation("multi_task", "leave-one-out", (Row("full", cell), Row("without x", ()))), []) == []
    )
