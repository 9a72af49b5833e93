"""What the health of discriminator and code is measured by, and when a warning comes."""

import numpy as np
import pytest
import tensorflow as tf

from amr_tf import ResynthesisModel
from amr_tf.models import METHODS
from amr_tf.runs import health as health_lib
from amr_tf.runs.health import HealthMonitor, health

IMAGES = np.random.default_rng(0).uniform(-1, 1, (12, 8, 8, 1)).astype("float32")
LABELS = np.arange(12) % 3


@pytest.fixture
def found(monkeypatch):
    """Measures that a test sets, in place of a model's."""
    values = {"dead_maps": 0.0, "discriminator_accuracy": 0.7, "discriminator_spread": 0.5}
    monkeypatch.setattr(health_lib, "health", lambda *args: dict(values))
    return values


def epochs(monitor, count, first=0):
    logs = {}
    for epoch in range(first, first + count):
        monitor.on_epoch_end(epoch, logs)
    return logs


@pytest.mark.parametrize("method", ("acai", "acai_original", "gaia", "supervised_amr", "vae"))
def test_every_kind_of_method(method):
    create = METHODS.get(method).create
    mixer = {"gaia": "gaussian", "acai_original": "folded", "supervised_amr": None}
    model = create(
        (8, 8, 1), "convolutional", mixer=mixer.get(method, "mixup"), depth=2, num_classes=3, seed=0
    )
    model.compile()
    measured = health(model, IMAGES, LABELS)
    names = {"dead_maps"}
    if method not in ("gaia", "vae"):
        names |= {"discriminator_accuracy", "discriminator_spread"}
    assert set(measured) == names
    assert all(0 <= value <= 1 for value in measured.values())


def test_the_models_random_numbers_are_left_alone(model):
    before = [np.array(v) for v in model.variables]
    assert health(model, IMAGES) == health(model, IMAGES)
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_a_dead_map_and_a_constant_discriminator(model):
    """The last convolution's kernels at zero: what is left is the bias, the same for all."""
    kernels = [v for v in model.encoder.trainable_variables if v.name == "kernel"]
    critic = [v for v in model.discriminator.trainable_variables if "kernel" in v.name]
    before = [(v, v.numpy()) for v in (kernels[-1], *critic)]
    try:
        assert health(model, IMAGES)["dead_maps"] == 0
        assert health(model, IMAGES)["discriminator_spread"] > 1e-3
        kernel = kernels[-1].numpy()
        kernel[..., 0] = 0
        kernels[-1].assign(kernel)
        assert health(model, IMAGES)["dead_maps"] == 0.5
        kernels[-1].assign(tf.zeros_like(kernels[-1]))
        assert health(model, IMAGES)["dead_maps"] == 1
        critic[0].assign(tf.zeros_like(critic[0]))
        measured = health(model, IMAGES)
        assert measured["discriminator_spread"] <= 1e-3
        assert measured["discriminator_accuracy"] == 0.5  # Ties.
    finally:
        for variable, value in before:
            variable.assign(value)


@pytest.mark.parametrize(
    ("real", "made", "accuracy"),
    [((3, 4), (1, 2), 1), ((1, 2), (3, 4), 0), ((1, 3), (2, 4), 0.25), ((1, 1), (1, 1), 0.5)],
)
def test_the_share_of_pairs(real, made, accuracy):
    outputs = {"real": np.array(real, float), "mix": np.array(made, float)}
    assert health_lib._pair_accuracy(outputs, "real") == accuracy
    assert health_lib._pair_accuracy(outputs, "mix") == 1 - accuracy


def test_inactive_latents_of_a_vae():
    means = np.random.default_rng(0).normal(size=(64, 4)) * [1, 0.2, 0.05, 0]
    assert health_lib._dead_maps(means, unit_prior=True) == 0.5
    assert health_lib._dead_maps(means, unit_prior=False) == 0.25


def test_what_goes_to_the_log(found):
    logs = epochs(HealthMonitor(IMAGES), 1)
    assert logs == {f"health_{name}": value for name, value in found.items()}
    assert epochs(HealthMonitor(IMAGES, write=False), 1) == {}


def test_healthy_training_gives_no_warning(found, caplog):
    epochs(HealthMonitor(IMAGES), 2 * health_lib._PATIENCE)
    assert caplog.text == ""


def test_a_discriminator_without_an_error(found, caplog):
    patience = health_lib._PATIENCE
    monitor = HealthMonitor(IMAGES)
    found["discriminator_accuracy"] = 1.0
    epochs(monitor, patience - 1)
    assert caplog.text == ""
    epochs(monitor, patience)
    (record,) = caplog.records
    assert f"For {patience} epochs the discriminator has told" in record.getMessage()
    found["discriminator_accuracy"] = 0.9
    epochs(monitor, 1)
    found["discriminator_accuracy"] = 1.0
    epochs(monitor, patience)
    assert len(caplog.records) == 2


def test_a_discriminator_that_says_the_same_of_all(found, caplog):
    found["discriminator_spread"] = 1e-4
    epochs(HealthMonitor(IMAGES), 3)
    (record,) = caplog.records
    assert "gives the same output for every image" in record.getMessage()


def test_dead_maps_are_told_when_they_get_more(found, caplog):
    monitor = HealthMonitor(IMAGES)
    for dead in (0.25, 0.25, 0.5, 0.25):
        found["dead_maps"] = dead
        epochs(monitor, 1)
    assert [record.getMessage()[:4] for record in caplog.records] == ["25 %", "50 %"]
    assert "12 validation images after epoch 1" in caplog.records[0].getMessage()


class Judged(ResynthesisModel):
    """A method of one's own, whose discriminator sees the groups that a test names."""

    groups: tuple = ()

    def discriminator_images(self, step):
        every = super().discriminator_images(step)
        return {name: every[name] for name in self.groups}

    def autoencoder_losses(self, step):
        return self.reconstruction_error(step), {}

    def discriminator_losses(self, step):
        return sum(self.gan_loss(logits, 1.0) for logits in step.logits.values()), {}


@pytest.mark.parametrize(
    ("groups", "scores_mixes", "accuracy"),
    [
        (("reconstruction", "mix"), False, False),
        (("real", "reconstruction"), True, False),
        (("real",), False, False),
        (("real", "mix"), False, True),
        (("reconstruction", "mix"), True, True),
    ],
)
def test_what_the_discriminator_of_ones_own_method_sees(groups, scores_mixes, accuracy):
    model = Judged.convolutional((8, 8, 1), depth=2, mixer="mixup", seed=0)
    model.compile()
    model.groups, model.critic_scores_mixes = groups, scores_mixes
    measured = health(model, IMAGES)
    assert ("discriminator_accuracy" in measured) == accuracy
    assert measured["discriminator_spread"] >= 0
    monitor = HealthMonitor(IMAGES)
    monitor.set_model(model)
    logs = epochs(monitor, 1)
    assert set(logs) == {health_lib.PREFIX + name for name in measured}


def test_the_scale_of_codes_is_what_a_method_declares():
    """Means that hardly vary are dead where there is a prior of variance 1, and only there."""
    model = Judged.convolutional((8, 8, 1), depth=2, mixer="mixup", seed=0)
    model.compile()
    model.groups = ("real", "mix")
    small = model.encoder.layers[-1]
    small.set_weights([1e-3 * weight for weight in small.get_weights()])
    assert health(model, IMAGES)["dead_maps"] == 0
    model.unit_prior = True
    assert health(model, IMAGES)["dead_maps"] == 1
