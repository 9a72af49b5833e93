"""Decoded mixes drawn beside their points."""

import numpy as np
import pytest

from amr_tf import AEGAN, AMR
from amr_tf.figures.grids import sample_figure
from amr_tf.figures.manifold import manifold_figure
from tests.metrics.test_manifold import POINTS, Stub, points_model


def offsets(figure):
    """The points of each panel, by colour."""
    return [[np.asarray(dots.get_offsets()) for dots in axes.collections] for axes in figure.axes]


def test_figure():
    with_mixer, without = Stub(POINTS[::-1]), Stub(POINTS)
    without.mixer = None
    figure = manifold_figure({"AMR": with_mixer, "AE+GAN": without}, POINTS, seed=4)
    assert [axes.get_title() for axes in figure.axes] == ["AMR", "AE+GAN"]
    (data, mixes), (again, reconstructions) = offsets(figure)
    np.testing.assert_allclose(data, POINTS)
    np.testing.assert_allclose(again, POINTS)
    np.testing.assert_allclose(mixes, POINTS[::-1])
    np.testing.assert_allclose(reconstructions, POINTS + 10)
    assert with_mixer.seeds == [4]
    assert without.seeds == []


def test_a_single_panel():
    assert len(manifold_figure({"AMR": Stub(POINTS)}, POINTS).axes) == 1


@pytest.mark.parametrize("method", [AMR, AEGAN])
def test_samples_of_points_are_drawn_as_points(method):
    model = points_model(method, mixer="mixup" if method is AMR else None)
    figure = sample_figure(model, POINTS, "epoch 3")
    assert [axes.get_title() for axes in figure.axes] == ["epoch 3"]
    ((data, decoded),) = offsets(figure)
    np.testing.assert_allclose(data, POINTS)
    expected = model.mix(POINTS, seed=0) if method is AMR else model.reconstruct(POINTS)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
