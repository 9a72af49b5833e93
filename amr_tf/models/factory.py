"""Builds a method's networks: the encoder's outputs and the critic that it needs."""

from amr_tf import mixers
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.networks.heads import PROBES


class Factory:
    """Part of `ResynthesisModel`: class methods that build a model with the library's networks.

    A method says what it needs in class attributes.
    """

    # Channels of the encoder's output for each channel of a code.
    ENCODER_OUTPUTS = 1
    # "logits", "classifier" (with a branch for the classes), "autoencoder" or None.
    CRITIC: str | None = "logits"
    # Whether the networks have their normalisation, instance and spectral.
    NORMALIZED = True
    # Whether the method takes a mixer.
    MIXES = True

    @classmethod
    def create(
        cls,
        image_shape,
        architecture="convolutional",
        mixer="mixup",
        k=2,
        num_classes=None,
        multi_label=False,
        probe="linear",
        seed=None,
        name=None,
        model_arguments=None,
        **sizes,
    ):
        """A model of this method with one of the library's architectures.

        Args:
            image_shape: (H, W, C), or (D,) for points.
            architecture: "convolutional" (the tables'), "dsprites" or "mlp"; see
                `amr_tf.networks.architectures`.
            mixer: a mixer, its registered name ("mixup", "bernoulli", ...), or None.
            k: how many codes a mix combines, where `mixer` is a name.
            num_classes: classes or attributes of the probe, or None for no probe.
            multi_label: whether labels are attributes.
            probe: "linear" (the paper's) or "mlp".
            seed: of the mixer's random generator; the initial weights come from
                `keras.utils.set_random_seed`.
            name: the model's name.
            model_arguments: further arguments of the class, a dictionary.
            **sizes: of the architecture.

        Raises:
            ValueError: a size or name that is not allowed, or networks that do not fit.
        """
        if isinstance(mixer, str):
            mixer = mixers.get(mixer, k=k, seed=seed)
        networks = ARCHITECTURES.get(architecture)(
            tuple(image_shape),
            encoder_outputs=cls.ENCODER_OUTPUTS,
            critic=cls.CRITIC,
            normalized=cls.NORMALIZED,
            num_classes=num_classes,
            **sizes,
        )
        head = None
        if num_classes is not None:
            code_shape = networks.decoder.input_shape[1:]
            head = PROBES.get(probe)(code_shape, num_classes, multi_label=multi_label)
        return cls(
            networks.encoder,
            networks.decoder,
            discriminator=networks.discriminator,
            mixer=mixer if cls.MIXES else None,
            probe=head,
            multi_label=multi_label,
            name=name,
            **(model_arguments or {}),
        )

    @classmethod
    def convolutional(cls, image_shape, **kwargs):
        """A model of the networks that the paper's tables use: `create` without `architecture`.

        Args:
            image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
            **kwargs: as of `create`, and `latent_channels` (2: d_h = latent_width^2 *
                latent_channels), `latent_width` (4), `latent_dim` (None, or the length of vector
                codes), `depth` (16, channels at full resolution), `output_activation` (None or
                "tanh").
        """
        return cls.create(image_shape, "convolutional", **kwargs)
