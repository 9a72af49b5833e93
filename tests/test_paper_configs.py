"""configs/paper/: a file for every cell of the paper's tables and every row of its figures."""

import collections
import math
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from amr_tf.mixers import MIXERS
from amr_tf.paper.tables import (
    ACAI,
    AE_GAN,
    BERNOULLI_2,
    MIXUP_2,
    MIXUP_3,
    TABLES,
    row_of,
)
from amr_tf.registry import parse_call
from amr_tf.runs import flagfiles
from amr_tf.runs.build import build_model
from amr_tf.runs.config import TrainingConfig, flag_name

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "configs" / "paper"
CONFIGS = sorted(FOLDER.glob("*.cfg"))
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)

# The supplement's figures: rows by data set. Lambda is given for figures 6 (as in table 1), 12
# and 13 only.
SUPERVISED = ("supervised_amr", None, None)
FIGURES = {
    5: ("celeba", {SUPERVISED: 50}),
    6: ("svhn", {AE_GAN: 5, MIXUP_2: 10, MIXUP_3: 10}),
    7: ("zappos", {AE_GAN: 50, ACAI: 50, MIXUP_2: 50}),
    8: ("zappos", {AE_GAN: 50, BERNOULLI_2: 50}),
    9: ("celeba", {AE_GAN: 50, ACAI: 50, MIXUP_2: 50}),
    10: ("celeba", {AE_GAN: 50, BERNOULLI_2: 50}),
    11: ("zappos_hq", {BERNOULLI_2: 50}),
    12: ("spiral", {MIXUP_2: 10}),
    13: ("celeba", {MIXUP_2: 50}),
}
BETAS = {12: ("0", "0.1", "10", "100"), 13: ("0", "50")}

# What a name's data set stands for: the data set, and the number of training images, of elements
# of a code, and of epochs where the paper gives it.
Data = collections.namedtuple("Data", "dataset train_subset latent_size epochs")
DATA = {
    "mnist": Data("mnist", None, 32, 2000),
    "kmnist": Data("kmnist", None, 32, 2000),
    "svhn": Data("svhn_cropped", None, 32, 3500),
    "svhn1k": Data("svhn_cropped", 1000, 32, 4000),
    "svhn5k": Data("svhn_cropped", 5000, 32, 4000),
    "svhn10k": Data("svhn_cropped", 10_000, 32, 4000),
    "svhn20k": Data("svhn_cropped", 20_000, 32, 4000),
    "svhn256": Data("svhn_cropped", None, 256, None),
    "cifar256": Data("cifar10", None, 256, None),
    "cifar1024": Data("cifar10", None, 1024, None),
    "dsprites": Data("dsprites", None, 10, None),
    "spiral": Data("spiral", None, 2, 100),
    "celeba": Data("celeba", None, None, None),
    "zappos": Data("zappos", None, None, None),
    "zappos_hq": Data("zappos", None, None, None),
}
# Data sets in the comments of the tables' cells.
TITLES = {
    "mnist": "MNIST",
    "kmnist": "KMNIST",
    "svhn": "SVHN",
    "svhn1k": "SVHN (1,000 images)",
    "svhn5k": "SVHN (5,000 images)",
    "svhn10k": "SVHN (10,000 images)",
    "svhn20k": "SVHN (20,000 images)",
    "svhn256": "SVHN (d_h = 256)",
    "cifar256": "CIFAR10 (d_h = 256)",
    "cifar1024": "CIFAR10 (d_h = 1024)",
    "dsprites": "dSprites",
}
# Shapes of a data set's images, with None for the width that the config sets; classes or
# attributes.
SHAPES = {
    "mnist": ((32, 32, 1), 10),
    "kmnist": ((32, 32, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
    "cifar10": ((32, 32, 3), 10),
    "dsprites": ((64, 64, 1), 3),  # Square, ellipse, heart.
    "celeba": ((None, None, 3), 40),
    "zappos": ((None, None, 3), 4),  # Boots, sandals, shoes, slippers.
    "spiral": ((2,), None),
}
NAME = re.compile(
    r"(?P<kind>table|figure)(?P<number>\d+)_(?P<data>\w+?)"
    r"_(?P<method>ae_gan|acai_original|acai|amr|beta_vae|supervised)"
    r"(_(?P<mixer>mixup|bernoulli))?"
    r"(_k(?P<k>\d+))?(_lambda(?P<lambda>[\d.]+))?(_beta(?P<beta>[\d.]+))?"
)
LONG_NAMES = {"supervised": "supervised_amr"}
# The mixers of methods whose names leave them out, as the paper has no other.
MIXER_NAMES = {"acai": "mixup", "acai_original": "folded"}
LOSSES = {
    "beta_vae": ("binary_crossentropy", None),
    "acai_original": ("mean_squared_error", "least_squares"),
}
# Section 4.1, and the optimizer of the original ACAI's code.
ADAM_L2 = {
    "learning_rate": 1e-4,
    "beta_1": 0.5,
    "beta_2": 0.99,
    "epsilon": 1e-8,
    "l2_weight_decay": 1e-5,
}
ADAM = {"learning_rate": 1e-4, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line; nothing may be left over."""
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    rest = flag_values(["amr_tf.train", *flagfiles.expand_flagfiles(arguments)])
    assert rest == ["amr_tf.train"]
    return flagfiles.config_from_flags(TrainingConfig, flag_values=flag_values)


def parse_file(path):
    return parse(f"--flagfile={path}")


def name_of(text):
    """The name in a call string, without its arguments; None for None."""
    return None if text is None else parse_call(text).name


def parse_name(path):
    """The parts of a file's name."""
    match = NAME.fullmatch(path.stem)
    assert match, f"{path.name} is named otherwise than the others"
    return match.groupdict()


def test_there_are_as_many_as_the_paper_has():
    cells = sum(len(rows) for table in TABLES.values() for rows in table.values())
    rows = sum(len(rows) * len(BETAS.get(number, "1")) for number, (_, rows) in FIGURES.items())
    assert (cells, rows) == (17 + 20 + 27 + 6, 21)
    assert len(CONFIGS) == cells + rows == 91


def test_every_shared_file_is_used():
    named = set()
    for path in FOLDER.rglob("*.cfg"):
        for name in re.findall(r"^--flagfile=(.*)$", path.read_text(), flags=re.MULTILINE):
            named.add((path.parent / name).resolve())
    assert named == set((FOLDER / "shared").glob("*.cfg"))


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.cfg")), ids=lambda path: path.stem)
def test_lines(path):
    """Comments, then one flag per line, each set once, with its value after an equals sign."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    flag_lines = [line for line in lines if not line.startswith("# ")]
    assert lines[-len(flag_lines) :] == flag_lines
    names = [re.fullmatch(r"--(\w+)=\S(.*\S)?", line).group(1) for line in flag_lines]
    own = [name for name in names if name != "flagfile"]
    assert names[: len(names) - len(own)] == ["flagfile"] * (len(names) - len(own))
    assert len(own) == len(set(own))
    known = {flag_name(field) for field in TrainingConfig.__dataclass_fields__.values()}
    assert set(own) <= known


@each_config
def test_the_file_is_valid(path):
    config = parse_file(path)
    config.validate()
    assert config.run_dir == f"runs/paper/{path.stem}"
    assert config.data_dir is None
    assert config.seed == 0
    # The flagfile that a run folder keeps describes the same run.
    resolved = config.resolve()
    resolved.validate()
    assert parse(*resolved.to_flagfile().splitlines()) == resolved


def test_run_dirs_are_unique():
    folders = [parse_file(path).run_dir for path in CONFIGS]
    assert len(set(folders)) == len(CONFIGS)


@each_config
def test_the_name_says_what_is_in_it(path):
    config, name = parse_file(path).resolve(), parse_name(path)
    method = parse_call(config.method)
    assert method.name == LONG_NAMES.get(name["method"], name["method"])
    if method.name in ("ae_gan", "beta_vae"):
        assert name["mixer"] is name["k"] is None
    elif method.name != "supervised_amr":
        assert name_of(config.mixer) == (name["mixer"] or MIXER_NAMES[name["method"]])
        assert config.k == int(name["k"])
    if name["lambda"] is None:
        assert method.name in ("acai_original", "beta_vae")
        assert config.lambda_ == 1.0
    else:
        assert config.lambda_ == float(name["lambda"])
    beta = method.arguments["kl_weight"] if method.name == "beta_vae" else config.beta
    assert (beta or 0) == float(name["beta"] or 0)
    data = DATA[name["data"]]
    assert name_of(config.dataset) == data.dataset
    assert config.train_subset == data.train_subset
    assert data.epochs in (None, config.epochs)
    assert config.epochs > 1


def assert_optimizer(text, name, arguments):
    """The optimizer of this name with these arguments; others may be left at Keras' defaults."""
    call = parse_call(text)
    assert call.name == name
    assert {key: call.arguments[key] for key in arguments} == arguments


@each_config
def test_the_optimizers(path):
    """Section 4.1's; the players of the original ACAI have its authors' Adam."""
    config = parse_file(path).resolve()
    name, arguments = "adam_l2", ADAM_L2
    if name_of(config.method) == "acai_original":
        name, arguments = "adam", ADAM
    if name_of(config.dataset) == "spiral":  # The paper gives no learning rate for it.
        arguments = {**arguments, "learning_rate": 1e-3}
    assert_optimizer(config.autoencoder_optimizer, name, arguments)
    if name_of(config.method) == "beta_vae":
        assert config.discriminator_optimizer is None
    else:
        assert_optimizer(config.discriminator_optimizer, name, arguments)
    assert_optimizer(config.probe_optimizer, "adam_l2", ADAM_L2)


@each_config
def test_what_all_runs_share(path):
    """The released code's losses, networks, batch size and schedule."""
    config = parse_file(path).resolve()
    method, dataset = name_of(config.method), name_of(config.dataset)
    # A VAE has no discriminator to wait for.
    every_step = dataset == "spiral" or method in ("acai_original", "beta_vae")
    assert config.generator_update_every == (1 if every_step else 5)
    assert config.batch_size == 64
    assert (config.supervision, config.labelled, config.probe) == (0.0, None, "linear")
    losses = LOSSES.get(method, ("mean_absolute_error", "binary_crossentropy"))
    if dataset == "dsprites":
        losses = ("binary_crossentropy", losses[1])
    assert (config.reconstruction_loss, config.gan_loss) == losses
    architecture = parse_call(config.architecture)
    usual = "acai" if method == "acai_original" else "convolutional"
    assert architecture.name == {"dsprites": "dsprites", "spiral": "mlp"}.get(dataset, usual)
    if architecture.name == usual:
        assert architecture.arguments["depth"] == 16
    if name_of(config.mixer) == "bernoulli":
        # The tables' variant.
        assert parse_call(config.mixer).arguments["probability"] == "batch"


@pytest.mark.parametrize("number", TABLES)
def test_the_tables_are_complete(number):
    found = {}
    for path in FOLDER.glob(f"table{number}_*.cfg"):
        config = parse_file(path).resolve()
        cell = parse_name(path)["data"], row_of(config)
        assert cell not in found
        found[cell] = config.lambda_
    # The paper gives no lambda for the original ACAI, whose reconstruction loss has no weight.
    expected = {
        (data, row): 1.0 if lambda_ is None else float(lambda_)
        for data, rows in TABLES[number].items()
        for row, (_, _, lambda_) in rows.items()
    }
    assert found == expected


@pytest.mark.parametrize("number", TABLES)
def test_the_papers_figure_in_the_comment(number):
    for path in FOLDER.glob(f"table{number}_*.cfg"):
        config, data = parse_file(path).resolve(), parse_name(path)["data"]
        cell = TABLES[number][data][row_of(config)]
        unit = "" if number == 4 else " %"  # Table 4's is a score, the others' are accuracies.
        source = "the paper"
        if name_of(config.method) == "acai_original":
            source = "Berthelot et al. (2019)"
        first, *others = path.read_text().splitlines()
        assert first.startswith(f"# Table {number}, {TITLES[data]}, ")
        assert first.endswith(f": {cell.mean:.2f} +- {cell.deviation:.2f}{unit} in {source}.")
        assert ("implementation of the metric was wrong" in others[0]) == (number == 4)


def test_the_figures_are_complete():
    found = {
        (int(name["number"]), name["data"], row_of(config), config.lambda_, config.beta)
        for path, name in ((path, parse_name(path)) for path in FOLDER.glob("figure*.cfg"))
        for config in [parse_file(path).resolve()]
    }
    expected = {
        (number, data, row, float(lambda_), float(beta))
        for number, (data, rows) in FIGURES.items()
        for row, lambda_ in rows.items()
        for beta in BETAS.get(number, ("0",))
    }
    assert found == expected


def test_figure_5_is_conditioned_on_the_papers_attributes():
    config = parse_file(FOLDER / "figure5_celeba_supervised_k2_lambda50.cfg").resolve()
    attributes = parse_call(config.dataset).arguments["attributes"]
    assert attributes == ("Male", "Heavy_Makeup", "Wearing_Lipstick")
    label_mixer = parse_call(config.method).arguments["label_mixer"]
    mixer = parse_call(MIXERS.canonical(label_mixer))
    assert mixer.name == "supervised_bernoulli"
    # The paper's form: embed sees y~ alone, and there is one alpha for a pair.
    assert mixer.arguments["condition"] == "label"
    assert mixer.arguments["alphas"] == "example"


def test_figure_6_shows_runs_of_table_1():
    tables = {path.stem: parse_file(path) for path in FOLDER.glob("table1_svhn_*.cfg")}
    paths = list(FOLDER.glob("figure6_*.cfg"))
    assert len(paths) == 3
    for path in paths:
        config, run = parse_file(path), tables[path.stem.replace("figure6", "table1")]
        assert config.replace(run_dir=run.run_dir) == run


def described(config):
    """Image shape, number of classes or attributes, and whether they are attributes."""
    dataset = parse_call(config.dataset)
    shape, classes = SHAPES[dataset.name]
    shape = tuple(config.image_size if size is None else size for size in shape)
    assert None not in shape
    classes = len(dataset.arguments.get("attributes") or ()) or classes
    return shape, classes, dataset.name == "celeba"


def draw_batches(config, shape, classes, multi_label):
    """Two batches of random images, or points, and labels."""
    count = max(config.k or 2, 4)
    generator = np.random.default_rng(0)
    for _ in range(2):
        images = generator.uniform(-1, 1, (count, *shape)).astype("float32")
        labels = None
        if classes is not None:
            labels = generator.integers(
                0, *((2, (count, classes)) if multi_label else (classes, count))
            )
        yield tf.constant(images), None if labels is None else tf.constant(labels)


def weights_of(model):
    """The trainable weights of each part of a model, as arrays."""
    names = ("encoder", "decoder", "discriminator", "probe", "label_mixer")
    parts = {name: getattr(model, name, None) for name in names}
    return {
        name: [weight.numpy() for weight in part.trainable_variables]
        for name, part in parts.items()
        if part is not None
    }


def moved(before, after):
    """The names of the parts in which every weight has changed, and of those where some have."""
    changed = {
        name: [(one != other).any() for one, other in zip(before[name], after[name], strict=True)]
        for name in before
    }
    assert all(changed.values())  # No part is without weights.
    return tuple({name for name in changed if kind(changed[name])} for kind in (all, any))


def expected_metrics(config, classes):
    names = {"loss", "reconstruction_loss"}
    if name_of(config.method) == "beta_vae":
        names.add("kl_loss")
    else:
        names |= {"adversarial_loss", "discriminator_loss"}
    if name_of(config.method) == "supervised_amr":
        names |= {"classification_loss", "classifier_loss", "classifier_accuracy"}
    if config.beta:
        names.add("consistency_loss")
    if classes is not None:
        names |= {"probe_loss", "probe_accuracy"}
    return names


def kind_of(path):
    """Which layers and losses a config builds; it is the same for other sizes and weights."""
    config = parse_file(path).resolve()
    names = [name_of(text) for text in (config.architecture, config.method, config.mixer)]
    (width, *_), _, multi_label = described(config)
    return *names, width, multi_label, bool(config.beta)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", {kind_of(path): path for path in CONFIGS}.values(), ids=lambda path: path.stem
)
def test_two_steps(path):
    """One config of every kind is built at its real size and trains.

    The steps run eagerly: tracing one takes several times as long as running two.
    """
    keras.utils.set_random_seed(0)
    config = parse_file(path)
    shape, classes, multi_label = described(config)
    model = build_model(config, shape, classes, multi_label)
    assert model.image_shape == shape
    latent_size = DATA[parse_name(path)["data"]].latent_size
    assert latent_size in (None, math.prod(model.latent_shape))
    weights = [weights_of(model)]
    for images, labels in draw_batches(config, shape, classes, multi_label):
        results = model.train_on(images, labels)
        assert set(results) == expected_metrics(config, classes)
        assert all(np.isfinite(value) for value in results.values())
        weights.append(weights_of(model))
    assert int(model.step_counter) == 2
    # The first step updates everything; the second skips what every fifth step updates.
    parts = {"encoder", "decoder"}
    parts |= {"discriminator"} if name_of(config.method) != "beta_vae" else set()
    parts |= {"probe"} if classes is not None else set()
    parts |= {"label_mixer"} if name_of(config.method) == "supervised_amr" else set()
    assert moved(*weights[:2]) == (parts, parts)
    if config.generator_update_every > 1:
        parts -= {"encoder", "decoder", "label_mixer"}
    assert moved(*weights[1:]) == (parts, parts)
