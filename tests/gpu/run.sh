#!/bin/sh
# A first run on a machine with a GPU: tests/gpu/run.sh [SECONDS] [--cpu]. See README.md beside it.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then
    python=.venv/bin/python
fi
exec "$python" -m tests.gpu.first_run "$@"
