"""benchmarks/photos_beside.py: the rows of several grids in one picture."""

import matplotlib.pyplot as plt
import numpy as np

from benchmarks import photos_beside


def test_rows_of_two_grids(tmp_path):
    levels = {"one": [0, 20, 40, 60, 80], "other": [0, 120, 140, 160, 80]}
    for name, rows in levels.items():
        grid = np.repeat(np.uint8(rows), 8)[:, None, None].repeat(80, axis=1).repeat(3, axis=2)
        plt.imsave(tmp_path / f"{name}.png", grid)
    models = [f"model {name}={tmp_path / name}.png" for name in levels]
    photos_beside.main(tmp_path / "beside.png", *models)
    column = np.round(plt.imread(tmp_path / "beside.png")[:, -20, 0] * 255)
    shown = [int(level) for level in column[np.insert(np.diff(column) != 0, 0, True)]]
    expected = [0, 20, 120, 80, 40, 140]  # Originals, reconstructions, blends, mixes of two.
    assert [level for level in shown if level in expected] == expected
