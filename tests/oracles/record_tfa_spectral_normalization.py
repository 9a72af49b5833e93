"""Record what tensorflow-addons' SpectralNormalization computes, for our tests to compare with.

tensorflow-addons 0.23.0 is the last release and does not import beside the TensorFlow that
amr_tf uses, so its outputs are recorded once, in an environment of their own, and committed as
an npz file. To record again, from the repository root and with Python 3.11:

    python3.11 -m venv /tmp/tfa
    /tmp/tfa/bin/pip install -r tests/oracles/requirements-tfa.txt
    /tmp/tfa/bin/python tests/oracles/record_tfa_spectral_normalization.py

The file holds one group of arrays per case, under keys `CASE/NAME` (`conv3x3_p1/kernel`), and
loads with allow_pickle=False. The case name ends in its power_iterations. The cases of one layer
start from the same kernel, bias, u and x. Everything but `config` is float32:

    config            JSON string: {"layer": keras class, "kwargs": {...}, "power_iterations": n}
    kernel            the kernel before any call
    bias              the (non-zero) bias; absent if kwargs say use_bias=False
    u                 tfa's `sn_u` before any call, shape (1, out)
    x                 the input of every call, channels last
    output_step0      output of the first call with training=True
    kernel_step0      the layer's kernel after it: tfa overwrites the kernel with kernel / sigma
    u_step0           `sn_u` after it
    sigma_step0       the scalar that call divided by, read off kernel and kernel_step0
    output_step1, kernel_step1, u_step1, sigma_step1
                      the same for a second training=True call, which starts from kernel_step0
                      and u_step0 (so sigma_step1 is relative to the normalised kernel)
    output_inference  output of a training=False call after both; changes neither kernel nor u
"""

import argparse
import json
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

DEFAULT_OUT = pathlib.Path(__file__).with_name("tfa_spectral_normalization.npz")
SEED = 20
POWER_ITERATIONS = (1, 3)

# One odd and one even side, so that 'same' padding with strides pads the two differently.
IMAGE_SHAPE = (2, 7, 6, 4)

# name: (keras class, its kwargs, input shape)
LAYERS = {
    "conv3x3": ("Conv2D", {"filters": 6, "kernel_size": 3, "padding": "same"}, IMAGE_SHAPE),
    "conv1x1": ("Conv2D", {"filters": 6, "kernel_size": 1}, IMAGE_SHAPE),
    "conv3x3_strided_nobias": (
        "Conv2D",
        {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same", "use_bias": False},
        IMAGE_SHAPE,
    ),
    "dense": ("Dense", {"units": 5}, (3, 8)),
}


def implied_sigma(before, after):
    """Solve before = s * after for the scalar s, since tfa does not expose its sigma."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    return np.float32(np.sum(before * after) / np.sum(after * after))


def record_training_step(wrapper, x, step):
    """Call the wrapper once with training=True and return what came out and what it changed."""
    before = wrapper.layer.kernel.numpy()
    output = wrapper(x, training=True).numpy()
    after = wrapper.layer.kernel.numpy()
    return {
        f"output_step{step}": output,
        f"kernel_step{step}": after,
        f"u_step{step}": wrapper.u.numpy(),
        f"sigma_step{step}": implied_sigma(before, after),
    }


def record_case(layer_type, kwargs, input_shape, power_iterations):
    """Return the arrays of one case, by name."""
    # Seeding per case gives the cases of one layer the same start, whatever their order.
    tf.keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal(input_shape).astype(np.float32)

    layer = getattr(tf.keras.layers, layer_type)(**kwargs)
    wrapper = tfa.layers.SpectralNormalization(layer, power_iterations=power_iterations)
    wrapper.build(input_shape)

    config = {"layer": layer_type, "kwargs": kwargs, "power_iterations": power_iterations}
    arrays = {"config": np.array(json.dumps(config))}
    arrays |= {"kernel": layer.kernel.numpy(), "u": wrapper.u.numpy(), "x": x}
    if layer.use_bias:
        # Keras starts the bias at zero, which would hide a bias that is scaled or left out.
        layer.bias.assign(rng.standard_normal(layer.bias.shape))
        arrays["bias"] = layer.bias.numpy()

    for step in range(2):
        arrays |= record_training_step(wrapper, x, step)
    arrays["output_inference"] = wrapper(x, training=False).numpy()
    return arrays


def record_all():
    """Return the arrays of every case, by CASE/NAME."""
    arrays = {}
    for layer_name, (layer_type, kwargs, input_shape) in LAYERS.items():
        for power_iterations in POWER_ITERATIONS:
            case = record_case(layer_type, kwargs, input_shape, power_iterations)
            prefix = f"{layer_name}_p{power_iterations}"
            arrays |= {f"{prefix}/{name}": array for name, array in case.items()}
    return arrays


def main():
    """Record every case into one npz file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=DEFAULT_OUT, help="npz to write")
    args = parser.parse_args()
    arrays = record_all()
    np.savez_compressed(args.out, **arrays)
    print(f"wrote {len(arrays)} arrays to {args.out}")


if __name__ == "__main__":
    main()
