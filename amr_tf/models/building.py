"""Builds a method's model from the names of its architecture, mixer and probe."""

from typing import Any

from amr_tf import mixers
from amr_tf.augmentation import AUGMENTATIONS, DISCRIMINATOR_AUGMENTATIONS
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.networks.heads import PROBES
from amr_tf.registry import Call


def build_model(
    method: Any,
    image_shape: tuple[int, ...],
    architecture: str,
    mixer: Any,
    k: int | None = None,
    num_classes: int | None = None,
    multi_label: bool = False,
    probe: str = "linear",
    augmentation: Any = None,
    discriminator_augmentation: Any = None,
    seed: int | None = None,
    name: str | None = None,
    sizes: dict | None = None,
    **arguments: Any,
) -> Any:
    """Builds an uncompiled model of a method with one of the library's architectures.

    Args:
        method: a class that derives from `ResynthesisModel`. Its attributes `encoder_outputs`,
            `critic` and `output_activation` declare which networks it needs.
        image_shape: (H, W, C), or (D,) for points.
        architecture: a call string of `ARCHITECTURES`.
        mixer: a mixer, a call string of `MIXERS`, "none" or None.
        k: number of codes in each mix, if `mixer` is a call string; None for its default.
        num_classes: number of classes or attributes of the probe, or None for no probe.
        multi_label: whether labels are attributes.
        probe: a call string of `PROBES`.
        augmentation: a call string of `AUGMENTATIONS`, "none", a Keras layer or None.
        discriminator_augmentation: a call string of `DISCRIMINATOR_AUGMENTATIONS`, "none", a
            layer, or None.
        seed: seed of the random generators.
        name: the model's name.
        sizes: parameters of the architecture, overriding those in its call string.
        **arguments: further arguments of the method's constructor.

    Raises:
        ValueError: a name or parameter is unknown, a value is out of range, or parts do not fit
            together.
    """
    mixer = make_mixer(method, mixer, k, seed)
    for_critic = make_discriminator_augmentation(method, discriminator_augmentation, seed)
    made = {
        "augmentation": make_augmentation(augmentation, image_shape, seed),
        "discriminator_augmentation": for_critic,
    }
    # User-defined methods may accept neither.
    arguments |= {argument: layer for argument, layer in made.items() if layer is not None}
    networks = ARCHITECTURES.build(
        architecture_call(method, architecture, sizes),
        image_shape=tuple(image_shape),
        encoder_outputs=method.encoder_outputs,
        critic=method.critic,
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
    return method(
        networks.encoder,
        networks.decoder,
        discriminator=networks.discriminator,
        mixer=mixer,
        probe=head,
        multi_label=multi_label,
        name=name,
        **arguments,
    )


def architecture_call(method: Any, architecture: str, sizes: dict | None = None) -> Call:
    """Returns the architecture's call, completed with the parameters that a method requests.

    Args:
        method: a class that derives from `ResynthesisModel`.
        architecture: a call string of `ARCHITECTURES`, which overrides the method's requests.
        sizes: further parameters, which override both.
    """
    name, given = ARCHITECTURES.parse(architecture)
    asked = {}
    takes_activation = ARCHITECTURES.takes(name, "output_activation")
    if method.output_activation is not None and takes_activation:
        asked["output_activation"] = method.output_activation
    return ARCHITECTURES.parse(Call(name, {**asked, **given, **(sizes or {})}))


def make_augmentation(augmentation: Any, image_shape: tuple[int, ...], seed: int | None) -> Any:
    """Builds the layer named by a call string; a layer or None is returned unchanged.

    Raises:
        ValueError: a name or parameter is unknown, or the data are points.
    """
    if augmentation is None or augmentation == "none":
        return None
    if len(image_shape) != 3:
        raise ValueError(
            f"augmentation changes images; points cannot be augmented ({augmentation})."
        )
    if isinstance(augmentation, str):
        return AUGMENTATIONS.build(augmentation, seed=seed)
    return augmentation


def make_mixer(method: Any, mixer: Any, k: int | None = None, seed: int | None = None) -> Any:
    """Builds the mixer named by a call string; a mixer or None is returned unchanged.

    Raises:
        ValueError: the method does not mix, nothing uses `k`, or the mixer is unknown or mixes by
            labels.
    """
    if isinstance(mixer, str) and mixer != "none":
        if not method.takes_mixer:
            raise ValueError(f"{method.__name__} does not mix: it takes no mixer (got '{mixer}').")
        name = mixers.MIXERS.parse(mixer).name
        if getattr(mixers.MIXERS.get(name), "needs_labels", False):
            raise ValueError(
                f"mixer {name} mixes by labels: it is for supervised_amr, as its label_mixer."
            )
        given = {} if k is None else {"k": k}
        return mixers.MIXERS.build(mixer, seed=seed, **given)
    mixer = None if mixer == "none" else mixer
    if k is not None and (mixer is None or mixer.k != k):
        got = "no mixer" if mixer is None else f"a mixer of k = {mixer.k}"
        raise ValueError(f"k = {k} is for a mixer given by name; got {got}.")
    return mixer


def check_discriminator_augmentation(method: Any, augmentation: Any) -> None:
    """Raises a ValueError if a method does not support discriminator augmentation."""
    if method.critic is None or "discriminator_augmentation" in method.unused_settings:
        raise ValueError(
            f"{method.__name__} has no use for discriminator_augmentation: leave it out (got "
            f"{augmentation!r})."
        )


def make_discriminator_augmentation(method: Any, augmentation: Any, seed: int | None = None) -> Any:
    """Builds the layer named by a call string; a layer or None is returned unchanged.

    Raises:
        ValueError: the method does not support it, or the name is unknown.
    """
    if augmentation is None or augmentation == "none":
        return None
    check_discriminator_augmentation(method, augmentation)
    if isinstance(augmentation, str):
        return DISCRIMINATOR_AUGMENTATIONS.build(augmentation, seed=seed)
    return augmentation
