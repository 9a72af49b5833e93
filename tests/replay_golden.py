"""Replays recorded training steps of an independent implementation in our networks.

    python -m tests.replay_golden ../shared/golden/amr_mixup_k2_lambda10.npz ...

A golden file holds two training steps: hyperparameters, weights before and after, the batches, the
mixing permutations and coefficients, the outputs and the losses. This command builds the model
that the file's `meta` describes, loads the weights, runs the two steps with the recorded
coefficients, prints how far every loss, output and weight array is off, and exits with 1 where a
difference exceeds its tolerance.
"""

import argparse
import dataclasses
import json
import re
import sys

import keras
import numpy as np

from amr_tf import AdamL2, mixers
from amr_tf.models import ACAI, AEGAN, AMR, OriginalACAI
from amr_tf.networks import (
    build_decoder,
    build_discriminator,
    build_encoder,
    build_linear_probe,
)
from amr_tf.networks.architectures import ARCHITECTURES, Networks

NETWORKS = ("encoder", "decoder", "discriminator", "probe")
# Step 0: losses relative to max(1, loss), image values, and the share of a network's weights that
# are off by more than OFF. Step 1: losses, and the mean over a network's weights.
LOSS_0, IMAGE_0, OFF, SHARE_0 = 1e-5, 1e-4, 1e-6, 1e-3
LOSS_1, MEAN_1 = 1e-2, 2e-5
# How far from 0 an error is moved whose sign is a matter of rounding.
KINK = 1e-5
# How much of a network's weights a single sign of LeakyReLU's input changes, how often the pixels
# are moved to change it, and how far, relative to their size: by a rounding error or two.
SHARE_OF_A_KINK, TRIES, ROUNDING = 1e-2, 6, 2e-7
METHODS = {"amr": AMR, "ae_gan": AEGAN, "acai": ACAI, "acai_original": OriginalACAI}
LOSS_NAMES = {"l1": "mean_absolute_error", "mae": "mean_absolute_error"}
LOSS_NAMES |= {"l2": "mean_squared_error", "mse": "mean_squared_error"}
GAN_LOSS_NAMES = {"mean_squared_error": "least_squares", "lsgan": "least_squares"}
# What a file's `meta` need not have, and `compile` takes under the same name.
OPTIONAL = ("consistency_loss", "adversarial_weight", "critic_blend", "generator_update_every")


@dataclasses.dataclass
class Check:
    """One comparison: what, how far off, and how far it may be."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self):
        # Written so that NaN fails.
        return self.difference <= self.tolerance


def read(path):
    """A golden file as (meta, dictionary of arrays)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(str(arrays.pop("meta"))), arrays
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path} is not a golden file: {error}") from error


def build_networks(meta, image_shape):
    """Encoder, decoder and discriminator that `meta` describes, with fresh weights."""
    sizes = {
        "latent_channels": meta["latent_channels"],
        "latent_width": meta.get("latent_width", 4),
        "depth": meta["depth"],
    }
    if meta["method"] == "acai_original":
        return ARCHITECTURES.get("acai")(image_shape, **sizes)
    sizes["leaky_relu_slope"] = meta["leaky_relu_slope"]
    epsilon = {"instance_norm_epsilon": meta["instance_norm_epsilon"]}
    return Networks(
        build_encoder(image_shape, **sizes, **epsilon),
        build_decoder(image_shape, **sizes, **epsilon),
        build_discriminator(image_shape, **sizes),
    )


def build_optimizer(meta):
    """The optimizer that `meta` describes: the original ACAI's is Keras' own Adam."""
    moments = {name: meta[name] for name in ("beta_1", "beta_2", "epsilon")}
    if meta["method"] == "acai_original":
        return keras.optimizers.Adam(meta["learning_rate"], **moments)
    return AdamL2(meta["learning_rate"], **moments, l2_weight_decay=meta["l2_weight_decay"])


def build_model(meta, arrays):
    """The compiled model that `meta` describes, with the weights of `before/`."""
    networks = build_networks(meta, arrays["step0/x"].shape[1:])
    num_classes = arrays["before/probe/00_dense/bias"].shape[0]
    mixes = meta["method"] != "ae_gan"
    model = METHODS[meta["method"]](
        *networks,
        mixers.get(meta["mixer"], k=meta["k"]) if mixes else None,
        build_linear_probe(networks.encoder.output_shape[1:], num_classes),
    )
    model.compile(
        *(build_optimizer(meta) for _ in range(3)),
        reconstruction_loss=LOSS_NAMES.get(
            meta["reconstruction_loss"], meta["reconstruction_loss"]
        ),
        gan_loss=GAN_LOSS_NAMES.get(meta["gan_loss"], meta["gan_loss"]),
        lambda_=meta["lambda_"],
        beta=meta["beta"] if mixes else 0.0,
        **{name: meta[name] for name in OPTIONAL if name in meta},
    )
    for network in NETWORKS:
        for name, variable in variables(getattr(model, network)).items():
            value = arrays[f"before/{network}/{name}"]
            variable.assign(value.reshape(variable.shape))
    return model


def variables(network):
    """A network's variables by their names in a golden file, `NN_layer/param`."""
    found = {}
    layers = [layer for layer in network.layers if layer.weights]
    for index, layer in enumerate(layers):
        if isinstance(layer, keras.layers.SpectralNormalization):
            kind = "conv"
            parameters = {
                "kernel": layer.layer.kernel,
                "bias": layer.layer.bias,
                "u": layer.vector_u,
            }
        elif isinstance(layer, keras.layers.Conv2D):
            kind, parameters = "conv", {"kernel": layer.kernel, "bias": layer.bias}
        elif isinstance(layer, keras.layers.Dense):
            kind, parameters = "dense", {"kernel": layer.kernel, "bias": layer.bias}
        else:
            kind, parameters = "instance_norm", {"gamma": layer.gamma, "beta": layer.beta}
        for name, variable in parameters.items():
            found[f"{index:02d}_{kind}/{name}"] = variable
    return found


def without_gradient(names):
    """The biases that feed an instance normalisation: their true gradient is zero."""
    names = sorted(names)
    norms = {int(name[:2]) for name in names if "_instance_norm/" in name}
    return {
        name
        for name in names
        if re.fullmatch(r"\d\d_conv/bias", name) and int(name[:2]) + 1 in norms
    }


def off_the_kink(x, ours, recorded):
    """The batch, with pixels moved where rounding decides the sign of the error.

    `|x - g(h)|` has no derivative at 0. Where our error and the recorded one lie on its two sides,
    both within rounding of 0, the gradients differ by 2 / pixels, which Adam's first step, a sign,
    magnifies to a percent of the weights. Such a pixel is moved to the recorded side, by as much
    as images may differ at the most.
    """
    sides = np.sign(x - recorded)
    moved = np.where(np.sign(x - ours) == sides, x, ours + sides * KINK).astype("float32")
    if np.abs(moved - x).max() > IMAGE_0:
        return x  # More than rounding: the comparison shall fail.
    return moved


def run_step(model, arrays, prefix):
    """Runs one recorded step; returns our losses and images under the file's names."""
    x, labels = arrays[f"{prefix}/x"], arrays[f"{prefix}/label"].astype("int32")
    perms, coefficients = arrays[f"{prefix}/perms"], arrays[f"{prefix}/coefficients"]
    made = model.forward(x, None, False, perms, coefficients)
    gan, names = model.gan_loss, {}
    names["reconstruction"] = made.reconstructions
    # ACAI's critic tells how much was mixed: its auto-encoder wants 0, and of mixes only.
    acai = isinstance(model, ACAI)
    if not acai:
        names["loss/disc_g_recon"] = gan(made.logits["reconstruction"], 1.0)
    if model.mixer is not None:
        names["loss/disc_g_mix"] = gan(made.logits["mix"], 0.0 if acai else 1.0)
        names["mix"] = made.mixes
    if acai:  # Recorded for information: its beta is 0.
        reencoded = model.encoder(made.mixes)
        names["loss/consist"] = np.abs(made.mixed_codes - reencoded).mean()
    x = off_the_kink(x, np.asarray(made.reconstructions), arrays[f"{prefix}/reconstruction"])
    trained = model.train_on(x, labels, perms, coefficients)
    names["loss/gen_loss"] = trained["loss"]
    names["loss/recon"] = trained["reconstruction_loss"]
    if model.beta:
        names["loss/consist"] = trained["consistency_loss"]
    # One term for each group of images that the discriminator sees.
    names["loss/d_x"] = trained["discriminator_loss"] / len(made.logits)
    names["loss/cls_enc_loss"] = trained["probe_loss"]
    names["loss/cls_enc_acc"] = trained["probe_accuracy"]
    return {f"{prefix}/{name}": np.asarray(value) for name, value in names.items()}


def compare_outputs(ours, arrays, loss_tolerance, image_tolerance):
    """Checks of one step's losses and images; an image tolerance of None only reports."""
    for name, value in ours.items():
        if name not in arrays:
            continue
        difference = float(np.abs(value - arrays[name]).max())
        if "/loss/" in name:
            scale = max(1.0, abs(float(arrays[name])))
            yield Check(name, difference / scale, loss_tolerance)
        else:
            yield Check(name, difference, image_tolerance or np.inf)


def compare_weights(model, arrays, prefix, step):
    """Checks of the weights after a step: each array for information, each network by rule."""
    for network in NETWORKS:
        ours = variables(getattr(model, network))
        skipped = without_gradient(ours)
        differences = []
        for name, variable in ours.items():
            value = np.asarray(variable).ravel()
            difference = np.abs(value - arrays[f"{prefix}/{network}/{name}"].ravel())
            yield Check(f"{prefix}/{network}/{name}", float(difference.max()), np.inf)
            if name not in skipped and not name.endswith("/u"):
                differences.append(difference)
        differences = np.concatenate(differences)
        if step == 0:
            share = float(np.mean(~(differences <= OFF)))
            yield Check(f"{prefix}/{network}: share off by more than {OFF:g}", share, SHARE_0)
        else:
            mean = float(differences.mean())
            yield Check(f"{prefix}/{network}: mean difference", mean, MEAN_1)


def moved(arrays, seed):
    """The arrays with the first step's pixels moved by as much as rounding moves them."""
    x = arrays["step0/x"]
    factors = 1 + np.random.default_rng(seed).uniform(-ROUNDING, ROUNDING, x.shape)
    return {**arrays, "step0/x": (x * factors).astype("float32")}


def may_be_kink(check):
    """Whether a failed check may be due to one LeakyReLU whose input is 0 but for rounding.

    Of the million inputs of LeakyReLU in the discriminator some are within a rounding error of 0,
    so that the processor decides on which side they fall. Of `amr_mixup_k2_lambda10.npz`, one of
    them changes the signs of two gradients in a thousand. The sign is Adam's first step.
    """
    return check.name.startswith("after/") and check.difference < SHARE_OF_A_KINK


def replay(meta, arrays, steps=2):
    """All checks of one file, as `read` returns it, with kinks on the recorded side if possible.

    With one step, those of the first.
    """
    first = results = replay_once(meta, arrays, steps)
    tries = 0
    while failed := [check for check in results if not check.passed]:
        if tries == TRIES or not all(map(may_be_kink, failed)):
            return first
        results = replay_once(meta, moved(arrays, seed=tries), steps)
        tries += 1
    return [*results, Check("tries with pixels moved by rounding", tries, np.inf)]


def replay_once(meta, arrays, steps=2):
    """All checks of one file with the arrays as they are."""
    model = build_model(meta, arrays)
    results = list(compare_outputs(run_step(model, arrays, "step0"), arrays, LOSS_0, IMAGE_0))
    results += compare_weights(model, arrays, "after", step=0)
    if steps == 2:
        results += compare_outputs(run_step(model, arrays, "step1"), arrays, LOSS_1, None)
        results += compare_weights(model, arrays, "after_last", step=1)
    return results


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE.npz")
    parser.add_argument("--quiet", action="store_true", help="print failures and totals only")
    arguments = parser.parse_args(argv)
    failed = False
    for path in arguments.files:
        meta, arrays = read(path)
        if meta["method"] not in METHODS:
            print(f"{path}: FAILED: method '{meta['method']}' is not one of {', '.join(METHODS)}")
            failed = True
            continue
        results = replay(meta, arrays)
        print(f"{path}: {meta['method']} {meta['mixer']} k={meta['k']} lambda={meta['lambda_']}")
        for check in results:
            if not check.passed or not arguments.quiet:
                bound = "" if check.tolerance == np.inf else f"  (at most {check.tolerance:g})"
                verdict = "ok  " if check.passed else "FAIL"
                print(f"  {verdict} {check.name:58s} {check.difference:.3e}{bound}")
        wrong = sum(not check.passed for check in results)
        failed |= wrong > 0
        print(f"  {'FAILED' if wrong else 'passed'}: {len(results) - wrong} of {len(results)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
