"""The records of a calm machine."""

from pathlib import Path

import pytest

from benchmark.spec import plugins
from tests.executors.common import cells, run


@pytest.fixture(scope="session")
def calm(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs without a fault, in this process."""
    results = tmp_path_factory.mktemp("calm")
    found, _ = run(cells(data_folder, seeds=2), results, data_folder, workers=0)
    assert len(found["done"]) == 2
    plugins.forget()
    return results
