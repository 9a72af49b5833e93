"""A SavedModel with every signature of an export, of a few multiplications: quick to make."""

import base64
import io
import json

import numpy as np
import tensorflow as tf
from PIL import Image

IMAGE_SHAPE = (4, 4, 1)
LATENT_SHAPE = (2, 2, 3)
WEIGHTS = np.array([1.0, 0.5, -2.0], "float32")
ENCODING = np.array([0.5, 0.2, -0.1], "float32")


def decoded(codes):
    """What the tiny decoder makes of codes (N, 2, 2, 3), in NumPy."""
    images = np.tanh(np.asarray(codes, "float32") @ WEIGHTS)
    return images.repeat(2, axis=1).repeat(2, axis=2)[..., None]


def encoded(images):
    """Codes of images (N, 4, 4, 1), in NumPy: the means of 2x2 pixels, in three maps."""
    images = np.asarray(images, "float32")
    means = images.reshape(-1, 2, 2, 2, 2).mean(axis=(2, 4))
    return means[..., None] * ENCODING


def of_looks(codes, layouts, looks):
    """What the tiny model mixes of codes (K, 2, 2, 3), with shares of layouts and of looks (K,)."""
    means = codes.mean(axis=(1, 2), keepdims=True)
    return np.tensordot(layouts, codes - means, 1) + np.tensordot(looks, means, 1)


class _Tiny(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)
        self.encoding = tf.Variable(ENCODING)

    def decode(self, codes):
        images = tf.tanh(tf.linalg.matvec(codes, self.weights))
        return tf.repeat(tf.repeat(images, 2, axis=1), 2, axis=2)[..., None]

    def encode(self, images):
        means = tf.reduce_mean(tf.reshape(images, (-1, 2, 2, 2, 2)), axis=(2, 4))
        return means[..., None] * self.encoding

    def read(self, file):
        image = tf.cast(tf.io.decode_png(file, channels=1), "float32") / 127.5 - 1.0
        return tf.ensure_shape(tf.image.resize(image, IMAGE_SHAPE[:2]), IMAGE_SHAPE)


def _spec(name, *shape, dtype="float32"):
    return tf.TensorSpec(shape, dtype, name=name)


def _to_uint8(images):
    return tf.cast(tf.round((images + 1.0) * 127.5), "uint8")


def _functions(tiny):
    def decode(codes):
        return {"images": tiny.decode(codes)}

    def decode_png(codes):
        return {"png_bytes": tf.io.encode_png(_to_uint8(tiny.decode(codes)))}

    def encode(images):
        return {"codes": tiny.encode(images)}

    def encode_uint8(images):
        return {"codes": tiny.encode(tf.cast(images, "float32") / 127.5 - 1.0)}

    def encode_png(png_bytes):
        images = tf.map_fn(tiny.read, png_bytes, fn_output_signature=_spec(None, *IMAGE_SHAPE))
        return {"codes": tiny.encode(images)}

    def mix(codes, coefficients):
        mixed = tf.einsum("nkhwc,nk->nhwc", codes, coefficients)
        return {"images": tiny.decode(mixed)}

    def mix_maps(codes, coefficients):
        mixed = tf.einsum("nkhwc,nkc->nhwc", codes, coefficients)
        return {"images": tiny.decode(mixed)}

    def mix_looks(codes, layouts, looks):
        means = tf.reduce_mean(codes, axis=(2, 3), keepdims=True)
        layout = tf.einsum("nkhwc,nk->nhwc", codes - means, layouts)
        return {"images": tiny.decode(layout + tf.einsum("nkhwc,nk->nhwc", means, looks))}

    def interpolate(images_a, images_b, steps):
        share = tf.reshape(tf.linspace(0.0, 1.0, steps), (1, -1, 1, 1, 1))
        start, end = tiny.encode(images_a)[:, None], tiny.encode(images_b)[:, None]
        line = tf.reshape((1.0 - share) * start + share * end, (-1, *LATENT_SHAPE))
        return {"images": tf.reshape(tiny.decode(line), (-1, steps, *IMAGE_SHAPE))}

    def statistics(images):
        return {"low": tf.reduce_min(images, (1, 2, 3)), "high": tf.reduce_max(images, (1, 2, 3))}

    codes, images = _spec("codes", None, *LATENT_SHAPE), _spec("images", None, *IMAGE_SHAPE)
    stack = _spec("codes", None, None, *LATENT_SHAPE)
    pair = [_spec(name, None, *IMAGE_SHAPE) for name in ("images_a", "images_b")]
    maps = _spec("coefficients", None, None, LATENT_SHAPE[-1])
    return {
        "serving_default": (decode, [codes]),
        "decode": (decode, [codes]),
        "decode_png": (decode_png, [codes]),
        "encode": (encode, [images]),
        "encode_uint8": (encode_uint8, [_spec("images", None, *IMAGE_SHAPE, dtype="uint8")]),
        "encode_png": (encode_png, [_spec("png_bytes", None, dtype="string")]),
        "mix": (mix, [stack, _spec("coefficients", None, None)]),
        "mix_maps": (mix_maps, [stack, maps]),
        "mix_looks": (mix_looks, [stack, _spec("layouts", None, None), _spec("looks", None, None)]),
        "interpolate": (interpolate, [*pair, _spec("steps", dtype="int32")]),
        "statistics": (statistics, [images]),  # Two outputs, which no export has.
    }


def write_servable(folder, version=1, leave_out=(), looks=False):
    """Writes a version of the tiny model into `folder`, with metadata.json and four examples.

    With `looks` it has the signature that only mixers of layouts and looks have.
    """
    tiny = _Tiny()
    path = folder / str(version)
    signatures = {
        name: tf.function(function, input_signature=specs).get_concrete_function()
        for name, (function, specs) in _functions(tiny).items()
        if name not in leave_out and (looks or name != "mix_looks")
    }
    tf.saved_model.save(tiny, str(path), signatures=signatures)
    (path / "metadata.json").write_text(json.dumps({"method": "amr", "mixer": "mixup", "k": 2}))
    (path / "examples.png").write_bytes(picture(16, 4))
    return folder


def picture(width=4, height=4, kind="PNG", mode="L", seed=0):
    """Bytes of a picture of random pixels."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def as_base64(data):
    """Bytes as TF Serving's REST API takes them."""
    return {"b64": base64.b64encode(data).decode()}
