"""Normals fitted to depth against a plane solved pixel by pixel. Exact planes: `test_nyu_mat`."""

import math

import numpy as np
import pytest

from datasets.layouts.fitted_normals import Intrinsics, fit_normals

CAMERA = Intrinsics(fx=40.0, fy=44.0, cx=14.2, cy=11.7)


def rays(shape: tuple[int, int], camera: Intrinsics) -> np.ndarray:
    """(H, W, 3) through the pixels' centres, with z = 1."""
    rows, columns = np.indices(shape)
    return np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones(shape)], -1)


def one_by_one(depth: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """The same as `fit_normals`, each window's equations n.r = 1/Z written down and solved by themselves."""
    ray, normals = rays(depth.shape, camera), np.zeros((*depth.shape, 3))
    for row, column in np.ndindex(depth.shape):
        window = (slice(max(row - 4, 0), row + 5), slice(max(column - 4, 0), column + 5))
        known = depth[window] > 0
        if depth[row, column] == 0 or known.mean() < 0.5:
            continue
        a, b = ray[window][known], 1 / depth[window][known]
        n, _, rank, _ = np.linalg.lstsq(a, b)
        middle = n @ ray[row, column]
        residual = math.sqrt(np.mean((a @ n - b) ** 2))
        if rank == 3 and middle > 0 and residual <= 0.02 * middle:
            normals[row, column] = -n / np.linalg.norm(n)
    return normals


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of angles between vectors of length 1, exact for small ones."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


def bumpy(seed: int, shape: tuple[int, int] = (24, 30)) -> np.ndarray:
    """Two surfaces with a jump that grows from nothing, sensor noise, and holes small and large."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    depth = 2 + 0.03 * columns + 0.02 * rows + 0.1 * np.sin(rows / 5)
    depth[:, 18:] += 0.06 * rows[:, 18:]
    depth += random.normal(size=shape) * 0.005
    depth[random.random(shape) < 0.3] = 0
    depth[3:14, 4:9] = 0
    return depth.astype(np.float32)


@pytest.mark.parametrize("seed", range(2))
def test_it_is_the_least_squares_plane_of_each_window(seed):
    depth = bumpy(seed)
    found, wanted = fit_normals(depth, CAMERA), one_by_one(depth, CAMERA)
    known = wanted.any(-1)
    assert 0.2 < known.mean() < 0.9 and (~known & (depth > 0)).sum() > 20  # both reasons to know nothing
    assert np.array_equal(found.any(-1), known)
    assert degrees(found[known], wanted[known]).max() < 1e-3
    assert found.dtype == np.float32 and not found[~known].any()


def test_no_depth_no_normals():
    assert not fit_normals(np.zeros((12, 16), np.float32), CAMERA).any()
    line = np.zeros((12, 16), np.float32)
    line[5] = 2
    assert not fit_normals(line, CAMERA).any()
    flat = np.full((1, 16), 2, np.float32)  # more than half of each window, but on a line
    assert not fit_normals(flat, CAMERA).any()
