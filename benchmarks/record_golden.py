"""Replays recorded training steps in PyTorch, and records new ones.

    python benchmarks/record_golden.py --check ../shared/golden/amr_mixup_k2_lambda10.npz ...
    python benchmarks/record_golden.py --out tests/golden/NAME.npz --k 3 --beta 0.5 ...

A golden file holds two training steps of one of `pytorch_amr`'s methods, all arrays NHWC / HWIO /
(in, out):

    meta                         JSON string of the hyperparameters
    before/NET/NN_layer/param    weights before, and in `after/` one step and `after_last/` two
                                 steps later; a spectrally normalised convolution has its raw
                                 kernel and `u`
    stepS/x, label               the batch: (N, H, W, C) in [-1, 1], (N,)
    stepS/perms, coefficients    (k, N) and (N, k, 1, 1, 1 or C)
    stepS/reconstruction, mix    decoded images before the step's update
    stepS/loss/NAME              scalars

It needs PyTorch and NumPy only: `pip install torch==2.13.0 numpy`. The files in `tests/golden` were
recorded with these flags (two scales at least: the padding of AMR's networks allows no less):

    --out tests/golden/amr_mixup_k3_beta.npz --k 3 --beta 0.5 --channels 3 --width 16 --depth 2
        --latent_channels 3 --batch 4 --seed 1
    --out tests/golden/amr_bernoulli_k2_least_squares.npz --mixer bernoulli
        --gan_loss least_squares --reconstruction_loss mean_squared_error --width 8
        --latent_width 2 --depth 3 --latent_channels 4 --batch 5 --seed 2
    --out tests/golden/aegan_every2.npz --method ae_gan --generator_update_every 2 --width 8
        --latent_width 2 --depth 4 --batch 4 --seed 3
    --out tests/golden/amr_mixup_k3_mse_beta1.npz --k 3 --beta 1
        --reconstruction_loss mean_squared_error --width 8 --latent_width 2 --depth 3
        --latent_channels 3 --channels 3 --batch 5 --seed 4
    --out tests/golden/acai_original_k2.npz --method acai_original --width 8 --latent_width 2
        --depth 4 --latent_channels 3 --channels 3 --batch 5 --seed 5
"""

import argparse
import json
import re
import sys

import numpy as np
import torch
from torch import nn

from pytorch_amr import (
    GAN_LOSSES,
    METHODS,
    RECONSTRUCTION_LOSSES,
    build_trainer,
    original_kernel_std,
)

NETWORKS = ("encoder", "decoder", "discriminator", "probe")
KINDS = {nn.Conv2d: "conv", nn.InstanceNorm2d: "instance_norm", nn.Linear: "dense"}
STEPS = {"step0": "after", "step1": "after_last"}
LOSS_TOLERANCE = 1e-5

# The hyperparameters in a file's `meta`, in its order, with the flags' defaults.
AMR_DEFAULTS = {
    "method": "amr",
    "mixer": "mixup",
    "k": 2,
    "lambda_": 10.0,
    "beta": 0.0,
    "reconstruction_loss": "mean_absolute_error",
    "gan_loss": "binary_crossentropy",
    "learning_rate": 1e-4,
    "beta_1": 0.5,
    "beta_2": 0.99,
    "epsilon": 1e-8,
    "l2_weight_decay": 1e-5,
    "depth": 16,
    "latent_channels": 2,
    "channels": 1,
    "generator_update_every": 1,
    "leaky_relu_slope": 0.01,
    "instance_norm_epsilon": 1e-5,
}
ORIGINAL_ACAI_DEFAULTS = {
    **{name: AMR_DEFAULTS[name] for name in AMR_DEFAULTS if name != "instance_norm_epsilon"},
    "method": "acai_original",
    "mixer": "folded",
    "lambda_": 1.0,
    "reconstruction_loss": "mean_squared_error",
    "gan_loss": "least_squares",
    "beta_1": 0.9,
    "beta_2": 0.999,
    "l2_weight_decay": 0.0,
    "leaky_relu_slope": 0.2,
    "adversarial_weight": 0.5,
    "critic_blend": 0.2,
}
ALL_DEFAULTS = {**AMR_DEFAULTS, **ORIGINAL_ACAI_DEFAULTS}
DEFAULTS = {**dict.fromkeys(METHODS, AMR_DEFAULTS), "acai_original": ORIGINAL_ACAI_DEFAULTS}
# `meta` holds the latent width only if it differs from this one, and the consistency loss only if
# it differs from that of the method's authors: the project's original files hold neither.
LATENT_WIDTH = 4
CHOICES = {
    "method": tuple(METHODS),
    "mixer": ("mixup", "bernoulli", "folded"),
    "reconstruction_loss": tuple(RECONSTRUCTION_LOSSES),
    "gan_loss": tuple(GAN_LOSSES),
    "consistency_loss": tuple(RECONSTRUCTION_LOSSES),
}


def build(meta, width, classes):
    """Returns the trainer that `meta` describes, with fresh weights."""
    options = {name: value for name, value in meta.items() if name != "mixer"}
    return build_trainer(
        width, options.pop("latent_width", LATENT_WIDTH), classes=classes, **options
    )


# Layouts -----------------------------------------------------------------------------------------


def named_tensors(network):
    """Returns a network's tensors under their names in a golden file, `NN_layer/param`."""
    found = {}
    modules = [module for module in network.modules() if type(module) in KINDS]
    for index, module in enumerate(modules):
        kind = KINDS[type(module)]
        # With spectral normalisation, `weight` is normalised and `weight_orig` is the parameter.
        weight = getattr(module, "weight_orig", module.weight)
        names = ("gamma", "beta") if kind == "instance_norm" else ("kernel", "bias")
        found |= {
            f"{index:02d}_{kind}/{names[0]}": weight,
            f"{index:02d}_{kind}/{names[1]}": module.bias,
        }
        if hasattr(module, "weight_u"):
            found[f"{index:02d}_{kind}/u"] = module.weight_u
    return found


def feeds_a_normalization(name, names):
    """Whether `name` is a bias that a following instance normalisation cancels.

    Its true gradient is zero. Adam divides the remaining rounding error by its own size, so the
    bias moves by up to the learning rate in a direction that no replay can reproduce.
    """
    following = f"{int(name[:2]) + 1:02d}_instance_norm/gamma"
    return re.fullmatch(r"\d\d_conv/bias", name) is not None and following in names


def to_recorded(tensor, code_size=None):
    """Converts a tensor to the files' layout: OIHW -> HWIO, (out, in) -> (in, out).

    The probe's kernel multiplies the flattened code: it is (out, C H W) here and (H W C, out) in
    the files. It is transposed like a convolution kernel of the code's size `(C, H, W)`.
    """
    tensor = tensor.detach()
    if tensor.ndim == 4:
        tensor = tensor.permute(2, 3, 1, 0)
    elif tensor.ndim == 2:
        tensor = tensor.unflatten(1, code_size).permute(2, 3, 1, 0).flatten(0, 2)
    return np.ascontiguousarray(tensor.numpy()).copy()


def from_recorded(array, code_size=None):
    """The inverse of `to_recorded`."""
    tensor = torch.from_numpy(np.array(array))
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    if tensor.ndim == 2:
        channels, height, width = code_size
        return tensor.unflatten(0, (height, width, channels)).permute(3, 2, 0, 1).flatten(1)
    return tensor


def code_size(meta):
    """Returns the code's `(C, H, W)`."""
    width = meta.get("latent_width", LATENT_WIDTH)
    return meta["latent_channels"], width, width


def weights(trainer, meta, prefix):
    """Returns all weights as `PREFIX/NET/NN_layer/param` -> array."""
    return {
        f"{prefix}/{network}/{name}": to_recorded(tensor, code_size(meta))
        for network in NETWORKS
        for name, tensor in named_tensors(getattr(trainer, network)).items()
    }


@torch.no_grad()
def load_weights(trainer, meta, arrays):
    """Copies the weights of `before/` into the networks."""
    for network in NETWORKS:
        for name, tensor in named_tensors(getattr(trainer, network)).items():
            tensor.copy_(from_recorded(arrays[f"before/{network}/{name}"], code_size(meta)))


def load_batch(arrays, step):
    """Returns one recorded step's `(x, label, perms, coefficients)` in PyTorch's layout."""
    x = torch.from_numpy(arrays[f"{step}/x"]).permute(0, 3, 1, 2).contiguous()
    coefficients = torch.from_numpy(arrays[f"{step}/coefficients"]).permute(0, 1, 4, 2, 3)
    label, perms = (torch.from_numpy(arrays[f"{step}/{name}"]) for name in ("label", "perms"))
    return x, label, perms, coefficients


def run_step(trainer, arrays, step):
    """Runs one recorded step; returns `{stepS/NAME: array}` of its images and losses."""
    x, label, perms, coefficients = load_batch(arrays, step)
    with torch.no_grad():
        made = trainer.resynthesize(x, perms, coefficients)
    losses = trainer.step(x, label, perms, coefficients)
    arrays = {f"{step}/loss/{name}": loss.numpy() for name, loss in losses.items()}
    for name, images in {"reconstruction": made.reconstruction, "mix": made.mix}.items():
        arrays[f"{step}/{name}"] = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    return arrays


# Replaying ---------------------------------------------------------------------------------------


def read(path):
    """Returns a golden file as `(meta, arrays)`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(str(arrays.pop("meta"))), arrays
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path} is not a golden file: {error}") from error


def check(path):
    """Replays a file and prints the differences; returns whether step 0's losses agree."""
    meta, arrays = read(path)
    if meta["method"] not in METHODS:
        print(f"{path}: not replayed, method {meta['method']!r} is not one of {tuple(METHODS)}")
        return False
    trainer = build(meta, arrays["step0/x"].shape[1], len(arrays["before/probe/00_dense/bias"]))
    load_weights(trainer, meta, arrays)
    print(f"{path}: {meta['method']} {meta['mixer']} k={meta['k']} lambda={meta['lambda_']}")
    agrees = True
    for step, prefix in STEPS.items():
        for name, value in run_step(trainer, arrays, step).items():
            difference = np.abs(value - arrays[name]).max()
            print(f"  {name:40s} {difference:.1e}")
            if name.startswith("step0/loss/"):
                # This form of the comparison fails for NaN.
                agrees = agrees and bool(difference <= LOSS_TOLERANCE)
        compare_weights(weights(trainer, meta, prefix), arrays, prefix)
    print("  step 0's losses agree" if agrees else f"  FAILED: a loss is off by > {LOSS_TOLERANCE}")
    return agrees


def compare_weights(ours, arrays, prefix):
    """Prints the errors of each network's weights, with undetermined biases listed separately."""
    for network in NETWORKS:
        start = f"{prefix}/{network}/"
        names = {name.removeprefix(start) for name in ours if name.startswith(start)}
        groups = {"u": [], "biases before a normalisation": [], "weights": []}
        for name in names:
            difference = np.abs(ours[start + name] - arrays[start + name]).ravel()
            if name.endswith("/u"):
                groups["u"].append(difference)
            elif feeds_a_normalization(name, names):
                groups["biases before a normalisation"].append(difference)
            else:
                groups["weights"].append(difference)
        for group, differences in groups.items():
            if differences:
                flat = np.concatenate(differences)
                share = np.mean(~(flat <= 1e-6))
                label = f"{start}*: {group}"
                print(
                    f"  {label:52s} max {flat.max():.1e} mean {flat.mean():.1e} >1e-6 {share:.2%}"
                )


# Recording ---------------------------------------------------------------------------------------


@torch.no_grad()
def randomize(trainer, kernel_std, rng):
    """Draws all weights from `rng`; biases are not 0 and gains not 1, so that a swap is noticed.

    `kernel_std` is a function from a kernel to the standard deviation for drawing it.
    """
    for network in NETWORKS:
        for name, tensor in named_tensors(getattr(trainer, network)).items():
            kind = name.split("/")[1]
            if kind == "kernel":
                values = rng.normal(size=tensor.shape) * kernel_std(tensor)
            elif kind == "gamma":
                values = rng.uniform(0.5, 1.5, tensor.shape)
            elif kind in ("bias", "beta"):
                values = rng.uniform(-0.3, 0.3, tensor.shape)
            else:
                continue
            tensor.copy_(torch.from_numpy(values))
    convolutions = [m for m in trainer.discriminator.modules() if isinstance(m, nn.Conv2d)]
    normalized = [module for module in convolutions if hasattr(module, "weight_u")]
    for module in normalized:
        separate_spectrum(module)
    if normalized:
        # Convolutions of norm one shrink the differences between images. Without a larger first
        # kernel, the logits of all images would agree to 1e-5, and a replay that confused images
        # would pass.
        convolutions[0].weight.mul_(30.0)


def amr_kernel_std(tensor):
    """Std of the AMR authors' initialiser: 1 / sqrt((1 + 0.2^2) * out * in * kernel_height)."""
    height = tensor.shape[2] if tensor.ndim == 4 else 1
    return 1 / np.sqrt(1.04 * tensor.shape[0] * tensor.shape[1] * height)


def unnormalized_kernel_std(tensor, gain=1.5):
    """Std of the original ACAI's initialiser, times `gain`.

    With the authors' initialiser, convolutions without normalisation shrink the differences between
    images, and the critic's scores of all reconstructions would agree to 1e-6. With a much larger
    `gain`, no gradient would be small enough to show where an optimizer adds its epsilon.
    """
    return gain * original_kernel_std(tensor)


def separate_spectrum(module, ratio=1.5):
    """Makes `u` well-defined and lets it converge.

    A random kernel's two largest singular values may differ by less than a percent. A small update
    then rotates `u` far, and the second step would depend on the number of power iterations.
    Therefore, the largest value is set to `ratio` times the second.
    """
    matrix = module.weight_orig.flatten(1).double()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values[0] = ratio * values[1]
    matrix = (left * values) @ right
    module.weight_orig.copy_(matrix.view_as(module.weight_orig))

    # Power iterations instead of `left[:, 0]`, because u must be the fixed point of the kernel
    # after its rounding to float32.
    matrix = module.weight_orig.flatten(1).double()
    u = module.weight_u.double()
    for _ in range(200):
        v = nn.functional.normalize(matrix.T @ u, dim=0)
        u = nn.functional.normalize(matrix @ v, dim=0)
    module.weight_u.copy_(u)
    module.weight_v.copy_(v)


def draw_perms(mixer, k, batch, rng):
    """Returns `(k, batch)`: the identity and k - 1 permutations, or the reversed order."""
    identity = np.arange(batch)
    if mixer == "folded":
        return np.stack([identity, identity[::-1]])
    return np.stack([identity, *(rng.permutation(batch) for _ in range(k - 1))])


def draw_coefficients(mixer, k, batch, channels, rng):
    """Returns `(batch, k, 1, 1, 1)`, or `(batch, k, 1, 1, channels)` for Bernoulli."""
    if mixer == "mixup":
        # For k = 2, Dirichlet(1, 1) is alpha ~ U(0, 1).
        return rng.dirichlet(np.ones(k), size=batch).reshape(batch, k, 1, 1, 1)
    if mixer == "folded":
        alpha = 0.5 - np.abs(rng.uniform(size=batch) - 0.5)
        return np.stack([alpha, 1 - alpha], axis=1).reshape(batch, 2, 1, 1, 1)
    # Uniform over the k examples. For k = 2, this equals drawing p ~ U(0, 1) anew for each map.
    parent = rng.integers(k, size=(batch, 1, 1, 1, channels))
    return np.arange(k).reshape(1, k, 1, 1, 1) == parent


def draw_batch(meta, width, batch, classes, step, rng):
    """Returns one step's inputs under their names in the file."""
    # 256 levels, like images; they also compress better than arbitrary floats.
    pixels = rng.integers(256, size=(batch, width, width, meta["channels"])) / 127.5 - 1
    perms = draw_perms(meta["mixer"], meta["k"], batch, rng)
    coefficients = draw_coefficients(meta["mixer"], meta["k"], batch, meta["latent_channels"], rng)
    return {
        f"{step}/x": pixels.astype(np.float32),
        f"{step}/label": rng.integers(classes, size=batch),
        f"{step}/perms": perms,
        f"{step}/coefficients": coefficients.astype(np.float32),
    }


def record(path, meta, width, batch, classes, seed):
    """Records two steps from random weights and batches."""
    rng = np.random.default_rng(seed)
    # `rng` draws all weights. PyTorch draws only the start of `u`, which no longer matters after
    # convergence.
    torch.manual_seed(seed)
    trainer = build(meta, width, classes)
    original = meta["method"] == "acai_original"
    randomize(trainer, unnormalized_kernel_std if original else amr_kernel_std, rng)
    arrays = weights(trainer, meta, "before")
    for step, prefix in STEPS.items():
        arrays |= draw_batch(meta, width, batch, classes, step, rng)
        arrays |= run_step(trainer, arrays, step)
        arrays |= weights(trainer, meta, prefix)
    np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)


# Command line ------------------------------------------------------------------------------------


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--check", nargs="+", metavar="FILE", help="replay and compare")
    action.add_argument("--out", metavar="FILE", help="record; the flags below describe the case")
    for name, default in ALL_DEFAULTS.items():
        parser.add_argument(f"--{name}", type=type(default), choices=CHOICES.get(name))
    parser.add_argument("--consistency_loss", choices=CHOICES["consistency_loss"])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--latent_width", type=int, default=LATENT_WIDTH)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def describe(flags):
    """Returns the `meta` of the case that the flags describe."""
    method = flags.method or AMR_DEFAULTS["method"]
    given = {name: getattr(flags, name) for name in ALL_DEFAULTS}
    given = {name: value for name, value in given.items() if value is not None}
    if unused := given.keys() - DEFAULTS[method].keys():
        raise SystemExit(f"--method={method} does not use {', '.join(sorted(unused))}")
    meta = {**DEFAULTS[method], **given, "method": method}
    if meta["mixer"] == "folded" and meta["k"] != 2:
        raise SystemExit(f"the mixer 'folded' mixes pairs; got --k={meta['k']}")
    if flags.latent_width != LATENT_WIDTH:
        meta["latent_width"] = flags.latent_width
    usual = METHODS[method].default_consistency_loss(meta["reconstruction_loss"])
    if flags.consistency_loss not in (None, usual):
        meta["consistency_loss"] = flags.consistency_loss
    return meta


def main(argv=None):
    flags = parse(argv)
    # With one thread, sums have a fixed order, and recordings are repeatable.
    torch.set_num_threads(1)
    if flags.check:
        failed = [path for path in flags.check if not check(path)]
        return 1 if failed else 0
    meta = describe(flags)
    record(flags.out, meta, flags.width, flags.batch, flags.classes, flags.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
