"""What the fuzzing and the security tests found, each a test of its own."""

import numpy as np
import pytest

from amr_tf import checks
from amr_tf.data.attributes import read_table
from amr_tf.metrics import fixed_factor, image_quality, mig_dci_sap
from amr_tf.registry import unknown_name
from amr_tf.runs.config import TrainingConfig
from amr_tf.search import SearchSpace

FACTORS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2)


@pytest.mark.parametrize("value", [10**30, 10**400, -(10**30)])
def test_integers_of_more_than_64_bits(value):
    """NumPy's isfinite raises a TypeError for them."""
    if value in (10**400, -(10**30)):
        with pytest.raises(ValueError, match="must be a finite number of at least 0"):
            checks.check_not_negative("lambda", value)
    else:
        checks.check_not_negative("lambda", value)
    for field in ("seed", "epochs", "batch_size"):
        with pytest.raises(ValueError, match=field):
            TrainingConfig(**{field: value}).validate()


def test_names_with_line_breaks():
    assert str(unknown_name("mixer", "a\nb", ["x"])) == r"Unknown mixer 'a\nb'. Allowed: x."
    with pytest.raises(ValueError, match=r"does not know: 'a\\nb', c\. Its models"):
        TrainingConfig.from_json('{"a\\nb": 1, "c": 2}')


def test_codes_of_different_widths():
    codes = np.random.default_rng(0).normal(size=(8, 3))
    for measure in (
        mig_dci_sap.dci,
        mig_dci_sap.sap,
        fixed_factor.factor_vae_score,
        fixed_factor.beta_vae_score,
    ):
        with pytest.raises(ValueError, match="codes of train and held_out .* got 3 and 2"):
            measure((codes, FACTORS), (codes[:, :2], FACTORS))


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (1, 4), (2, 2, 2), (0, 2)])
def test_importances_of_other_shapes(shape):
    with pytest.raises(ValueError, match="importances must have the shape"):
        mig_dci_sap.concentration(np.ones(shape))


def test_importances_that_are_no_importances():
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="importances must be finite numbers of at least 0"):
            mig_dci_sap.concentration([[value, 1], [1, 1]])


def test_numbers_whose_squares_are_infinite():
    large = np.random.default_rng(0).normal(size=(8, 2)) * 1e200
    with pytest.raises(ValueError, match="Features must lie within"):
        image_quality.frechet_distance(large, large)
    with pytest.raises(ValueError, match="codes must lie within"):
        mig_dci_sap.mutual_information_gap(large, FACTORS)


@pytest.mark.parametrize("text", ["a\nb", "k:a\nb", "k:5\n..2", "k:1..2:a\nb", "k:0\n..2:log"])
def test_search_texts_with_line_breaks(text):
    with pytest.raises(ValueError) as caught:
        SearchSpace.parse([text])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ['file,"a\nb"\nx.png,2\n', 'file,a\nx.png,"0\n1"\n', 'f,a\n"x\ny",1,0\n']
)
def test_tables_with_line_breaks_in_their_cells(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_table(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)
