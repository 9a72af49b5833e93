"""The compiled model that a `TrainingConfig` describes."""

from amr_tf import mixers
from amr_tf.models import GAIA, METHODS, BetaVAE, OriginalACAI, SupervisedAMR
from amr_tf.optimizers import AdamL2
from amr_tf.training.precision import dtype_policy, jit_compile

# The architectures' arguments that are flags; what is not named here is not passed.
_SIZES = {
    "convolutional": ("latent_channels", "latent_width", "latent_dim", "depth"),
    "dsprites": ("latent_dim",),
    "mlp": ("latent_dim",),
}
# Arguments of `compile` that only one method, and classes derived from it, take.
_SETTINGS = {
    SupervisedAMR: ("class_weight",),
    OriginalACAI: ("adversarial_weight", "critic_blend"),
    GAIA: ("balance_target", "balance_rate"),
    BetaVAE: ("kl_weight",),
}


def build_model(config, image_shape, num_classes=None, multi_label=False):
    """The compiled model that a `TrainingConfig` describes.

    Args:
        config: a `TrainingConfig`.
        image_shape: (H, W, C), or (D,) for points.
        num_classes: classes, or attributes, of the data, or None for unlabelled data.
        multi_label: whether labels are attributes.

    Raises:
        ValueError: a method that learns from labels without labels, or sizes, mixer and method
            that do not fit each other.
    """
    config = config.resolve()
    method = METHODS.get(config.method)
    for name, needed in (
        (f"method {config.method}", method.needs_labels),
        (f"supervision = {config.supervision:g}", config.supervision),
    ):
        if needed and num_classes is None:
            raise ValueError(
                f"{name} learns from labels, but data set '{config.dataset}' has none."
            )
    with dtype_policy(config.precision):
        model = _create(method, config, image_shape, num_classes, multi_label)
    model.compile(
        *_optimizers(config),
        reconstruction_loss=config.reconstruction_loss,
        gan_loss=config.gan_loss,
        lambda_=config.lambda_,
        beta=config.beta,
        generator_update_every=config.generator_update_every,
        supervision=config.supervision,
        step=config.step,
        jit_compile=jit_compile(config.jit_compile),
        **_settings(method, config),
    )
    return model


def _create(method, config, image_shape, num_classes, multi_label):
    """The model, not compiled."""
    arguments = {name: getattr(config, name) for name in _SIZES.get(config.architecture, ())}
    activation = None if config.output_activation == "none" else config.output_activation
    if method.needs_labels:
        arguments["label_mixer"] = _build_label_mixer(config, num_classes)
    return method.create(
        image_shape,
        config.architecture,
        mixer=_build_mixer(config) if method.MIXES and config.mixer != "none" else None,
        num_classes=num_classes,
        multi_label=multi_label,
        probe=config.probe,
        name=config.method,
        output_activation=activation,
        **arguments,
    )


def _settings(method, config):
    names = [name for owner in _SETTINGS if issubclass(method, owner) for name in _SETTINGS[owner]]
    return {name: getattr(config, name) for name in names}


def _optimizers(config):
    """Adam for auto-encoder, discriminator and probe."""
    rates = (config.learning_rate, config.learning_rate, config.probe_learning_rate)
    return [
        AdamL2(
            rate,
            beta_1=config.beta_1,
            beta_2=config.beta_2,
            epsilon=config.epsilon,
            l2_weight_decay=config.l2_weight_decay,
        )
        for rate in rates
    ]


def _build_mixer(config):
    own = {
        "bernoulli": {"probability": config.bernoulli_probability},
        "gaussian": {"sigma": config.gaussian_sigma},
        "composite": {"mixers": tuple(name.strip() for name in config.composite_mixers.split(","))},
    }.get(config.mixer, {})
    return mixers.get(config.mixer, k=config.k, seed=config.seed, **own)


def _build_label_mixer(config, num_labels):
    own = {}
    if config.label_mixer == "supervised_bernoulli":
        own = {
            "estimator": config.mask_estimator,
            "temperature": config.mask_temperature,
            "condition": config.mask_condition,
            "alphas": config.label_alphas,
        }
    return mixers.get(config.label_mixer, num_labels=num_labels, seed=config.seed, **own)
