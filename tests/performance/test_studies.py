"""Every study at a tiny size: its structure and its arithmetic, never how long anything took."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.performance import boards, ceiling, peers, profile, start, study, subject, sweeps
from benchmark.cli.performance.found import Found
from benchmark.cli.performance.measure import exponent
from benchmark.errors import UserError
from benchmark.report import board, records
from benchmark.spec import registry
from benchmark.spec.protocol import load, read_toml
from benchmark.training.flops import workload
from tests.conftest import ROOT, Bench

TINY = [
    part
    for s in ("size=[32, 64]", "width=8", "batch=4", "decoder_blocks=1", "test_images=6")
    for part in ("--set", s)
]
RECORDS = ROOT / "results"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceiling.SIZES, "cpu", (16,))
    monkeypatch.setattr(profile, "STEPS", 1)


def ground(tmp_path: Path, *methods: str, settings: tuple[str, ...] = ()) -> subject.Ground:
    tiny = [*TINY[1::2], *settings]
    return subject.ground(list(methods), "thin", tiny, tmp_path, RECORDS, "cpu", 2)


def made(name: str, tmp_path: Path, *methods: str) -> Found:
    found = study.STUDIES[name](ground(tmp_path, *methods))
    json.dumps(found.as_dict(), allow_nan=False)
    assert len(found.table().rows) == len(found.rows) > 0
    return found


def test_methods(tmp_path: Path) -> None:
    """Rates, ratios and shares follow from the times beside them; the baseline is measured though it was not
    named.
    """
    found = made("methods", tmp_path, "single_task", "mtpsl")
    assert [row["name"] for row in found.rows] == ["single_task", "mtpsl"]
    tasks = ground(tmp_path, "mtpsl").tasks
    for row in found.rows:
        spec = next(s for s in ground(tmp_path, row["method"]).subjects).specs[0]
        counted = workload(
            row["method"], spec.protocol, {n: tasks[n] for n in spec.protocol.tasks}, spec.hyperparameters
        )
        assert row["ms"] == row["eager_ms"] and row["eager_q1"] <= row["ms"] <= row["eager_q3"]
        assert row["images_per_second"] == pytest.approx(4 / row["ms"] * 1e3)
        assert row["gflop"] == pytest.approx(counted.train_flops * 4 / 1e9)
        assert row["gflops"] == pytest.approx(row["gflop"] / row["ms"] * 1e3)
        assert row["of_ceiling"] == pytest.approx(row["gflops"] / row["ceiling_gflops"])
        pairs = [
            (a / c, a / b, f / b)
            for a, b, c, f in zip(*(row[f"{k}_all"] for k in ("eager", "bare", "base", "feed")), strict=True)
        ]
        middle = [(x + y) / 2 for x, y in zip(*pairs, strict=True)]  # two turns each
        assert [row["relative"], row["overhead"] + 1, row["feed_share"]] == pytest.approx(middle)
        assert row["peak_gib"] is None and row["captured_gain"] is None and not row["captured"]
    assert "no step was captured as a CUDA graph where there are no CUDA graphs on cpu" in found.notes
    assert any("GFLOP/s at n = 16" in note for note in found.notes)


def test_the_baseline_is_once_itself(tmp_path: Path) -> None:
    assert [row["relative"] for row in made("methods", tmp_path, "multi_task").rows] == [1.0]


def test_tasks(tmp_path: Path) -> None:
    found = made("tasks", tmp_path, "multi_task")
    own = found.rows
    assert [row["x"] for row in own] == [2, 3, 4, 5, 6]
    assert own[-1]["exponent"] == pytest.approx(exponent([r["x"] for r in own], [r["step_ms"] for r in own]))
    assert all("exponent" not in row for row in own[:-1])
    assert any(
        "tasks in the order semseg, depth, normals, edge, saliency, parts" in note for note in found.notes
    )


def test_tasks_that_a_method_cannot_take_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = registry.method("multi_task")
    monkeypatch.setattr(kind, "skip", classmethod(lambda cls, tasks: "too many" if len(tasks) > 3 else None))
    found = made("tasks", tmp_path, "multi_task")
    assert [row["x"] for row in found.rows] == [2, 3]
    assert "multi_task at T = 5 is left out: too many" in found.notes


def test_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sweeps.BATCHES, "cpu", (2, 4))
    found = made("batch", tmp_path, "multi_task")
    assert [row["value"] for row in found.rows] == ["2", "4"]
    assert all(
        row["images_per_second"] == pytest.approx(row["x"] / row["step_ms"] * 1e3) for row in found.rows
    )


def test_size(tmp_path: Path) -> None:
    found = made("size", tmp_path, "multi_task")
    assert [(row["value"], row["x"]) for row in found.rows] == [
        ("32x32", 32 * 32), ("32x64", 32 * 64), ("48x96", 48 * 96), ("64x128", 64 * 128),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "first", "last"), [("threads", "1", ""), ("layout", "contiguous", "channels last")]
)
def test_comparisons_are_with_the_first(name: str, first: str, last: str, tmp_path: Path) -> None:
    found = made(name, tmp_path, "multi_task")
    assert found.rows[0]["value"] == first and found.rows[0]["gain"] == 1.0
    assert not last or [row["value"] for row in found.rows] == [first, last]
    on_gpu = ground(tmp_path, "multi_task")
    on_gpu.device = "cuda"
    assert study.STUDIES[name](on_gpu).notes == (f"{name} is a study of a CPU; name --device cpu",)


def test_where(tmp_path: Path) -> None:
    found = made("where", tmp_path, "mtpsl", "prototype")
    for name in ("mtpsl", "prototype"):
        shares = {row["kind"]: row["share"] for row in found.rows if row["name"] == name}
        assert sum(shares.values()) == pytest.approx(1) and {
            "convolution",
            "normalisation",
            "optimiser",
        } <= set(shares)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::addmm", "matrix product"),
        ("aten::upsample_bilinear2d_backward", "resampling"),
        ("aten::native_batch_norm", "normalisation"),
        ("aten::index_select", "gather and scatter"),
        ("aten::_fused_adam_", "optimiser"),
        ("aten::copy_", "copy and fill"),
        ("aten::sum", "reduction and loss"),
        ("aten::mul", profile.ELSE),
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolution"),
        ("void at::native::vectorized_elementwise_kernel<4>", profile.ELSE),
    ],
)
def test_operators_by_kind(operator: str, expected: str) -> None:
    assert profile.kind(operator) == expected


def test_evaluation(tmp_path: Path) -> None:
    (row,) = made("evaluation", tmp_path, "multi_task").rows
    assert row["images"] == 6 and row["seconds"] == pytest.approx(row["scores_ms"] / 1e3)
    assert row["images_per_second"] == pytest.approx(6 / row["seconds"])
    assert row["prediction_share"] == pytest.approx(row["predictions_ms"] / row["scores_ms"])


def test_start_takes_the_median_after_a_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter((9.0, 3.0, 1.0, 2.0))
    commands: list[Any] = []
    monkeypatch.setattr(start, "first_step", lambda command: commands.append(command) or next(seconds))
    monkeypatch.setattr(start, "_ended", lambda command: 0.5)
    found = made("start", tmp_path, "mtpsl")
    assert [row["seconds"] for row in found.rows] == [0.5, 2.0, 9.0]
    assert {"thin", "mtpsl", "width=8", "--data"} <= set(commands[0]) and len(commands) == 4


def test_a_first_step_is_seen_from_outside(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "run = pathlib.Path(sys.argv[sys.argv.index('--results') + 1]) / 'a' / 'b'\n"
        "run.mkdir(parents=True)\n"
        "(run / 'curve.jsonl').write_text(sys.argv[1])\n"
        "print('what happened'); time.sleep(int(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program]
    assert start.first_step([*command, "a step", "60"]) < 60
    with pytest.raises(UserError, match=r"^no step was taken by `bench .*`, which said: what happened$"):
        start.first_step([*command, "", "0"])


@pytest.mark.slow
def test_start_of_a_run_itself(tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "REPEATS", 1)
    assert len(made("start", data_folder, "multi_task").rows) == 3


def test_records_are_multiplied_into_others_that_boards_take(tmp_path: Path) -> None:
    known = len(list((RECORDS / "records").glob("*.json")))
    count = boards.multiply(RECORDS / "records", tmp_path / "records", known + 1)
    assert count == 2 * known == len(list((tmp_path / "records").glob("*.json")))
    found = records.collect(tmp_path)  # checks every id
    assert len(found.records) == count == len({r.id for r in found.records})
    assert board.build(found)  # scores follow from the arrays beside them
    assert all(record.arrays for record in found.records)
    with pytest.raises(
        UserError, match="holds no record to multiply; name another checkout's results with --published-in"
    ):
        boards.multiply(tmp_path, tmp_path / "more", 2)


def test_a_process_is_measured_or_says_why_not() -> None:
    seconds, gib = boards.measured([sys.executable, "-c", "x = bytearray(300 * 2**20)"])
    assert seconds > 0 and 0.29 < gib < 0.4  # not what this process holds
    with pytest.raises(UserError, match=r"^-c .* ended with exit code 3 and said: sorry$"):
        boards.measured(
            [sys.executable, "-c", "import sys; sys.stderr.write('a\\nsorry\\n'); sys.exit(3)", "more"]
        )


@pytest.mark.slow
def test_leaderboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "RECORDS", 60)
    rows = made("leaderboard", tmp_path).rows
    assert [row["records"] >= 60 for row in rows] == [True, True] and rows[0]["peak_gib"] > rows[1][
        "peak_gib"
    ] > 0


def measured(**protocol: Any) -> Found:
    """The study of methods as it would be of the peers' first entry on a GPU, at 100 images/s."""
    base = {"name": "nyuv2-13-segnet", "batch": 2, "size": [288, 384], "width": 64, "precision": "bf16"}
    row = {
        "method": "mtpsl",
        "protocol": base | protocol,
        "images_per_second": 100.0,
        "gflops": 5e3,
        "peak_gib": 3.0,
    }
    return Found("methods", "", (), [row | {"captured": True}])


def test_peers_are_set_beside_what_was_measured_on_a_gpu() -> None:
    found = peers.against(measured(), "cuda", "NVIDIA H100")
    (row,) = found.rows
    assert row["peer_fp32"] == 10.2 and row["times_fp32"] == pytest.approx(100 / 10.2)
    assert (
        row["times_tf32"] == pytest.approx(100 / 12.3)
        and row["tflops"] == 5.0
        and row["precision"] == "bf16, captured"
    )
    assert found.title == "against peers.md, not measured here" and "NVIDIA H100" in found.notes[0]
    (four,) = peers.against(measured(batch=4), "cuda", "x").rows
    assert four["times_fp32"] == pytest.approx(100 / 10.4) and four["times_tf32"] is None


@pytest.mark.parametrize("changed", [{"name": "thin"}, {"size": [144, 192]}, {"batch": 3}])
def test_peers_of_other_protocols_are_not(changed: dict[str, Any]) -> None:
    found = peers.against(measured(**changed), "cuda", "x")
    assert (
        not found.rows
        and "no method was measured under a peer's protocol, which are: mtpsl with" in found.notes[1]
    )


def test_peers_are_not_held_against_a_cpu() -> None:
    found = peers.against(measured(), "cpu", "CPU")
    assert not found.rows and found.notes == (
        "The peers' figures are of an NVIDIA H100, so they are not held against those of a CPU",
    )


def test_peers_can_be_measured() -> None:
    """Their methods and protocols are ours, and no protocol says otherwise than its entry but for what --set
    changes.
    """
    for peer in read_toml(peers.FILE)["peer"]:
        assert peer["method"] in registry.method_names()
        assert list(load(peer["protocol"]["name"]).size) == peer["protocol"]["size"]


def test_the_command_writes_what_it_prints(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "here"
    what = ("multi_task", *TINY, "--steps", "2", "--out", out, "--device", "cpu")
    code, printed, told = bench("perf", *what, "--against-peers", "--json")
    content = json.loads(printed)
    assert code == 0 and content == json.loads((out / "perf.json").read_text())
    machine = content["machine"]
    assert (
        machine["precision"] == "fp32"
        and machine["steps"] == 2
        and machine["size"] == [32, 64]
        and machine["date"]
    )
    assert list(content["studies"]) == ["methods", "peers"] and content["studies"]["peers"]["rows"] == []
    assert "not held against those of a CPU" in told.replace("\n", " ")
    assert (out / "perf.svg").is_file() and (out / "perf.png").is_file()


def test_the_command_prints_tables_and_draws_every_study(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "first_step", lambda command: 1.0)
    monkeypatch.setattr(start, "_ended", lambda command: 0.5)
    monkeypatch.setattr(boards, "measured", lambda command: (1.0, 0.5))
    monkeypatch.setattr(boards, "RECORDS", 2)
    monkeypatch.setitem(sweeps.BATCHES, "cpu", (2, 4))
    chosen = [part for name in study.STUDIES for part in ("--study", name)]
    code, printed, _ = bench(
        "perf", "multi_task", *chosen, *TINY, "--steps", 2, "--results", tmp_path, "--device", "cpu"
    )
    assert code == 0 and all(f"{name}: " in printed for name in study.STUDIES)
    assert sorted(p.name for p in (tmp_path / "perf").iterdir()) == ["perf.json", "perf.png", "perf.svg"]


def test_where_nothing_can_be_measured_the_code_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(registry.method("multi_task"), "losses", fail)
    code, printed, _ = bench("perf", "multi_task", *TINY, "--out", tmp_path, "--device", "cpu")
    assert (
        code == 1
        and "multi_task could not be measured: broken." in printed
        and not (tmp_path / "perf.svg").exists()
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--study", "metods"), "unknown study 'metods'; did you mean 'methods'?"),
        (("--steps", "1"), "--steps 1 gives no median with quartiles; time 2 or more."),
        (("mutli_task",), "unknown method 'mutli_task'; did you mean 'multi_task'?"),
        (("--set", "batch=[2, 4]"), "plan thin has several protocols or data sets here, and speeds differ "
                                    "among them"),
        (("--plan", "quickstrat"), "did you mean 'quickstart'?"),
        (("--device", "tpu"), "--device 'tpu' is not one of auto, cpu, cuda, cuda:N."),
    ],
)  # fmt: skip
def test_wrong_input_is_said_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, bench: Bench, tmp_path: Path
) -> None:
    code, _, err = bench("perf", *arguments, "--results", tmp_path)
    assert code == 2 and said in err and not list(tmp_path.iterdir())


def test_several_rows_of_a_method_are_told_apart_and_frozen_labels_are_not_needed(tmp_path: Path) -> None:
    found = ground(
        tmp_path,
        "mtpsl",
        settings=(
            "hparams.mapper_width=[8, 16]",
            "labels=published:one",
            "weights=imagenet",
            "encoder=resnet18",
        ),
    )
    assert [s.name for s in found.subjects] == [
        "mtpsl(mapper_stride=8, mapper_width=8)",
        "mtpsl(mapper_stride=8, mapper_width=16)",
    ]
    spec = found.subjects[0].specs[0]
    assert spec.labels == "one" and spec.protocol.weights == "none" and found.baseline is not None
