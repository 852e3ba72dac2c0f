"""Our speed beside that of the published codes, which was measured elsewhere: `peers.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.cli.performance.found import Column, Found
from benchmark.spec.protocol import read_toml

FILE = Path(__file__).parent / "peers.toml"
TITLE = "against peers.md, not measured here"


def against(measured: Found | None, device: str, name: str) -> Found:
    """measured: the study of methods, if it was made. name: of the device. Rows: whose protocol was measured
    on a GPU.
    """
    values = read_toml(FILE)
    rows, notes = [], [f"peers: {values['source']}; ours: {name}"]
    if not device.startswith("cuda"):
        notes = ["The peers' figures are of an NVIDIA H100, so they are not held against those of a CPU"]
    else:
        for ours in measured.rows if measured else ():
            rows += [_row(peer, ours) for peer in values["peer"] if _same(peer, ours)]
        if not rows:
            wanted = "; ".join(f"{p['method']} with {_words(p['protocol'])}" for p in values["peer"])
            notes.append(f"no method was measured under a peer's protocol, which are: {wanted}")
    columns = (
        Column("peer", "peer"),
        Column("fp32 images/s", "peer_fp32", "{:.1f}"),
        Column("TF32 images/s", "peer_tf32", "{:.1f}"),
        Column("GiB", "peer_gib", "{:.1f}"),
        Column("ours", "precision"),
        Column("images/s", "images_per_second", "{:.1f}"),
        Column("TFLOP/s", "tflops", "{:.1f}"),
        Column("peak GiB", "peak_gib", "{:.1f}"),
        Column("x fp32", "times_fp32", "{:.1f}"),
        Column("x TF32", "times_tf32", "{:.1f}"),
    )
    return Found("peers", TITLE, columns, rows, tuple(notes))


def _same(peer: dict[str, Any], ours: dict[str, Any]) -> bool:
    return ours["method"] == peer["method"] and all(
        ours["protocol"][key] == value for key, value in peer["protocol"].items()
    )


def _row(peer: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    rate = ours["images_per_second"]
    return {
        "peer": peer["name"],
        "peer_fp32": peer["fp32"],
        "peer_tf32": peer.get("tf32"),
        "peer_gib": peer["peak_gib"],
        "precision": ours["protocol"]["precision"] + (", captured" if ours["captured"] else ", eager"),
        "images_per_second": rate,
        "tflops": ours["gflops"] / 1e3,
        "peak_gib": ours["peak_gib"],
        "times_fp32": rate / peer["fp32"],
        "times_tf32": rate / peer["tf32"] if "tf32" in peer else None,
    }


def _words(protocol: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {'x'.join(map(str, v)) if isinstance(v, list) else v}" for key, v in protocol.items()
    )
