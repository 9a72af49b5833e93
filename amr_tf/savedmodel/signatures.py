"""The signatures of a SavedModel, each a TensorFlow function.

| signature | inputs | outputs |
|---|---|---|
| serving_default, decode | codes (N, *LATENT) | images (N, H, W, C) |
| decode_uint8 | codes | images, uint8 |
| decode_png | codes | png_bytes, string (N,) |
| encode | images | codes |
| encode_uint8 | images, uint8 | codes |
| encode_png | png_bytes: PNG or JPEG files of any size, turned upright | codes |
| reconstruct | images | images |
| mix | codes (N, K, *LATENT), coefficients (N, K) | images |
| mix_maps | codes (N, K, *LATENT), coefficients (N, K, M) | images |
| mix_looks | codes (N, K, *LATENT), layouts (N, K), looks (N, K) | images |
| interpolate | images_a, images_b, steps int32 () | images (N, steps, H, W, C) |
| sample | count int32 (), seed int32 () | images (count, H, W, C) |
| mix_labels | images_a, images_b, labels, labels_a, labels_b (N, L), seed int32 () | images |

The default dtype is float32. Images are in [-1, 1]; a decoder without an output activation may
slightly exceed this range, but uint8 and PNG outputs are clipped. `encode_png` preprocesses files
as in training (`amr_tf.data.ImagePreprocessor`), except for the EXIF orientation; without a
preprocessor it resizes them. N, K and steps are dynamic; M is the last axis of LATENT. Models of
points (N, D) have no uint8 or PNG signatures, and models of images without 1, 3 or 4 channels have
no PNG signatures. `sample` requires a fitted density or a VAE's prior, `mix_labels` a label mixer,
and `mix_looks` a mixer that treats layout and look separately (`Mixer.mixes_looks`).

`mix` and `mix_maps` combine codes as the model's mixer does (`Mixer.weigh`, `Mixer.combine`). Most
mixers form the weighted sum with the given coefficients, which need not sum to one; clients must
normalise them for a convex combination. If the method mixes pixels in training (`mixes_pixels`),
these signatures still mix codes, by a weighted sum. `encode`, `decode` and `interpolate` are the
model's own (`amr_tf.models.inference`), so `interpolate` blends pixels for such a method. A VAE's
codes are the posterior means.
"""

from collections.abc import Callable
from typing import TypeAlias

import keras
import tensorflow as tf

from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import Inference, can_sample, combine, has_looks, label_mixer_of
from amr_tf.types import Tensor

# Grey, colour, or colour with transparency.
PNG_CHANNELS = (1, 3, 4)

Tensors: TypeAlias = dict[str, Tensor]
"""A signature's outputs by name."""

Endpoints: TypeAlias = dict[str, tuple[Callable[..., Tensors], list[tf.TensorSpec]]]
"""Signatures' functions and the specifications of their arguments, by name."""


def endpoints(model: ResynthesisModel) -> Endpoints:
    """Returns the functions and input specifications of a model's signatures.

    Args:
        model: a `ResynthesisModel`.

    Returns:
        Dictionary from names of signatures to pairs: a function from tensors to a dictionary of
        tensors, and the list of `tf.TensorSpec`s of its arguments.
    """
    networks = model.inference
    return {
        **_code_endpoints(model, networks),
        **_image_endpoints(model, networks),
        **_uint8_endpoints(model, networks),
        **_png_endpoints(model, networks),
        **_sample_endpoints(model, networks),
        **_label_endpoints(model, networks),
    }


def has_uint8(model: ResynthesisModel) -> bool:
    """Whether the model is for images (H, W, C), not for points."""
    return len(model.image_shape) == 3


def has_png(model: ResynthesisModel) -> bool:
    """Whether the model's images can be PNG files."""
    return has_uint8(model) and model.image_shape[-1] in PNG_CHANNELS


def _spec(name: str | None, *shape: int | None, dtype: str = "float32") -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name=name)


def _code_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    latent = model.latent_shape

    def decode(codes: Tensor) -> Tensors:
        return {"images": networks.decode(codes)}

    def mix(codes: Tensor, coefficients: Tensor) -> Tensors:
        shares = _as_stacked(codes, coefficients)
        return {"images": networks.decode(combine(model, codes, shares))}

    def mix_looks(codes: Tensor, layouts: Tensor, looks: Tensor) -> Tensors:
        both = [_as_stacked(codes, coefficients) for coefficients in (layouts, looks)]
        shares = tf.concat(both, axis=-1)
        return {"images": networks.decode(combine(model, codes, shares))}

    codes, stack = _spec("codes", None, *latent), _spec("codes", None, None, *latent)
    maps = _spec("coefficients", None, None, latent[-1])
    made: Endpoints = {
        "serving_default": (decode, [codes]),
        "decode": (decode, [codes]),
        "mix": (mix, [stack, _spec("coefficients", None, None)]),
        "mix_maps": (mix, [stack, maps]),
    }
    if has_looks(model):
        shares = [_spec(name, None, None) for name in ("layouts", "looks")]
        made["mix_looks"] = (mix_looks, [stack, *shares])
    return made


def _as_stacked(codes: Tensor, coefficients: Tensor) -> Tensor:
    """Reshapes coefficients (N, K) or (N, K, M) to broadcast against codes (N, K, *LATENT)."""
    # Without this check, an N or K of 1 would broadcast and hide a client's mistake.
    tf.debugging.assert_equal(
        tf.shape(coefficients)[:2],
        tf.shape(codes)[:2],
        "codes and coefficients must agree in N and K",
    )
    missing = codes.shape.rank - coefficients.shape.rank
    shape = tf.shape(coefficients)
    # Insert axes of size 1 after (N, K), before the feature maps if there are any.
    inner = tf.concat([shape[:2], tf.ones(missing, "int32"), shape[2:]], axis=0)
    return tf.reshape(coefficients, inner)


def _image_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    shape = model.image_shape

    def encode(images: Tensor) -> Tensors:
        return {"codes": networks.encode(images)}

    def reconstruct(images: Tensor) -> Tensors:
        return {"images": networks.decode(networks.encode(images))}

    def interpolate(images_a: Tensor, images_b: Tensor, steps: Tensor) -> Tensors:
        tf.debugging.assert_greater_equal(steps, 2, "steps must be at least 2")
        _assert_as_many(images_a, images_b)
        return {"images": networks.interpolate(images_a, images_b, steps)}

    pair = [_spec("images_a", None, *shape), _spec("images_b", None, *shape)]
    return {
        "encode": (encode, [_spec("images", None, *shape)]),
        "reconstruct": (reconstruct, [_spec("images", None, *shape)]),
        "interpolate": (interpolate, [*pair, _spec("steps", dtype="int32")]),
    }


def _assert_as_many(*tensors: Tensor) -> None:
    first = tf.shape(tensors[0])[0]
    for other in tensors[1:]:
        tf.debugging.assert_equal(tf.shape(other)[0], first, "the inputs must agree in N")


def _uint8_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    if not has_uint8(model):
        return {}

    def decode_uint8(codes: Tensor) -> Tensors:
        return {"images": _to_uint8(networks.decode(codes))}

    def encode_uint8(images: Tensor) -> Tensors:
        return {"codes": networks.encode(_from_uint8(images))}

    return {
        "decode_uint8": (decode_uint8, [_spec("codes", None, *model.latent_shape)]),
        "encode_uint8": (encode_uint8, [_spec("images", None, *model.image_shape, dtype="uint8")]),
    }


def _png_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    if not has_png(model):
        return {}
    preprocessor = model.preprocessor

    def decode_png(codes: Tensor) -> Tensors:
        files = tf.io.encode_png(_to_uint8(networks.decode(codes)))
        return {"png_bytes": tf.ensure_shape(files, (None,))}

    def read(file: Tensor) -> Tensor:
        if preprocessor is not None:
            return preprocessor.in_graph(file)
        # `decode_png` also decodes JPEG files. Scale before resizing, as `data.preprocess` does.
        image = _from_uint8(tf.io.decode_png(file, channels=model.image_shape[-1]))
        image = tf.image.resize(image, model.image_shape[:2], antialias=True)
        return tf.ensure_shape(image, model.image_shape)

    def encode_png(png_bytes: Tensor) -> Tensors:
        images = tf.map_fn(read, png_bytes, fn_output_signature=_spec(None, *model.image_shape))
        return {"codes": networks.encode(images)}

    return {
        "decode_png": (decode_png, [_spec("codes", None, *model.latent_shape)]),
        "encode_png": (encode_png, [_spec("png_bytes", None, dtype="string")]),
    }


def _to_uint8(images: Tensor) -> Tensor:
    return tf.cast(tf.round((tf.clip_by_value(images, -1.0, 1.0) + 1.0) * 127.5), "uint8")


def _from_uint8(images: Tensor) -> Tensor:
    return tf.cast(images, "float32") / 127.5 - 1.0


def _sample_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    if not can_sample(model):
        return {}

    def sample(count: Tensor, seed: Tensor) -> Tensors:
        tf.debugging.assert_greater(count, 0, "count must be at least 1")
        tf.debugging.assert_greater_equal(seed, 0, "seed must be at least 0")
        return {"images": networks.decode(networks.draw(count, seed))}

    return {"sample": (sample, [_spec("count", dtype="int32"), _spec("seed", dtype="int32")])}


def _label_endpoints(model: ResynthesisModel, networks: Inference) -> Endpoints:
    mixer = label_mixer_of(model)
    if mixer is None:
        return {}

    def mix_labels(
        images_a: Tensor,
        images_b: Tensor,
        labels: Tensor,
        labels_a: Tensor,
        labels_b: Tensor,
        seed: Tensor,
    ) -> Tensors:
        tf.debugging.assert_greater_equal(seed, 0, "seed must be at least 0")
        _assert_as_many(images_a, images_b, labels, labels_a, labels_b)
        codes = networks.encode(images_a), networks.encode(images_b)
        mixed = mixer.mix_pairs(*codes, labels, (labels_a, labels_b), GivenSeed(seed))
        return {"images": networks.decode(tf.cast(mixed, "float32"))}

    images = [_spec(name, None, *model.image_shape) for name in ("images_a", "images_b")]
    names = ("labels", "labels_a", "labels_b")
    labels = [_spec(name, None, model.num_classes) for name in names]
    return {"mix_labels": (mix_labels, [*images, *labels, _spec("seed", dtype="int32")])}


class GivenSeed(keras.random.SeedGenerator):
    """Seeds Keras' random functions with a tensor, as they are seeded with an integer.

    A served model receives its seed with each request, but Keras accepts only integers and
    generators as seeds. The first draw equals that with the integer `seed`, the next one that with
    `seed + 1`, and so on.

    Args:
        seed: scalar integer tensor, at least 0.
    """

    def __init__(self, seed: Tensor) -> None:
        # Skip the base class, which creates a variable; a traced function must not create one.
        self._next = tf.cast(seed, "int32")

    def next(self, ordered: bool = True) -> Tensor:
        del ordered
        drawn = tf.stack([self._next, 0])
        self._next = self._next + 1
        return drawn
