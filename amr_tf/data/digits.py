"""Real handwritten digits that do not need to be downloaded."""

import numpy as np

from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split, split_off

_TEST_FRACTION = 0.2


@DATASETS.register("digits")
def _digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, a fifth of them for testing."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Each pixel is an ink count from 0 to 16.
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    everything = Split(images, digits.target.astype("int64"))
    train, test = split_off(everything, _TEST_FRACTION, seed=0)
    return Source(train, test, tuple("0123456789"), image_size=16)
