"""Tables of the layout of one image and the look of another."""

import numpy as np
import pytest

from amr_tf import AMR
from amr_tf.figures.looks import check_look_mixers, look_mixes, looks_figure
from amr_tf.figures.sheet import CELL_INCHES, label_inches

SMALL = {"image_shape": (16, 16, 3), "architecture": "residual(width=4, latent_width=4)"}


@pytest.fixture(scope="module", params=[2, 3])
def model(request):
    return AMR.create(**SMALL, mixer="style", k=request.param, seed=0)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 3)).astype("float32")


def test_each_cell_has_the_layout_of_its_column_and_the_look_of_its_row(model, images):
    made = look_mixes(model, images[:3], images[3:])
    assert made.shape == (2, 3, 16, 16, 3)
    for row in range(2):
        for column in range(3):
            pair = images[[column, 3 + row]]
            parents = np.array([[0, 1], *(model.mixer.k - 1) * [[1, 0]]])
            coefficients = np.zeros((2, model.mixer.k, 1, 1, 2), "float32")
            coefficients[:, 0, ..., 0] = coefficients[:, 1, ..., 1] = 1
            expected = model.mix(pair, parents, coefficients)[0]
            np.testing.assert_allclose(made[row, column], expected, atol=1e-5)
    # An image with its own look is its reconstruction.
    own = look_mixes(model, images[:1], images[:1])
    np.testing.assert_allclose(own[0], model.reconstruct(images[:1]), atol=1e-4)


def test_the_table(model, images):
    figure = looks_figure(model, images[:3], images[3:], "A title")
    title = 0.4
    size = label_inches(["layout", "look 1"]) + 4 * CELL_INCHES, title + 3 * CELL_INCHES
    np.testing.assert_allclose(figure.get_size_inches(), size, atol=0.01)
    several = looks_figure({"one": model, "other": model}, images[:3], images[3:])
    assert several.get_size_inches()[1] == pytest.approx(6 * CELL_INCHES + 0.05, abs=0.01)


def test_other_mixers_are_refused():
    model = AMR.create(**SMALL, mixer="mixup")
    with pytest.raises(ValueError, match="^'mine' does not take layout and look apart: only mod"):
        check_look_mixers({"mine": model})
