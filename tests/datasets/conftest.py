"""Folders in every layout, written once a session."""

import shutil
from pathlib import Path

import pytest

from tests.datasets.folders import LAYOUTS, Folders, write_mtan


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Each layout's folder; only to be read."""
    pytest.importorskip("h5py", reason="NYUv2's official .mat is read with h5py, of the extra `data`")
    pytest.importorskip("skimage", reason="boundaries of PASCAL-Context need scikit-image, the extra `data`")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("layout") / name
            made[name].mkdir()
            LAYOUTS[name].write(made[name])
        return made[name]

    return get


@pytest.fixture
def copied(originals: Folders, tmp_path: Path) -> Folders:
    """A copy of it, to be spoilt."""
    return lambda name: shutil.copytree(originals(name), tmp_path / name)


@pytest.fixture
def mtan(tmp_path: Path) -> Path:
    return write_mtan(tmp_path / "mtan")
