"""Small networks on top of the codes."""

import keras


def build_linear_probe(latent_shape, num_classes, name="probe"):
    """A linear classifier of flattened codes (paper, section 4.1).

    Args:
        latent_shape: shape of one code, (H, W, C) or (D,).
        num_classes: number of classes, at least 2.

    Returns:
        A `keras.Model` from codes (N, *latent_shape) to float32 logits (N, num_classes).
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2; got {num_classes}.")
    codes = keras.Input(latent_shape, name="codes")
    flat = keras.layers.Flatten(name="flatten", dtype="float32")(codes)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(flat)
    return keras.Model(codes, logits, name=name)
