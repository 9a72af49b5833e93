"""The base class of all methods: networks, training step, and saving."""

import functools
from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks, losses, optimizers, replicas
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.mixers import Mixer
from amr_tf.models import building, compiling, inference
from amr_tf.models.averages import (
    exchange,
    keep_averages,
    restart_averages,
    restored,
    start_averages,
)
from amr_tf.models.compiling import Player
from amr_tf.models.data_checks import (
    check_validation_split,
    check_weights,
    checked_data,
    naming_bad_batches,
)
from amr_tf.models.density import CodeDensity
from amr_tf.models.fit_callbacks import with_own
from amr_tf.models.forward import (
    compute_losses,
    discriminate,
    read_discriminator,
    resynthesize,
)
from amr_tf.models.gradients import STEPS
from amr_tf.models.step import StepTensors, split_groups
from amr_tf.models.updates import Mean, apply_update, apply_update_if, for_trainer, over_replicas
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.networks.heads import PROBES

# Metrics averaged over labelled images only.
_LABEL_METRICS = ("probe_loss", "probe_accuracy", "classifier_loss", "classifier_accuracy")
# Further constructor arguments that are Keras objects or None. Older files lack them, and a
# user-defined method may not accept them.
_OPTIONAL = ("preprocessor", "augmentation", "discriminator_augmentation")
_AVERAGES = "holds_averages"  # The flag's key in saved files.
_DENSITY = "density_"  # Prefix of the density's keys in saved files.
_CRITICS = {"logits": "images to logits (N,)", "autoencoder": "images to images"}
_CRITICS["classifier"] = "images to logits (N,) and class logits (N, classes)"


class ResynthesisModel(keras.Model):
    """Base class of all methods: an auto-encoder with a mixer, a discriminator and a probe.

    Subclasses implement `autoencoder_losses` and `discriminator_losses`, which compute the losses
    from the `StepTensors` of a training step. They may also override

    - `make_latents`: the codes to decode;
    - `discriminator_images`: the images that the discriminator sees;
    - `read_discriminator`: the interpretation of its output;
    - `codes_of`: the part of the encoder's output that is the code;
    - `create_state` and `update_state`: state besides the networks;
    - `metric_weights`: the weights of the metrics' means;
    - `create` and `compile`, to change a default or add a setting. The settings of methods
      registered in `amr_tf.models.METHODS` are available on the command line.

    They may call `reconstruction_error`, `gan_loss`, `generator_loss` (the GAN loss that the
    auto-encoder minimises), `adversarial_ramp`, `label_targets`, and every network.

    Args:
        encoder: `keras.Model` from images (N, H, W, C) in [-1, 1] to codes.
        decoder: `keras.Model` from codes to images.
        discriminator: `keras.Model` of the kind named by `critic`, or None if the method has no
            discriminator.
        mixer: an `amr_tf.mixers.Mixer`, or None for a model that does not mix.
        probe: `keras.Model` from codes to class logits (N, classes), or None. It is trained on
            labelled batches. Its gradient does not reach the encoder unless `compile` sets
            `supervision`.
        multi_label: whether labels are binary attributes (N, attributes) instead of classes.
        preprocessor: an `amr_tf.data.ImagePreprocessor` that turns files into images, or None. It
            is saved with the model.
        augmentation: a Keras layer from images to images, such as `amr_tf.ImageAugmentation`, that
            is applied to the images of each training step, or None. It is saved with the model.
        discriminator_augmentation: a layer, such as `amr_tf.DiffAugment`, that randomly changes the
            discriminator's input in training, or None. It is called with the images of all groups
            (real images, reconstructions, mixes) and the number of `groups`.
        **kwargs: passed on to `keras.Model`.

    Raises:
        ValueError: a network is missing, is not built or does not fit the others, or the method
            cannot use the mixer.
    """

    # Attributes that declare what a method does. The library checks them instead of its class.
    #
    # Number of encoder outputs per element of a code; 2 for a mean and a log variance.
    encoder_outputs: int = 1
    # The kind of discriminator: "logits", "classifier" (with a classifier branch),
    # "autoencoder", or None if there is none.
    critic: str | None = "logits"
    # The activation of the decoder's output that the method requests by default.
    output_activation: str | None = None
    takes_mixer: bool = True
    # Whether training makes mixes. The consistency and look losses need them.
    trains_on_mixes: bool = True
    # Whether images are mixed before they are encoded, instead of their codes.
    mixes_pixels: bool = False
    needs_labels: bool = False
    # Whether training pulls codes towards a standard normal prior.
    unit_prior: bool = False
    # Whether the discriminator's logits are high for mixes rather than for real images.
    critic_scores_mixes: bool = False
    # The method's name in captions (None for its registered name), and whether to add the mixer's.
    title: str | None = None
    compared_by_mixer: bool = True
    # Arguments of `create` and `compile` that the method does not use.
    unused_settings: tuple[str, ...] = ()
    # Functions of a name and a value that check settings.
    setting_checks: dict[str, Callable] = {
        "lambda_": checks.check_not_negative,
        "beta": checks.check_not_negative,
        "supervision": checks.check_not_negative,
        "generator_update_every": checks.check_positive_integer,
        "feature_matching": checks.check_not_negative,
        "look_matching": checks.check_not_negative,
        "adversarial_warmup": checks.check_not_negative_integer,
        "ema": checks.check_momentum,
    }
    METRICS: tuple[str, ...] = (
        *("loss", "reconstruction_loss", "adversarial_loss", "consistency_loss"),
        *("feature_loss", "look_loss", "discriminator_loss", "probe_loss", "probe_accuracy"),
        *("regularization_loss", "discriminator_regularization_loss", "probe_regularization_loss"),
    )
    # The constructor's arguments that are Keras objects.
    NETWORKS: tuple[str, ...] = ("encoder", "decoder", "discriminator", "mixer", "probe")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        discriminator: keras.Model | None = None,
        mixer: Mixer | None = None,
        probe: keras.Model | None = None,
        multi_label: bool = False,
        preprocessor: ImagePreprocessor | None = None,
        augmentation: keras.layers.Layer | None = None,
        discriminator_augmentation: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.discriminator: Any = discriminator
        self.mixer: Any = mixer
        self.probe = probe
        self.multi_label = multi_label
        self.preprocessor = preprocessor
        self.augmentation = augmentation
        self.discriminator_augmentation = discriminator_augmentation
        # The density of codes that `sample` draws from, set by `fit_density`.
        self.density: CodeDensity | None = None
        # A function from codes to the inputs of the decoder's tanh, and the images. Set by
        # `compile` if the reconstruction loss takes logits.
        self.decode_with_logits: Callable | None = None
        # Whether the auto-encoder's weights are swapped with their averages (`use_averages`).
        self.holds_averages = False
        self.ema = 0.0
        # A function from images to the discriminator's output and features. Set by `compile` for
        # feature matching.
        self.discriminate_with_features: Callable | None = None
        for name in ("encoder", "decoder", "discriminator", "probe"):
            _check_network(name, getattr(self, name))
        self._check_networks()
        self.check_preprocessor(preprocessor)
        self.check_mixer(mixer)
        if mixer is not None and not mixer.built:
            mixer.build((None, *self.mixed_shape))
        if discriminator_augmentation is not None:
            building.check_discriminator_augmentation(type(self), discriminator_augmentation)
            discriminator_augmentation.build((None, *self.image_shape))
        # Checked again, since the trainable variables of the built mixer are now known.
        self.check_mixer(mixer, self.mixed_shape)
        self._check_augmentation()
        self._trackers = {name: _tracker(name) for name in self.METRICS}
        self._computed_metrics: tuple[str, ...] = ()  # Those that the latest step has computed.
        # Counts training steps. It is saved, since `generator_update_every` depends on it.
        self.step_counter = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.create_state()
        self.build((None, *self.image_shape))

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValueError as error:
            if "add new elements of state" not in str(error):
                raise
            kind = type(self).__name__
            raise ValueError(
                f"{name} cannot be set, since the {kind} is already built. To replace a network, "
                f"create a new model: {kind}(model.encoder, model.decoder, ...). A method creates "
                "its own layers and variables in `create_state`."
            ) from error

    # Building models from names.

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, ...],
        architecture: str = "convolutional",
        mixer: Mixer | str | None = "mixup",
        k: int | None = None,
        num_classes: int | None = None,
        multi_label: bool = False,
        probe: str = "linear",
        augmentation: keras.Layer | str | None = None,
        discriminator_augmentation: keras.Layer | str | None = None,
        seed: int | None = None,
        name: str | None = None,
        model_arguments: dict | None = None,
        **sizes: Any,
    ) -> Self:
        """Creates a model of this method with one of the library's architectures.

        Args:
            image_shape: (H, W, C), or (D,) for points.
            architecture: a call string of `amr_tf.networks.architectures.ARCHITECTURES`, such as
                "convolutional" (used for the paper's tables) or "convolutional(depth=32)".
            mixer: a mixer; a call string of `amr_tf.mixers.MIXERS`, such as "mixup" or
                "bernoulli(probability='example')"; or None.
            k: number of codes in each mix, if `mixer` is a call string. Defaults to 2.
            num_classes: number of classes or attributes of the probe, or None for no probe.
            multi_label: whether labels are attributes.
            probe: a call string of `amr_tf.networks.PROBES`: "linear" (as in the paper) or "mlp".
            augmentation: augmentation of training images: a Keras layer; a call string of
                `amr_tf.augmentation.AUGMENTATIONS`, such as "standard(flip='horizontal')"; or
                None.
            discriminator_augmentation: augmentation of the discriminator's input: a layer; a call
                string of `amr_tf.augmentation.DISCRIMINATOR_AUGMENTATIONS`, such as
                "diff_augment(translation=0, cutout=0)"; or None.
            seed: seed of the random generators. Initial weights depend on
                `keras.utils.set_random_seed` instead.
            name: the model's name.
            model_arguments: further arguments of the class.
            **sizes: parameters of the architecture, overriding those in its call string.

        Raises:
            ValueError: a size or name is not allowed, or the networks do not fit together.

        Example:

        >>> from amr_tf.models import AMR
        >>> model = AMR.create((32, 32, 3), "convolutional(latent_channels=16)", "bernoulli", k=3)
        """
        made_mixer = building.make_mixer(cls, mixer, k, seed)
        for_critic = building.make_discriminator_augmentation(cls, discriminator_augmentation, seed)
        layers = {
            "augmentation": building.make_augmentation(augmentation, image_shape, seed),
            "discriminator_augmentation": for_critic,
        }
        # Not passed if None, since user-defined methods may not accept them.
        given = {argument: layer for argument, layer in layers.items() if layer is not None}
        networks = ARCHITECTURES.build(
            building.architecture_call(cls, architecture, sizes),
            image_shape=tuple(image_shape),
            encoder_outputs=cls.encoder_outputs,
            critic=cls.critic,
            num_classes=num_classes,
        )
        head = None
        if num_classes is not None:
            head = PROBES.build(
                probe,
                latent_shape=networks.decoder.input_shape[1:],
                num_classes=num_classes,
                multi_label=multi_label,
            )
        return cls(
            networks.encoder,
            networks.decoder,
            discriminator=networks.discriminator,
            mixer=made_mixer,
            probe=head,
            multi_label=multi_label,
            name=name,
            **(model_arguments or {}),
            **given,
        )

    @classmethod
    def convolutional(cls, image_shape: tuple[int, ...], **kwargs: Any) -> Self:
        """Creates a model with the method's default convolutional networks; see `create`.

        Args:
            image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
            **kwargs: arguments of `create`, and of the architecture: `latent_channels` (2: d_h =
                latent_width^2 * latent_channels), `latent_width` (4), `latent_dim` (None, or the
                length of vector codes), `depth` (16, channels at full resolution),
                `output_activation` (None or "tanh").
        """
        return cls.create(image_shape, **kwargs)

    # Properties, and checks of the parts.

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the images."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one code, (H, W, C) or (D,)."""
        return tuple(self.encoder.output_shape[1:])

    @property
    def mixed_shape(self) -> tuple[int, ...]:
        """Shape of the mixer's inputs: that of a code, or of an image if pixels are mixed."""
        return self.image_shape if self.mixes_pixels else self.latent_shape

    @property
    def num_classes(self) -> int | None:
        """The probe's number of classes or attributes, or None without a probe."""
        return None if self.probe is None else self.probe.output_shape[-1]

    @property
    def steps_made(self) -> int:
        """Number of training steps so far, an integer, also under a distribution strategy."""
        return int(self.step_counter.numpy())

    def autoencoder_parts(self) -> list:
        """Returns the parts that the auto-encoder's optimizer trains (encoder, decoder, mixer)."""
        # A method, since Keras would save the layers a second time under a property's name.
        return [part for part in (self.encoder, self.decoder, self.mixer) if part is not None]

    @property
    def autoencoder_variables(self) -> list:
        """The trainable variables of `autoencoder_parts`."""
        parts = self.autoencoder_parts()
        return [variable for part in parts for variable in part.trainable_variables]

    @property
    def players(self) -> dict[str, Player]:
        """The players: "autoencoder" and, if present, "discriminator" and "probe"."""
        players = {"autoencoder": Player(self.autoencoder_optimizer, self.autoencoder_variables)}
        for name in ("discriminator", "probe"):
            network, optimizer = getattr(self, name), getattr(self, f"{name}_optimizer")
            if network is not None:
                players[name] = Player(optimizer, network.trainable_variables)
        return players

    @property
    def metrics(self) -> list:
        own = list(self._trackers.values())
        return [*own, self._compile_metrics] if self._has_compile_metrics() else own

    @property
    def metrics_names(self) -> list[str]:
        """Names of the values that `evaluate` returns, in order.

        Before the first step, these are the names of all metrics.
        """
        names = [
            name for name in self._trackers if name in (self._computed_metrics or self._trackers)
        ]
        if self._has_compile_metrics():
            names += [metric.name for metric in self._compile_metrics.metrics]
        return names

    def _has_compile_metrics(self) -> bool:
        return getattr(self, "_compile_metrics", None) is not None

    def _check_networks(self) -> None:
        """Raises a ValueError unless the networks fit each other and the method."""
        shape, latent = self.image_shape, self.latent_shape
        checks.check_shape("The decoder's input", self.decoder.input_shape, latent)
        checks.check_shape("The decoder's output", self.decoder.output_shape, shape)
        kind = type(self).__name__
        if self.critic is None and self.discriminator is not None:
            raise ValueError(f"{kind} has no discriminator: pass None.")
        if self.critic is not None and self.discriminator is None:
            raise ValueError(f"{kind} needs a discriminator, from {_CRITICS[self.critic]}.")
        if self.discriminator is not None:
            seen = self.discriminator.input_shape
            checks.check_shape("The discriminator's input", seen, shape)
        if self.critic == "logits":
            checks.check_shape("The discriminator's output", self.discriminator.output_shape, ())
        if self.probe is not None:
            checks.check_shape("The probe's input", self.probe.input_shape, latent)
            checks.check_shape("The probe's output", self.probe.output_shape, ("classes",))

    def check_preprocessor(self, preprocessor: ImagePreprocessor | None) -> None:
        """Raises a ValueError unless a preprocessor makes images of the model's shape."""
        if preprocessor is not None and preprocessor.image_shape != self.image_shape:
            raise ValueError(
                f"The preprocessor makes images of {preprocessor.image_shape}; the model takes "
                f"{self.image_shape}."
            )

    def _check_augmentation(self) -> None:
        """Builds the augmentation and raises a ValueError if it changes the images' shape.

        It must be built here, since a built model accepts no new layers.
        """
        layer, shape = self.augmentation, (None, *self.image_shape)
        if layer is None:
            return
        if not isinstance(layer, keras.Layer):
            raise ValueError(
                f"augmentation must be a Keras layer from images to images; got {layer!r}. Names "
                f"are for {type(self).__name__}.create."
            )
        if not layer.built:
            layer.build(shape)
        made = layer.compute_output_shape(shape)
        checks.check_shape("What the augmentation makes", made, self.image_shape)

    @classmethod
    def check_mixer(cls, mixer: Mixer | None, mixed_shape: tuple[int, ...] | None = None) -> None:
        """Raises a ValueError if the method cannot use a mixer.

        Args:
            mixer: a mixer, or None.
            mixed_shape: shape of the mixer's inputs, or None if not yet known.
        """
        if mixer is None:
            return
        if not isinstance(mixer, keras.Layer):
            raise ValueError(
                f"mixer must be a Mixer, such as amr_tf.Mixup(); got {mixer!r}. Names are for "
                f"{cls.__name__}.create."
            )
        if not cls.takes_mixer:
            raise ValueError(f"{cls.__name__} does not mix: it takes no mixer; got {mixer.name}.")
        if mixer.needs_labels:
            raise ValueError(
                f"{type(mixer).__name__} mixes by labels: give it to SupervisedAMR as "
                "label_mixer (--method=supervised_amr)."
            )

    # Compiling.

    @classmethod
    def check_settings(cls, **settings: Any) -> None:
        """Raises a ValueError for a setting of `create` or `compile` that is not allowed.

        Methods extend `setting_checks`, or override this for checks that need several settings.
        """
        for name, value in settings.items():
            if name in cls.unused_settings and value:
                raise ValueError(f"{cls.__name__} has no use for {name.rstrip('_')}: leave it out.")
            if name in cls.setting_checks and value is not None:
                cls.setting_checks[name](name, value)

    def compile(
        self,
        autoencoder_optimizer: str | keras.Optimizer = "adam_l2",
        discriminator_optimizer: str | keras.Optimizer = "adam_l2",
        probe_optimizer: str | keras.Optimizer = "adam_l2",
        *,
        reconstruction_loss: str | Callable = "mean_absolute_error",
        gan_loss: str | Callable | None = "binary_crossentropy",
        consistency_loss: str | Callable | None = None,
        lambda_: float = 10.0,
        beta: float = 0.0,
        generator_update_every: int = 1,
        supervision: float = 0.0,
        feature_matching: float = 0.0,
        look_matching: float = 0.0,
        adversarial_warmup: int = 0,
        ema: float = 0.0,
        step: str = "auto",
        metrics: list | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Configures the model for training.

        Args:
            autoencoder_optimizer: optimizer of encoder, decoder and mixer: a Keras optimizer, or a
                call string such as "adam_l2" (as in the paper) or "adam(learning_rate=1e-3)". It
                is also `model.optimizer`, which Keras' callbacks control. During `fit`, the
                learning rates of the other players follow it in proportion.
            discriminator_optimizer: optimizer of the discriminator.
            probe_optimizer: optimizer of the probe.
            reconstruction_loss: a call string: "mean_absolute_error" (used for the published
                tables), "mean_squared_error", "binary_crossentropy" or
                "perceptual(network='VGG16')"; a function of (images, reconstructions); or a
                `keras.losses.Loss`.
            gan_loss: a call string: "binary_crossentropy", "least_squares" or "hinge"; a function
                of (logits, target); or a `keras.losses.Loss` that takes logits.
            consistency_loss: compares mixed codes with the re-encoded mixes. Takes the same values
                as `reconstruction_loss`, except losses of logits or of images alone. Defaults to
                the reconstruction loss, or else to the mean absolute error.
            lambda_: weight of the reconstruction loss, lambda in the paper.
            beta: weight of the consistency loss.
            generator_update_every: update the auto-encoder only every n-th step. The discriminator
                and the probe are updated in every step. The paper's published runs used 5.
            supervision: weight of the probe's loss in the auto-encoder's loss. Above 0, the probe's
                gradient also trains the encoder (paper, section 5). If some labels are -1, this is
                semi-supervised learning.
            feature_matching: weight of the distance between images and reconstructions in the
                discriminator's features: its maps after each layer with pooling or strides (Larsen
                et al. 2016).
            look_matching: weight of the distance between the colours and contrast of each mix and
                those of its parents, averaged with their shares in the mix, or in its look if the
                mixer mixes looks separately; see `amr_tf.losses.look_distance`.
            adversarial_warmup: number of steps over which the weights of the auto-encoder's
                adversarial terms, of `feature_matching` and of `look_matching` grow from 0.
            ema: momentum of moving averages of the auto-encoder's weights, such as 0.998, or 0 for
                no averages. The momentum grows from 0 during the first updates. `fit` trains the
                weights, but uses the averages for validation, between epochs and after training.
            step: "one_pass", the fastest; "two_pass", the textbook form with the same result; or
                "auto" for one_pass if the discriminator allows it. See
                `amr_tf.models.gradients`.
            metrics: Keras metrics that compare images with reconstructions.
            run_eagerly: whether to run the step without a graph, for debugging.
            steps_per_execution: number of steps in one call of the graph.
            jit_compile: whether to compile the step with XLA.
            auto_scale_loss: whether optimizers scale losses under mixed_float16.

        Raises:
            ValueError: a loss or optimizer is unknown, a value is out of range, or the method does
                not use a setting.
        """
        given = {
            "autoencoder_optimizer": autoencoder_optimizer,
            "discriminator_optimizer": discriminator_optimizer,
            "probe_optimizer": probe_optimizer,
            "reconstruction_loss": reconstruction_loss,
            "gan_loss": gan_loss,
            "consistency_loss": consistency_loss,
            "lambda_": lambda_,
            "beta": beta,
            "generator_update_every": generator_update_every,
            "supervision": supervision,
            "feature_matching": feature_matching,
            "look_matching": look_matching,
            "adversarial_warmup": adversarial_warmup,
            "ema": ema,
            "step": step,
        }
        keras_settings = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        self.check_settings(**given)
        compiling.check_parts(self, beta, look_matching, supervision)
        self.reconstruction_loss = losses.reconstruction_loss(reconstruction_loss)
        self.decode_with_logits = compiling.logit_decoder(self.decoder, self.reconstruction_loss)
        self.gan_loss: Any = None
        self.generator_loss: Any = None
        if gan_loss is not None:
            self.gan_loss = losses.gan_loss(gan_loss)
            self.generator_loss = losses.generator_loss(self.gan_loss)
        self.discriminate_with_features = None
        if feature_matching:
            self.discriminate_with_features = compiling.featured_discriminator(self.discriminator)
        self.consistency_loss = compiling.consistency_loss(
            consistency_loss, self.reconstruction_loss
        )
        self.lambda_ = lambda_
        self.beta = beta
        self.generator_update_every = generator_update_every
        self.supervision = supervision
        self.feature_matching = feature_matching
        self.look_matching = look_matching
        self.adversarial_warmup = adversarial_warmup
        self.step = compiling.choose_step(step, self.discriminator)
        super().compile(
            optimizer=optimizers.get(autoencoder_optimizer), metrics=metrics, **keras_settings
        )
        # Keras' own tracker is not used, and a single worker of a strategy could not save it.
        self._loss_tracker = None
        if metrics:
            images = keras.KerasTensor((None, *self.image_shape))
            self._compile_metrics.build(images, images)
        previous = getattr(self, "autoencoder_optimizer", None)
        # Under mixed_float16, super().compile has wrapped its optimizer for loss scaling.
        scaling = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        self.autoencoder_optimizer = self.optimizer
        self.discriminator_optimizer = self.probe_optimizer = None
        if self.discriminator is not None:
            self.discriminator_optimizer = compiling.optimizer(discriminator_optimizer, scaling)
        if self.probe is not None:
            self.probe_optimizer = compiling.optimizer(probe_optimizer, scaling)
        self.ema = ema
        if ema:
            keep_averages(self.autoencoder_optimizer, ema)
        compiling.build_optimizers(self.players)
        if ema:
            start_averages(self.autoencoder_optimizer)
        if self.autoencoder_optimizer is not previous or not ema:
            self.holds_averages = False  # The old optimizer held the swapped-out weights.
        compiling.finalize_all(self)
        made = {f"{name}_optimizer": player.optimizer for name, player in self.players.items()}
        # Stored as configurations, since Keras would track metric objects as parts of the model.
        metrics = keras.saving.serialize_keras_object(metrics)
        self._compile_arguments = {**given, **keras_settings, "metrics": metrics, **made}

    def use_averages(self, wanted: bool = True) -> None:
        """Switches the auto-encoder between the averages of its weights and the weights.

        `fit` does so automatically. Without `ema` this has no effect.

        Args:
            wanted: True for the averages, False for the weights.
        """
        if self.ema and self.holds_averages != wanted:
            exchange(self.autoencoder_optimizer)
            self.holds_averages = wanted

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Sets all weights, as in Keras, and with `ema` also the averages of the auto-encoder's."""
        super().set_weights(weights)
        if self.ema:
            restart_averages(self.autoencoder_optimizer)

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Loads weights, as in Keras; with `ema`, averages that the file lacks start from them."""
        if not self.ema:
            super().load_weights(filepath, **kwargs)
            self.holds_averages = False  # The file's weights, averages or not, are the model's now.
            return
        load = functools.partial(super().load_weights, filepath, **kwargs)
        if not restored(self.autoencoder_optimizer, load):
            self.holds_averages = False

    def remember(self, **settings: Any) -> None:
        """Stores a method's own settings of `compile`, as attributes and for the saved file."""
        self.check_settings(**settings)
        for name, value in settings.items():
            setattr(self, name, value)
            self._compile_arguments[name] = value

    # Functions that methods implement or override.

    def create_state(self) -> None:
        """Creates the method's own layers and variables, before the model is built."""

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        """Computes the method's own part of the auto-encoder's loss.

        The training step adds consistency, feature matching, look matching, supervision and
        regularisation.

        Args:
            step: the networks' outputs for the batch.

        Returns:
            The scalar to minimise and a dictionary from metric names to its terms.
        """
        raise NotImplementedError

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        """Returns the discriminator's loss, a scalar, and its terms by metric name."""
        raise NotImplementedError

    def make_latents(self, step: StepTensors, training: bool) -> dict:
        """Sets `step.codes` and returns the codes to decode, by group."""
        step.codes = self.encoder(step.images, training=training)
        latents = {"reconstruction": step.codes}
        if self.mixer is not None:
            latents["mix"] = self.mix_codes(step, step.codes)
        return latents

    def mix_codes(self, step: StepTensors, codes: tf.Tensor) -> tf.Tensor:
        """Mixes `codes` and stores the permutations and coefficients in `step`."""
        if step.permutations is None:
            step.permutations = self.mixer.draw_permutations(tf.shape(codes)[0], step.seed)
        mixed, step.coefficients = self.mixer.mix_batch(
            codes, step.permutations, step.coefficients, step.seed
        )
        return tf.cast(mixed, codes.dtype)

    def discriminator_images(self, step: StepTensors) -> dict:
        """Returns the images that the discriminator sees, by group."""
        return {"real": step.images, **step.decoded}

    def read_discriminator(self, step: StepTensors) -> None:
        """Sets `step.logits` from `step.discriminator_outputs`."""
        step.logits = split_groups(step.discriminator_outputs, step.discriminator_groups)

    def update_state(self, step: StepTensors) -> None:
        """Updates the method's own state, after the networks' update."""

    def metric_weights(self, step: StepTensors) -> dict:
        """Returns the batch's weight, by name, for each metric that is not a mean of all images."""
        if step.labels is None or self.num_classes is None:
            return {}
        # The same weight for all replicas, since `losses.masked_mean` divides by the same number.
        known = replicas.mean(tf.reduce_sum(self.label_targets(step.labels)[1]))
        return dict.fromkeys(_LABEL_METRICS, known)

    # Functions that methods may call.

    def codes_of(self, encoded: Any) -> Any:
        """Returns the code within the encoder's output; by default the whole output."""
        return encoded

    def reconstruction_error(self, step: StepTensors) -> tf.Tensor:
        """Returns the reconstruction loss of g(f(x)), a scalar."""
        made = step.decoder_logits or step.decoded
        return tf.reduce_mean(self.reconstruction_loss(step.images, made["reconstruction"]))

    def adversarial_ramp(self) -> Any:
        """Returns the factor of adversarial weights. It grows from 0 to 1 during the warm-up."""
        if not self.adversarial_warmup:
            return 1.0
        made = tf.cast(tf.convert_to_tensor(self.step_counter), "float32")
        return tf.minimum(made / self.adversarial_warmup, 1.0)

    def label_targets(self, labels: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Calls `losses.label_targets` for this model's classes or attributes."""
        num_classes: Any = self.num_classes  # Not None: there are labels to predict.
        return losses.label_targets(labels, num_classes, self.multi_label)

    # The training step.

    def train_step(self, data: Any) -> dict:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        check_weights(weights)
        return self._track(*self._train(StepTensors(images, labels)))

    def train_on(
        self, images: Any, labels: Any = None, permutations: Any = None, coefficients: Any = None
    ) -> dict:
        """Runs one training step, which is replayable with given permutations and coefficients.

        The gradients of auto-encoder and discriminator are computed on the same images, decoded
        before the auto-encoder's update.

        Args:
            images: (N, H, W, C) in [-1, 1].
            labels: as `fit` takes them, or None.
            permutations: (k, N) for the mixer, or None to draw them.
            coefficients: (N, k, ...) for the mixer, or None to draw them.

        Returns:
            A dictionary from metric names to scalar tensors of this batch.
        """
        self._assert_compile_called("train_on")
        if self.holds_averages:
            raise ValueError(
                "The model holds the averages of its weights: call use_averages(False) to train on."
            )
        return self._train(StepTensors(images, labels, permutations, coefficients))[1]

    def _train(self, step: StepTensors) -> tuple[StepTensors, dict]:
        """Applies one step's updates and returns the step's tensors and metrics."""
        if self.augmentation is not None:
            step.images = self.augmentation(step.images, training=True)
        gradients, results = STEPS[self.step](self, step)
        # The other gradients are computed before the auto-encoder's update, which changes the
        # variables they depend on.
        optimizer, variables = self.players["autoencoder"]
        if self.generator_update_every == 1:
            apply_update(optimizer, gradients.autoencoder(), variables)
        else:
            due = tf.equal(self.step_counter.value % self.generator_update_every, 0)
            apply_update_if(due, optimizer, gradients.autoencoder, variables)
        for name in ("discriminator", "probe"):
            if getattr(gradients, name) is not None:
                optimizer, variables = self.players[name]
                apply_update(optimizer, getattr(gradients, name), variables)
        self.update_state(step)
        self.step_counter.assign_add(1)
        return step, results

    def make_test_function(self, force: bool = False) -> None:
        """Creates the function that `evaluate` calls for each batch, without XLA.

        XLA would recompile the forward pass for the smaller last batch of each split, which takes
        longer than evaluating the splits.

        Args:
            force: whether to create it again.
        """
        jit_compile = super().jit_compile
        self.jit_compile = False
        try:
            super().make_test_function(force)
        finally:
            self.jit_compile = jit_compile

    def test_step(self, data: Any) -> dict:
        """Computes the losses without updates, on mixes that are the same in every epoch."""
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        check_weights(weights)
        step = self.forward(images, labels, seed=0)
        _, results = compute_losses(self, step)
        return self._track(step, results)

    def forward(
        self,
        images: Any,
        labels: Any = None,
        training: bool = False,
        permutations: Any = None,
        coefficients: Any = None,
        seed: int | None = None,
    ) -> StepTensors:
        """Calls encoder, mixer, decoder and discriminator once each.

        Args:
            images: (N, H, W, C).
            labels: as `fit` takes them, or None.
            training: whether the layers are in training mode.
            permutations: for the mixer, or None to draw them.
            coefficients: for the mixer, or None to draw them.
            seed: an integer for reproducible mixes, or None.

        Returns:
            `StepTensors`.
        """
        step = StepTensors(images, labels, permutations, coefficients, seed)
        resynthesize(self, step, training)
        if self.discriminator is not None:
            inputs = step.discriminator_inputs
            read_discriminator(self, step, *discriminate(self, step, inputs, training))
        return step

    def _track(self, step: StepTensors, results: dict) -> dict:
        """Adds a batch's results to the running means and returns the means."""
        count = tf.cast(tf.shape(step.images)[0], "float32")
        weights = {**dict.fromkeys(results, count), **self.metric_weights(step)}
        results, weights = over_replicas(results, weights)
        unknown = sorted(set(results) - set(self._trackers))
        if unknown:
            raise ValueError(
                f"The losses of {type(self).__name__} return {', '.join(unknown)}, which its "
                "METRICS do not name."
            )
        for name, value in results.items():
            self._trackers[name].update_state(value, sample_weight=weights[name])
        self._computed_metrics = tuple(results)
        tracked = {name: self._trackers[name].result() for name in results}
        if self._has_compile_metrics():
            self._compile_metrics.update_state(step.images, step.reconstructions)
            tracked.update(self._compile_metrics.result())
        return for_trainer(tracked)

    # Functions that users call.

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns reconstructions g(f(x)), with the shape of `images`."""
        codes = self.codes_of(self.encoder(images, training=training))
        return self.decoder(codes, training=training)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> keras.callbacks.History:
        """Checks the data and trains the model with `keras.Model.fit`.

        Takes the arguments of `keras.Model.fit`, with images in [-1, 1] as `x` and labels or None
        as `y`. Arrays are checked before the first step, and batches of a data set or generator
        when they are read. `class_weight` and `sample_weight` are not supported, since a mix
        belongs to several classes and samples.

        Raises:
            ValueError: images are out of range or have the wrong shape, labels do not fit, or
                weights are given.
        """
        check_weights(sample_weight, class_weight)
        if validation_data is None:
            check_validation_split(validation_split, x, batch_size or 32, self._mixed_at_once())
        steps = ("steps_per_epoch", steps_per_epoch)
        x, y = checked_data(self, x, y, batch_size or 32, self._mixed_at_once(), steps=steps)
        if validation_data is not None:
            steps = ("validation_steps", validation_steps)
            validation_data = checked_data(
                self, *_pair(validation_data), None, 1, "validation ", steps
            )
        with naming_bad_batches():
            return super().fit(
                x=x,
                y=y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=with_own(callbacks, self),
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Checks the data and returns metrics on them, as `keras.Model.evaluate` does."""
        check_weights(sample_weight)
        if not kwargs.get("_use_cached_eval_dataset"):  # Otherwise `fit` has checked them.
            x, y = checked_data(self, x, y, None, 1, steps=("steps", steps))
        with naming_bad_batches():
            return super().evaluate(
                x=x,
                y=y,
                batch_size=batch_size,
                verbose=verbose,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Checks a batch and trains on it with `keras.Model.train_on_batch`."""
        check_weights(sample_weight, class_weight)
        x, y = checked_data(self, x, y, None, self._mixed_at_once())
        self.use_averages(False)
        return super().train_on_batch(x, y, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Checks a batch and returns metrics on it, as `keras.Model.test_on_batch` does."""
        check_weights(sample_weight)
        x, y = checked_data(self, x, y, None, 1)
        return super().test_on_batch(x, y, return_dict=return_dict)

    def _mixed_at_once(self) -> int:
        """Returns the smallest allowed size of a training batch."""
        return self.mixer.k if self.mixer is not None and self.trains_on_mixes else 1

    @property
    def inference(self) -> inference.Inference:
        """The networks as TensorFlow functions, traced once."""
        if getattr(self, "_inference", None) is None:
            self._inference = inference.Inference(self)
        return self._inference

    def encode(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """Encodes images to codes, float32 (N, *latent_shape).

        Args:
            images: float (N, H, W, C) in [-1, 1] (decoded images may exceed this range), or a list
                of files (paths, bytes or `PIL.Image`s) if the model has a preprocessor.
            batch_size: number of images encoded at a time.
        """
        images = inference.as_images(self, images)
        return inference.in_batches(self.inference.encode, images, batch_size)

    def decode(self, codes: Any, batch_size: int = 256) -> np.ndarray:
        """Decodes codes (N, *latent_shape) to images, float32 (N, H, W, C)."""
        codes = np.asarray(codes)
        checks.check_shape("codes", codes.shape, self.latent_shape)
        if not len(codes):
            raise ValueError("codes is empty: it must hold at least one code.")
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite; they hold NaN or infinite values.")
        return inference.in_batches(self.inference.decode, codes, batch_size)

    def reconstruct(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """Returns g(f(x)), float32 (N, H, W, C), for images or files as in `encode`."""
        return self.decode(self.encode(images, batch_size), batch_size)

    def mix(
        self,
        images: Any,
        permutations: Any = None,
        coefficients: Any = None,
        seed: int | None = None,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Mixes each image with k - 1 others, through their codes.

        Args:
            images: float (N, H, W, C), or a list of files, with N at least k.
            permutations: (k, N), or None to draw them.
            coefficients: (N, k, ...), or None to draw them.
            seed: an integer for reproducible draws, or None.
            batch_size: number of images encoded or decoded at a time. Mixes may combine any of
                the N images.

        Returns:
            float32 (N, H, W, C).
        """
        return inference.mix(self, images, permutations, coefficients, seed, batch_size)

    def interpolate(
        self,
        images_a: Any,
        images_b: Any,
        steps: int = 9,
        batch_size: int = 256,
        path: str | None = None,
    ) -> np.ndarray:
        """Decodes interpolations between the codes of two sets of images.

        Args:
            images_a: (N, H, W, C), or a list of files; the starts of the lines.
            images_b: (N, H, W, C), or a list of files; the ends of the lines.
            steps: number of images per line, at least 2, including both ends.
            batch_size: number of images decoded at a time.
            path: "linear", or "spherical" for arcs around the origin (slerp), which suit the codes
                of a VAE. None uses the mixer's path (`Mixer.between`), or "linear" without a mixer.

        Returns:
            float32 (N, steps, H, W, C).
        """
        return inference.interpolate(self, images_a, images_b, steps, batch_size, path)

    def fit_density(
        self, images: Any, components: int = 10, seed: int = 0, batch_size: int = 256
    ) -> None:
        """Fits the density of codes that `sample` draws from. It is saved with the model.

        Args:
            images: (N, H, W, C), such as the training images; a few thousand are enough.
            components: number of components of the Gaussian mixture. Reduced if there are fewer
                than twenty images per component.
            seed: seed of the fit.
            batch_size: number of images encoded at a time.
        """
        self.density = CodeDensity.fit(self.encode(images, batch_size), components, seed=seed)

    def sample(self, count: int, seed: int | None = None, batch_size: int = 256) -> np.ndarray:
        """Generates images from codes drawn from the fitted density, or else from a VAE's prior.

        Args:
            count: number of images.
            seed: an integer for reproducible samples, or None.
            batch_size: number of images decoded at a time.

        Returns:
            float32 (count, H, W, C).

        Raises:
            ValueError: the model has no prior and `fit_density` was not called.
        """
        checks.check_positive_integer("count", count)
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        codes = self.inference.draw(count, seed)
        return inference.in_batches(self.inference.decode, codes, batch_size)

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Exports `call`, which reconstructs images, with `keras.Model.export`.

        `python -m amr_tf.export` exports a SavedModel that can also encode, decode and mix.
        """
        self(tf.zeros((1, *self.image_shape)))  # Keras derives the signature from a call.
        return super().export(*args, **kwargs)

    # Saving.

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves the whole model, with the states of optimizers and random generators.

        Args:
            filepath: a path that ends in .keras, or "hf://USER/NAME" on the Hugging Face Hub. Use
                `amr_tf.hub.push_to_hub` to add a model card.
            overwrite: see `keras.Model.save`.
            **kwargs: see `keras.Model.save`.

        Raises:
            ValueError: `filepath` has another form.
        """
        if not str(filepath).endswith(".keras") and not str(filepath).startswith("hf://"):
            raise ValueError(f"The name of a saved model must end in .keras; got '{filepath}'.")
        super().save(filepath, overwrite=overwrite, **kwargs)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        if self.holds_averages:
            store[_AVERAGES] = np.array(True)
        if self.density is not None:
            for name, array in self.density.arrays().items():
                store[_DENSITY + name] = array

    def load_own_variables(self, store: Any) -> None:
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118, it is not a dictionary
        arrays = {
            key.removeprefix(_DENSITY): np.asarray(values.pop(key))
            for key in list(values)
            if key.startswith(_DENSITY)
        }
        self.density = CodeDensity(**arrays) if arrays else None
        self.holds_averages = bool(np.asarray(values.pop(_AVERAGES, False)))
        super().load_own_variables(values)

    def get_config(self) -> dict:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            **{name: serialize(getattr(self, name)) for name in self.NETWORKS},
            "multi_label": self.multi_label,
            **{name: serialize(getattr(self, name)) for name in _OPTIONAL},
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        config = dict(config)
        for name in cls.NETWORKS:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        for name in _OPTIONAL:
            found = keras.saving.deserialize_keras_object(config.pop(name, None))
            if found is not None:
                config[name] = found
        return cls(**config)

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._compile_arguments)

    def compile_from_config(self, config: dict) -> None:
        config = keras.saving.deserialize_keras_object(config)
        # Models in older files always used this loss, and may have settings that are not used.
        config.setdefault("consistency_loss", "mean_absolute_error")
        used = [name for name in config if name not in self.unused_settings]
        self.compile(**{name: config[name] for name in used})

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing, since the constructor and `compile` build everything.

        Keras would take a batch from the distributed data, which fails with several workers
        (keras-team/keras issue 20585).
        """


def _check_network(name: str, network: Any) -> None:
    """Raises a ValueError unless a network's shapes are known."""
    if network is None and name in ("discriminator", "probe"):
        return
    try:
        network.input_shape, network.output_shape  # noqa: B018, both are properties
    except (AttributeError, ValueError):
        raise ValueError(
            f"{name} must be a functional or sequential keras.Model that is built, so that its "
            f"shapes are known; got {type(network).__name__}. Wrap a subclassed model: "
            "keras.Model(inputs, model(inputs))."
        ) from None


def _tracker(name: str) -> Mean:
    tracker = Mean(name=name)
    # Keras' callbacks read from this whether a higher or a lower value is better.
    tracker._direction = "up" if name.endswith("accuracy") else "down"
    return tracker


def _pair(validation_data: Any) -> tuple[Any, Any]:
    """Returns the images and labels of `validation_data`, or a data set and None."""
    if not isinstance(validation_data, (tuple, list)):
        return validation_data, None
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
    check_weights(weights)
    return images, labels
