#!/bin/sh
# The packages that the Slurm tests need, on Debian or Ubuntu as root. No service is started: the tests start their own.
set -eu
if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get -qq update && apt-get -qq install --yes --no-install-recommends slurmctld slurmd slurm-client; } >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
