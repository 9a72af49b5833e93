"""Functions that build the parts of a method's model from their names."""

from typing import Any

from amr_tf import mixers
from amr_tf.augmentation import AUGMENTATIONS, DISCRIMINATOR_AUGMENTATIONS
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.registry import Call


def architecture_call(method: Any, architecture: str, sizes: dict | None = None) -> Call:
    """Returns the architecture's call, with the parameters that the method requests.

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
        ValueError: the method does not mix, `k` is not that of the given mixer, or the mixer is
            unknown or mixes by labels.
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
        ValueError: the method does not support discriminator augmentation, or a name or parameter
            is unknown.
    """
    if augmentation is None or augmentation == "none":
        return None
    check_discriminator_augmentation(method, augmentation)
    if isinstance(augmentation, str):
        return DISCRIMINATOR_AUGMENTATIONS.build(augmentation, seed=seed)
    return augmentation
