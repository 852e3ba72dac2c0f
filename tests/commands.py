"""Command lines of tests: small runs, processes that can be killed, and the records they leave."""

import gc
import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmark.spec import plugins
from tests.conftest import command_line, run_here

TROUBLE = Path(__file__).parent / "executors" / "trouble.py"
TINY = [
    "size=[32, 64]", "train_images=16", "test_images=8", "batch=4", "epochs=3", "width=8", "decoder_blocks=1",
]  # fmt: skip


def given(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def sets(*settings: str) -> list[str]:
    return given(*TINY, *settings)


SHORT = sets("seeds=1", "epochs=1", 'tasks=["semseg", "depth"]')


def every_command() -> dict[str, Any]:
    """Return {name: command} of the command line, such as "data list"."""

    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for child, sub in getattr(command, "commands", {}).items():
            yield from leaves(sub, f"{name} {child}".strip())
        if not getattr(command, "commands", {}):
            yield name, command

    return dict(leaves(command_line(), ""))


def fork(act: Callable[[], object], **options: Any) -> "subprocess.Popen[str]":
    """Start a process that can be killed: a fork. `act` gives its exit code, or none."""

    def child() -> None:
        gc.enable()  # Popen turned it off around the fork
        os.closerange(3, 1024)  # as an exec would; the first of them tells Popen that the process is there
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        warnings.simplefilter("default")
        plugins.forget()
        code: Any = 1
        try:
            code = act() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    with warnings.catch_warnings():  # of other threads here, which hold nothing that the fork needs
        warnings.simplefilter("ignore", DeprecationWarning)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # Signals as Python has them, not as an exec would find them: a file too large is an error.
        return subprocess.Popen(["true"], preexec_fn=child, restore_signals=False, **pipes, **options)


def start(*arguments: object, data: Path, **options: Any) -> "subprocess.Popen[str]":
    """Start a command line as a process of its own, which can be killed."""
    return fork(lambda: run_here(*arguments, "--data", data), **options)


def records(results: Path) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in (json.loads(p.read_text()) for p in results.glob("*/*/record.json"))}


def without_cost(record: dict[str, Any]) -> dict[str, Any]:
    """A record but for what depends on how busy the machine is."""
    environment = {k: v for k, v in record["environment"].items() if k != "load"}
    return {k: v for k, v in record.items() if k not in ("cost", "digest")} | {"environment": environment}


def wait_until(true: Callable[[], Any], process: "subprocess.Popen[str]", seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waiting(gate: Path, results: Path, *settings: str) -> list[object]:
    """A command whose runs stop, with a checkpoint, before their sixth step, until `gate` names a later."""
    place = gate.with_suffix("")
    own = ("epochs=6", 'hparams.trouble.fault="wait"', f'hparams.trouble.place="{place}"')
    command = ["run", "thin", "trouble", "--plugin", TROUBLE, *sets(*own, *(settings or ["seeds=1"]))]
    return [*command, "--results", results, "--checkpoint-every", 5]
