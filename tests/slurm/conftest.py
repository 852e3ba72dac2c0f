"""A Slurm of the tests' own on this host: a controller and a node of two processors, in its own folder."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

COMMANDS = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# No munge, no database, no cgroups; a requeued job waits for cred_expire, which cannot be shorter.
CONFIGURATION = """
ClusterName=bench
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def until(condition: Callable[[], Any], what: str, seconds: float = 300.0) -> Any:
    """The first true value of `condition`, waited for at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return value


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A running Slurm, found by SLURM_CONF; without, skips, or fails if BENCH_REQUIRE_SLURM is set."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} missing" if missing else "not root"
        reason = f"left out: a plan on a real Slurm; needs root and tests/slurm/install.sh ({why})"
        (pytest.fail if os.environ.get("BENCH_REQUIRE_SLURM") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    file = folder / "slurm.conf"
    controller, node = _free_ports(2)
    file.write_text(CONFIGURATION.format(folder=folder, controller=controller, node=node))
    environment = pytest.MonkeyPatch()
    environment.setenv("SLURM_CONF", str(file))
    with (folder / "daemons.txt").open("w") as said:
        streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        commands = (["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"])
        daemons = [subprocess.Popen(command, **streams, start_new_session=True) for command in commands]
    state = ["sinfo", "-h", "-o", "%T"]
    try:
        until(lambda: b"idle" in subprocess.run(state, capture_output=True).stdout, "a node")
        yield
    finally:
        _stop(daemons)
        environment.undo()


def _stop(daemons: list["subprocess.Popen[bytes]"]) -> None:
    """End what still runs of the jobs, then the daemons."""
    try:
        subprocess.run(["scancel", "--me", "--full", "--signal=KILL"], capture_output=True, timeout=300)
        subprocess.run(["scancel", "--me"], capture_output=True, timeout=300)
        until(lambda: not call("squeue", "--noheader"), "an empty queue", 120)
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(60)
