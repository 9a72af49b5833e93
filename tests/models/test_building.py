"""Models from names, and models from networks that do not fit: one sentence each."""

import keras
import numpy as np
import pytest

from amr_tf import (
    ACAI,
    AEGAN,
    AMR,
    GAIA,
    VAE,
    BernoulliMixup,
    FoldedMixup,
    GaussianMixup,
    Mixup,
    OriginalACAI,
    PixelMixup,
    SupervisedAMR,
    SupervisedBernoulliMixup,
)
from amr_tf.models import METHODS
from amr_tf.models.building import architecture_call, make_mixer
from amr_tf.networks import (
    build_decoder,
    build_discriminator,
    build_encoder,
    build_linear_probe,
    build_mlp_probe,
)
from amr_tf.networks.architectures import ARCHITECTURES, Networks
from tests.models.helpers import SHAPE, X, Y, make_dense, values

layers = keras.layers


def sentence(make, *args, **kwargs):
    """The one sentence with which something is refused."""
    with pytest.raises(ValueError) as error:
        make(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


# From names.


def test_create_from_call_strings():
    model = AMR.create(
        SHAPE,
        "convolutional(depth=2, latent_channels=3)",
        "bernoulli(probability='element')",
        num_classes=4,
        probe="mlp(hidden=(7, 5))",
        seed=3,
        name="mine",
    )
    assert model.name == "mine"
    assert model.latent_shape == (4, 4, 3)
    assert isinstance(model.mixer, BernoulliMixup)
    assert (model.mixer.probability, model.mixer.seed, model.mixer.k) == ("element", 3, 2)
    assert [layer.units for layer in model.probe.layers if hasattr(layer, "units")] == [7, 5, 4]
    assert not model.compiled


def test_sizes_beside_the_call_string_take_its_place():
    one = AMR.create(SHAPE, "convolutional(depth=2)", depth=3, latent_dim=5)
    assert one.latent_shape == (5,)
    assert one.encoder.get_layer("conv_in").filters == 3


@pytest.mark.parametrize(
    ("method", "mixer", "architecture", "activation"),
    [
        (AMR, Mixup, "convolutional", None),
        (AEGAN, None, "convolutional", None),
        (PixelMixup, Mixup, "convolutional", None),
        (ACAI, Mixup, "convolutional", None),
        (OriginalACAI, FoldedMixup, "acai", None),
        (GAIA, GaussianMixup, "convolutional", None),
        (VAE, Mixup, "convolutional", "tanh"),
    ],
)
def test_a_method_has_its_own_defaults(method, mixer, architecture, activation):
    """Nothing but the images' shape: the method says what the rest is."""
    model = method.create(SHAPE)
    assert (None if model.mixer is None else type(model.mixer)) is mixer
    last = model.decoder.layers[-1]
    found = last.activation if isinstance(last, layers.Activation) else None
    assert found is (None if activation is None else getattr(keras.activations, activation))
    assert METHODS.default_of(METHODS_BY_CLASS[method], "architecture") == architecture
    slopes = [layer.negative_slope for layer in model.encoder.layers if "relu" in layer.name]
    assert slopes[0] == pytest.approx(0.2 if architecture == "acai" else 0.01)


METHODS_BY_CLASS = {METHODS.get(name): name for name in METHODS.names()}


def test_what_a_method_asks_of_an_architecture():
    assert dict(architecture_call(AMR, "convolutional").arguments) == {}
    assert architecture_call(VAE, "convolutional").arguments == {"output_activation": "tanh"}
    given = architecture_call(VAE, "mlp(output_activation='sigmoid')", {"latent_dim": 3})
    assert given.arguments == {"output_activation": "sigmoid", "latent_dim": 3}


def test_an_architecture_without_an_output_activation():
    """A user's own may have no such parameter; the method then takes what it gets."""

    @ARCHITECTURES.register("bare")
    def bare(image_shape, size=5, *, encoder_outputs=1, critic=None, num_classes=None):
        encoder = [keras.Input(image_shape), layers.Flatten(), layers.Dense(size * encoder_outputs)]
        decoder = [keras.Input((size,)), layers.Dense(64), layers.Reshape(image_shape)]
        return Networks(keras.Sequential(encoder), keras.Sequential(decoder), None)

    try:
        assert architecture_call(VAE, "bare(size=4)").arguments == {"size": 4}
        model = VAE.create(SHAPE, "bare(size=4)")
        assert model.latent_shape == (4,)
        text = sentence(model.compile)
        assert "the decoder's last layer must be keras.layers.Activation('tanh')" in text
        model.compile(reconstruction_loss="mean_squared_error", run_eagerly=True)
        assert np.isfinite(model.train_on(X)["loss"])
    finally:
        del ARCHITECTURES._entries["bare"]


def test_make_mixer():
    given = Mixup(3)
    assert make_mixer(AMR, given) is given
    assert make_mixer(AMR, given, k=3) is given
    assert make_mixer(AMR, None) is None
    assert make_mixer(AEGAN, "none") is None
    assert make_mixer(AMR, "mixup", k=4, seed=5).get_config()["k"] == 4
    assert make_mixer(AMR, "mixup", seed=5).seed == 5
    for method, arguments, message in (
        (AMR, (given, 2), "k = 2 is for a mixer given by name; got a mixer of k = 3."),
        (AMR, (None, 2), "k = 2 is for a mixer given by name; got no mixer."),
        (AMR, ("none", 2), "got no mixer."),
        (AMR, ("mixup", 1), "k must be an integer of at least 2; got 1."),
        (AMR, ("folded", 3), "FoldedMixup mixes pairs: k must be 2; got 3."),
        (AMR, ("mixpu",), "Unknown mixer 'mixpu'. Did you mean 'mixup'?"),
        (AMR, ("supervised_bernoulli",), "it is for supervised_amr, as its label_mixer."),
    ):
        assert message in sentence(make_mixer, method, *arguments)


@pytest.mark.parametrize("mixer", ["bernoulli", "mixup", "none(a=1)"])
def test_a_method_that_does_not_mix_takes_no_mixer_by_name(mixer):
    for make in (AEGAN.convolutional, AEGAN.create):
        assert sentence(make, SHAPE, mixer=mixer).startswith("AEGAN does not mix")


def test_a_method_that_does_not_mix_takes_no_mixer():
    for mixer in (Mixup(), BernoulliMixup(3)):
        text = sentence(AEGAN, *networks(), mixer=mixer)
        assert text.startswith("AEGAN does not mix: it takes no mixer; got ")
        assert sentence(AEGAN.convolutional, SHAPE, mixer=mixer).startswith("AEGAN does not mix")
    assert AEGAN(*networks()).mixer is None
    assert AEGAN.convolutional(SHAPE, mixer="none").mixer is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "convolutinal"}, "Did you mean 'convolutional'"),
        ({"architecture": "convolutional(dept=3)"}, "Did you mean 'depth'"),
        ({"dept": 3}, "parameter of architecture 'convolutional': 'dept'. Did you mean 'depth'"),
        ({"architecture": "dsprites", "latent_width": 4}, "architecture 'dsprites': 'latent_width"),
        ({"architecture": "convolutional(critic='logits')"}, "critic of .* is set by the method"),
        ({"architecture": "mlp"}, r"Architecture 'mlp' is for points of shape \(D,\)"),
        ({"probe": "mpl", "num_classes": 3}, "Did you mean 'mlp'"),
        ({"probe": "mlp(hidden=())", "num_classes": 3}, "at least one layer"),
        ({"num_classes": 1}, "num_classes must be at least 2; got 1"),
        ({"depth": 0}, "depth must be a positive integer; got 0"),
    ],
)
def test_bad_names(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        AMR.create(SHAPE, **arguments)
    assert "\n" not in str(error.value)


def test_supervised_amr_makes_its_label_mixer():
    model = SupervisedAMR.create(
        SHAPE,
        num_classes=3,
        depth=2,
        label_mixer="supervised_bernoulli(estimator='concrete', temperature=0.25)",
        seed=7,
    )
    mixer = model.label_mixer
    assert (mixer.num_labels, mixer.estimator, mixer.temperature) == (3, "concrete", 0.25)
    assert mixer.seed == 7
    assert model.mixer is None
    for arguments, message in (
        ({"num_classes": None}, "needs num_labels, the number of classes or attributes; got None"),
        ({"label_mixer": "mixup"}, "label_mixer must be a mixer that mixes by labels"),
        ({"label_mixer": "supervised_bernouli"}, "Did you mean 'supervised_bernoulli'"),
        ({"label_mixer": None}, "label_mixer must be a mixer that mixes by labels.*got None"),
    ):
        with pytest.raises(ValueError, match=message):
            SupervisedAMR.create(SHAPE, **{"num_classes": 3, "depth": 2, **arguments})


# From networks.


def networks():
    return (
        build_encoder(SHAPE, depth=2),
        build_decoder(SHAPE, depth=2),
        build_discriminator(SHAPE, depth=2),
    )


class Subclassed(keras.Model):
    """An encoder whose shapes Keras does not know."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(5)

    def call(self, images):
        return self.dense(keras.ops.reshape(images, (-1, 64)))


def critic_with(*last):
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1), *last])


def test_networks_that_fit():
    encoder, decoder, discriminator = networks()
    mixer = Mixup()
    model = AMR(encoder, decoder, discriminator, mixer, build_mlp_probe((4, 4, 2), 3))
    assert (model.image_shape, model.latent_shape, model.num_classes) == (SHAPE, (4, 4, 2), 3)
    assert mixer.built
    # Not one's own to give up: a wrapped subclass has shapes.
    inputs = keras.Input(SHAPE)
    wrapped = keras.Model(inputs, Subclassed()(inputs))
    decoder = keras.Sequential([keras.Input((5,)), layers.Dense(64), layers.Reshape(SHAPE)])
    assert AMR(wrapped, decoder, discriminator).latent_shape == (5,)


@pytest.mark.parametrize("output", [(1,), (2,), (4, 4, 1)])
def test_a_discriminator_of_more_than_one_number_an_image_is_refused(output):
    """(N, 1) would be broadcast against targets (N,) to N x N."""
    dense = layers.Dense(int(np.prod(output)))
    critic = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), dense, layers.Reshape(output)])
    encoder, decoder, _ = networks()
    for method in (AMR, AEGAN, ACAI, PixelMixup):
        mixer = Mixup() if method.takes_mixer else None
        text = sentence(method, encoder, decoder, critic, mixer)
        assert text.startswith("The discriminator's output must have the shape (N,); got (None, ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"discriminator": None}, "AMR needs a discriminator, from images to logits (N,)."),
        ({"mixer": "mixup"}, "mixer must be a Mixer, such as amr_tf.Mixup(); got 'mixup'. Names"),
        ({"mixer": Mixup}, "mixer must be a Mixer, such as amr_tf.Mixup(); got <class"),
        ({"mixer": SupervisedBernoulliMixup(3)}, "give it to SupervisedAMR as label_mixer"),
        ({"encoder": Subclassed()}, "encoder must be a functional or sequential keras.Model"),
        ({"decoder": Subclassed()}, "decoder must be a functional or sequential keras.Model"),
        ({"discriminator": Subclassed()}, "discriminator must be a functional or sequential"),
        ({"probe": Subclassed()}, "probe must be a functional or sequential keras.Model"),
        ({"encoder": None}, "encoder must be a functional or sequential keras.Model"),
        ({"encoder": keras.Sequential([layers.Flatten()])}, "encoder must be a functional or seq"),
        ({"encoder": lambda images: images}, "encoder must be a functional or sequential"),
        ({"decoder": build_decoder(SHAPE, 3, depth=2)}, "The decoder's input must have the shape"),
        (
            {"decoder": build_decoder((8, 8, 3), depth=2)},
            "The decoder's output must have the shape (N, 8, 8, 1); got (None, 8, 8, 3).",
        ),
        (
            {"discriminator": build_discriminator((16, 16, 1), depth=2)},
            "The discriminator's input must have the shape (N, 8, 8, 1)",
        ),
        ({"probe": build_linear_probe((5,), 3)}, "The probe's input must have the shape"),
        (
            {"probe": keras.Sequential([keras.Input((4, 4, 2)), layers.Dense(3)])},
            "The probe's output must have the shape (N, classes); got (None, 4, 4, 3).",
        ),
    ],
)
def test_networks_that_do_not_fit(changes, message):
    encoder, decoder, discriminator = networks()
    given = {"encoder": encoder, "decoder": decoder, "discriminator": discriminator, **changes}
    assert message in sentence(AMR, **given)


@pytest.mark.parametrize(
    ("method", "critic", "message"),
    [
        (AEGAN, None, "AEGAN needs a discriminator, from images to logits (N,)."),
        (GAIA, None, "GAIA needs a discriminator, from images to images."),
        (GAIA, "logits", "The output of GAIA's discriminator, an auto-encoder, must have the"),
        (VAE, "logits", "VAE has no discriminator: pass None."),
        (
            SupervisedAMR,
            None,
            "SupervisedAMR needs a discriminator, from images to logits (N,) and class logits",
        ),
        (SupervisedAMR, "logits", "SupervisedAMR's discriminator must have two outputs"),
    ],
)
def test_discriminators_of_another_kind(method, critic, message):
    encoder = build_encoder(SHAPE, 2 * method.encoder_outputs, depth=2)
    critic = None if critic is None else build_discriminator(SHAPE, depth=2)
    assert message in sentence(method, encoder, build_decoder(SHAPE, depth=2), critic)


def test_a_mixer_is_built_before_it_is_judged():
    """A VAE makes no mixes in training: a mixer that would learn is refused, built or not."""

    class Learned(Mixup):
        def build(self, input_shape):
            super().build(input_shape)
            self.slope = self.add_weight(name="slope", shape=())

    encoder, decoder = build_encoder(SHAPE, 4, depth=2), build_decoder(SHAPE, depth=2)
    for build in (False, True):
        mixer = Learned()
        if build:
            mixer.build((None, 4, 4, 2))
        text = sentence(VAE, encoder, decoder, mixer=mixer)
        assert "VAE makes no mixes in training, so that mixer Learned, which has weights" in text


def test_labels_without_a_probe_are_no_classes():
    model = AMR(*networks(), Mixup())
    assert model.num_classes is None
    model.compile(run_eagerly=True)
    results = model.train_on(X, Y)
    assert not any("probe" in name for name in results)
    assert values(model.weights)


def test_a_network_of_a_built_model_cannot_be_replaced():
    model = make_dense()
    message = r"^probe cannot be set, since the AMR is already built. To replace a network, create"
    with pytest.raises(ValueError, match=message):
        model.probe = build_linear_probe(model.latent_shape, 5)
    assert model.num_classes == 3
    model.ema = 0.5  # What is not state can be set.


def test_images_are_channels_last():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"set_image_data_format\('channels_last'\)"):
            AMR.create((1, 8, 8))
    finally:
        keras.config.set_image_data_format("channels_last")
