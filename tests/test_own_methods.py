"""What a user's own method declares is what the library asks, not which class it is."""

import keras
import numpy as np
import pytest

from amr_tf import ACAI, AMR, VAE
from amr_tf.metrics.disentanglement import disentanglement
from amr_tf.metrics.measure import evaluate, measure
from amr_tf.models import METHODS
from amr_tf.runs.comparison import caption_of
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.health import health
from tests.metrics.conftest import float_images, make_data
from tests.metrics.test_disentanglement import QUICK, small_data


class WithPrior(AMR):
    """Codes are drawn towards N(0, 1), by a class that is no VAE."""

    unit_prior = True


class WithoutPrior(VAE):
    unit_prior = False


class Scored(AMR):
    """The discriminator's logits are high for mixes, by a class that is no ACAI."""

    critic_scores_mixes = True


class Shifted(AMR):
    """A code is what the encoder returns, and three."""

    def codes_of(self, encoded):
        return encoded + 3.0


@pytest.fixture
def own_methods():
    """Registers methods for one test."""
    before = set(METHODS.names())
    yield METHODS.register
    for name in set(METHODS.names()) - before:
        del METHODS._entries[name]


def small(method, **kwargs):
    keras.utils.set_random_seed(0)
    return method.convolutional((8, 8, 1), depth=2, seed=0, **kwargs)


@pytest.mark.parametrize(("method", "kept"), [(WithPrior, False), (WithoutPrior, True)])
def test_a_prior_is_the_measure_of_codes(method, kept):
    """Codes that hardly vary: against the prior they have collapsed."""
    model = small(method, latent_dim=3)
    for variable in model.encoder.layers[-1].trainable_variables:
        variable.assign(variable * 1e-4)
    results = disentanglement(model, small_data(), **QUICK)
    assert (results["kept_dimensions"] > 0) == kept


@pytest.mark.parametrize("method", (AMR, Scored, ACAI))
def test_which_images_a_discriminator_scores_high(method):
    model = small(method)
    images = np.random.default_rng(0).uniform(-1, 1, (12, 8, 8, 1)).astype("float32")
    step = model.forward(images, seed=0)
    mixes = step.logits["mix"].numpy()
    others = [step.logits["real"].numpy(), step.logits["reconstruction"].numpy()]
    if method is AMR:
        high, low = others[0], np.concatenate([mixes, others[1]])
    else:
        high, low = mixes, np.concatenate(others)
    # Rounding may make two logits equal, which counts for a half.
    expected = np.mean((np.sign(high[:, None] - low[None]) + 1) / 2)
    assert health(model, images)["discriminator_accuracy"] == pytest.approx(expected)


def test_captions(own_methods):
    own_methods("plain")(type("Plain", (AMR,), {"title": None}))
    own_methods("titled")(type("Titled", (AMR,), {"title": "Mine"}))
    own_methods("alone")(type("Alone", (AMR,), {"title": "Mine", "compared_by_mixer": False}))
    captions = {name: caption_of(TrainingConfig(method=name)) for name in ("plain", "titled")}
    assert captions == {"plain": "plain mixup k=2", "titled": "Mine mixup k=2"}
    assert caption_of(TrainingConfig(method="alone", mixer="bernoulli", k=3)) == "Mine"


def test_probes_see_the_codes_of_a_method():
    data = make_data()
    model = small(Shifted, num_classes=3)
    model.compile()
    results = evaluate(model, data, probes=("knn",))
    codes = model.encode(float_images(data.train))
    encoded = model.encoder.predict(float_images(data.train), verbose=0)
    np.testing.assert_allclose(codes, encoded + 3.0, atol=1e-5)
    assert results["knn_probe"]["train_accuracy"] > 0.5


def test_label_mixing_is_for_methods_with_a_label_mixer():
    """A method may need labels and not mix by them."""

    class NeedsLabels(AMR):
        needs_labels = True

    model = small(NeedsLabels, num_classes=3)
    model.compile()
    with pytest.raises(ValueError, match="^label_mixing needs a model that mixes by labels, .*got"):
        measure(model, make_data(), measures=("label_mixing",))
