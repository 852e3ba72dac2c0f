"""Turn `--slurm key=value`, Slurm's own names and values, into parameters of submitit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from benchmark.errors import UserError
from benchmark.spec.run import RunSpec

# Set by bench itself: a task is one process that runs one cell, or its states would be wrong.
OWN = (
    "array", "error", "job_name", "nodes", "ntasks", "ntasks_per_node", "open_mode", "output", "requeue",
    "setup", "signal", "signal_delay_s", "srun_args", "stderr_to_stdout", "teardown", "use_srun", "wait",
)  # fmt: skip
# How long before the time limit a run is told to write a checkpoint: ample for a step, and for a checkpoint
# on a slow disk.
WARNING_SECONDS = 90
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


def parameters(settings: Sequence[str], cells: Sequence[RunSpec]) -> dict[str, Any]:
    """Return the parameters of `submitit.SlurmExecutor` for command-line settings. Raises `UserError`.

    A key that submitit does not know goes to sbatch as it is, which checks it.
    """
    if find_spec("submitit") is None:
        raise UserError("--slurm needs the package submitit; pip install -e '.[slurm]' installs it.")
    from submitit import SlurmExecutor

    values: dict[str, Any] = {}
    for setting in settings:
        key, sign, text = (part.strip() for part in setting.partition("="))
        name = key.replace("-", "_")
        if not sign or not text or not re.fullmatch("[a-z][a-z_]*", name) or not text.isprintable():
            raise UserError(f"--slurm {setting!r} is not key=value; write for example --slurm partition=gpu.")
        if name in OWN:
            raise UserError(f"--slurm {key} is set by bench itself, one process a run; leave it out.")
        values[name] = True if text == "true" else text  # a flag, such as exclusive
    if "time" not in values:
        raise UserError("--slurm time=... is missing; give a limit in minutes or as 1-12:00:00.")
    minutes = values["time"] = _minutes(str(values["time"]))
    if "max_parallel" in values:
        most = str(values.pop("max_parallel"))
        if not most.isdecimal() or int(most) < 1:
            raise UserError(f"--slurm max_parallel={most} is not a number of tasks of 1 or more.")
        values["array_parallelism"] = int(most)
    if not values.keys() & {"cpus_per_task", "cpus_per_gpu"}:
        values["cpus_per_task"] = max(cell.protocol.threads for cell in cells)
    known = SlurmExecutor._valid_parameters()
    result = {name: value for name, value in values.items() if name in known}
    # Where JobRequeue is off in slurm.conf, only a job that says so may be queued again.
    others = {name: value for name, value in values.items() if name not in known}
    result["additional_parameters"] = others | {"requeue": True}
    result["signal_delay_s"] = min(WARNING_SECONDS, minutes * 60 // 4)
    if "cpus_per_task" in result:  # srun has not taken this over from sbatch since Slurm 22.05
        result["srun_args"] = [f"--cpus-per-task={result['cpus_per_task']}"]
    return result


def _minutes(text: str) -> int:
    """Read Slurm's M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; whole minutes, rounded up."""
    match = _TIME.fullmatch(text)
    seconds = 0
    if match:
        parts = [int(part) for part in match["parts"].split(":")]
        if match["days"] is not None:
            hours, minutes, rest = (*parts, 0, 0)[:3]
        else:
            hours, minutes, rest = parts if len(parts) == 3 else (0, *parts, 0)[:3]
        seconds = ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + rest
    if seconds < 1:
        raise UserError(f"--slurm time={text} is not a time limit; write minutes, 4:00:00 or 1-12:00:00.")
    return -(-seconds // 60)
