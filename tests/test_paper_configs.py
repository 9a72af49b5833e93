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

from amr_tf.reproduction.paper import (
    ACAI,
    AE_GAN,
    BERNOULLI_2,
    MIXUP_2,
    MIXUP_3,
    TABLES,
    row_of,
)
from amr_tf.training import flagfiles
from amr_tf.training.build import build_model
from amr_tf.training.config import TrainingConfig, flag_name

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "configs" / "paper"
CONFIGS = sorted(FOLDER.glob("*.cfg"))
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)

# The supplement's figures: rows by data set. Lambda is given for figures 6 (as in table 1), 12
# and 13 only.
SUPERVISED = ("supervised_amr", "none", 2)
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

# What a name's data set stands for: the data set and, where the paper says so, the number of
# training images, of elements of a code, and of epochs.
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
# Shapes of what a data set gives, width None for the config's; classes or attributes.
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
# What a name leaves out, as there is no other.
MIXERS = {"acai": "mixup", "acai_original": "folded", "supervised": "none"}
LOSSES = {
    "beta_vae": ("binary_crossentropy", "binary_crossentropy"),
    "acai_original": ("mean_squared_error", "least_squares"),
}


def parse(*arguments):
    """A config as `amr_tf.train` reads it from its command line; nothing may be left over."""
    flag_values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, flag_values)
    rest = flag_values(["amr_tf.train", *flagfiles.expand_flagfiles(arguments)])
    assert rest == ["amr_tf.train"]
    return flagfiles.config_from_flags(TrainingConfig, flag_values=flag_values)


def parse_file(path):
    return parse(f"--flagfile={path}")


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
    """Comments, then one flag a line, each once, with its value after an equals sign."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# ")
    flag_lines = [line for line in lines if not line.startswith("# ")]
    assert lines[-len(flag_lines) :] == flag_lines
    names = [re.fullmatch(r"--(\w+)=(\S+)", line).group(1) for line in flag_lines]
    assert len(names) == len(set(names))
    known = {flag_name(field) for field in TrainingConfig.__dataclass_fields__.values()}
    assert set(names) <= known | {"flagfile"}


@each_config
def test_the_file_is_valid(path):
    config = parse_file(path)
    config.validate()
    assert config.run_dir == f"runs/paper/{path.stem}"
    assert config.data_dir is None
    assert config.seed == 0
    # What it stands for survives the run folder's own flagfile.
    again = [line for line in config.resolve().to_flagfile().splitlines() if line]
    assert parse(*again) == config.resolve()


def test_run_dirs_are_unique():
    folders = [parse_file(path).run_dir for path in CONFIGS]
    assert len(set(folders)) == len(CONFIGS)


@each_config
def test_the_name_says_what_is_in_it(path):
    config, name = parse_file(path).resolve(), parse_name(path)
    method = name["method"]
    assert config.method == LONG_NAMES.get(method, method)
    if config.method not in ("ae_gan", "beta_vae"):
        assert config.mixer == (name["mixer"] or MIXERS[method])
        assert config.k == int(name["k"])
    else:
        assert name["mixer"] is name["k"] is None
    if name["lambda"] is None:
        assert method in ("acai_original", "beta_vae")
        assert config.lambda_ == 1.0
    else:
        assert config.lambda_ == float(name["lambda"])
    weight = config.kl_weight if method == "beta_vae" else config.beta
    assert weight == float(name["beta"] or 0)
    data = DATA[name["data"]]
    assert (config.dataset, config.train_subset) == (data.dataset, data.train_subset)
    assert data.epochs in (None, config.epochs)
    assert config.epochs > 1


@each_config
def test_what_all_runs_share(path):
    """Section 4.1, and the released code's losses, batch and schedule."""
    config = parse_file(path).resolve()
    adam = {"learning_rate": 1e-4, "probe_learning_rate": 1e-4, "beta_1": 0.5, "beta_2": 0.99}
    adam.update(epsilon=1e-8, l2_weight_decay=1e-5)
    if config.dataset == "spiral":  # The paper gives neither networks nor step size for these.
        adam["learning_rate"] = 1e-3
    assert {name: getattr(config, name) for name in adam} == adam
    assert config.batch_size == 64
    assert config.generator_update_every == (1 if config.dataset == "spiral" else 5)
    assert (config.supervision, config.labelled, config.probe) == (0.0, None, "linear")
    usual = ("mean_absolute_error", "binary_crossentropy")
    losses = LOSSES.get(config.method, usual)
    if config.dataset == "dsprites":
        losses = ("binary_crossentropy", "binary_crossentropy")
    assert (config.reconstruction_loss, config.gan_loss) == losses
    assert config.output_activation == ("tanh" if config.dataset == "dsprites" else "none")
    architecture = {"dsprites": "dsprites", "spiral": "mlp"}.get(config.dataset, "convolutional")
    assert config.architecture == architecture
    assert config.bernoulli_probability == "batch"  # The tables' variant.
    assert config.depth == 16


@pytest.mark.parametrize("number", TABLES)
def test_the_tables_are_complete(number):
    found = {}
    for path in FOLDER.glob(f"table{number}_*.cfg"):
        config = parse_file(path).resolve()
        cell = parse_name(path)["data"], row_of(config)
        assert cell not in found
        found[cell] = config.lambda_
    # Where the paper gives no lambda, the original ACAI's own: mean squared error, not weighted.
    expected = {
        (data, row): 1.0 if lambda_ is None else float(lambda_)
        for data, rows in TABLES[number].items()
        for row, (_, _, lambda_) in rows.items()
    }
    assert found == expected


@pytest.mark.parametrize("number", TABLES)
def test_the_papers_figure_in_the_comment(number):
    for path in FOLDER.glob(f"table{number}_*.cfg"):
        config = parse_file(path)
        cell = TABLES[number][parse_name(path)["data"]][row_of(config.resolve())]
        comment = path.read_text().splitlines()[0]
        assert comment.startswith(f"# Table {number}, {parse_name(path)['data']}, ")
        given = re.search(r": ([\d.]+) \+- ([\d.]+)(?: %)? in (the|its authors') paper", comment)
        assert given.group(1, 2) == (f"{cell.mean:.2f}", f"{cell.deviation:.2f}")
        assert (given.group(3) == "the") == (config.method != "acai_original")


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
    assert config.attributes == "Male,Heavy_Makeup,Wearing_Lipstick"
    assert config.label_mixer == "supervised_bernoulli"
    # The paper's form: embed sees y~ alone, and there is one alpha for a pair.
    assert (config.mask_condition, config.label_alphas) == ("label", "example")


def test_figure_6_shows_runs_of_table_1():
    tables = {path.stem: parse_file(path) for path in FOLDER.glob("table1_svhn_*.cfg")}
    paths = list(FOLDER.glob("figure6_*.cfg"))
    assert len(paths) == 3
    for path in paths:
        config, run = parse_file(path), tables[path.stem.replace("figure6", "table1")]
        assert config.replace(run_dir=run.run_dir) == run


def described(config):
    """Image shape, number of classes or attributes, and whether they are attributes."""
    shape, classes = SHAPES[config.dataset]
    shape = tuple(config.image_size if size is None else size for size in shape)
    assert None not in shape
    if config.attributes is not None:
        classes = len(config.attributes.split(","))
    return shape, classes, config.dataset == "celeba"


def draw_batches(config, shape, classes, multi_label):
    """Two batches of random images, or points, and labels."""
    count = max(config.k, 4)
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
    """The trained weights of each part of a model, as arrays."""
    names = ("encoder", "decoder", "discriminator", "probe", "label_mixer")
    parts = {name: getattr(model, name, None) for name in names}
    return {
        name: [weight.numpy() for weight in part.trainable_variables]
        for name, part in parts.items()
        if part is not None
    }


def moved(before, after):
    """The names of the parts of which every weight has changed, and of those where some have."""
    changed = {
        name: [(one != other).any() for one, other in zip(before[name], after[name], strict=True)]
        for name in before
    }
    assert all(changed.values())  # No part is without weights.
    return tuple({name for name in changed if kind(changed[name])} for kind in (all, any))


def expected_metrics(config, classes):
    names = {"loss", "reconstruction_loss"}
    if config.method == "beta_vae":
        names.add("kl_loss")
    else:
        names |= {"adversarial_loss", "discriminator_loss"}
    if config.method == "supervised_amr":
        names |= {"classification_loss", "classifier_loss", "classifier_accuracy"}
    if config.beta:
        names.add("consistency_loss")
    if classes is not None:
        names |= {"probe_loss", "probe_accuracy"}
    return names


def kind_of(path):
    """What layers and losses a config builds: other sizes and weights make no other kind."""
    config = parse_file(path).resolve()
    names = ("architecture", "method", "mixer", "latent_dim")
    (width, *_), _, multi_label = described(config)
    return *(getattr(config, name) for name in names), width, multi_label, config.beta > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", {kind_of(path): path for path in CONFIGS}.values(), ids=lambda path: path.stem
)
def test_two_steps(path):
    """One config of every kind is built at its real size and trains.

    The steps are eager: to trace one takes several times as long as to make two.
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
    # The first step updates everything, the second not what is updated in every fifth.
    parts = {"encoder", "decoder"}
    parts |= {"discriminator"} if config.method != "beta_vae" else set()
    parts |= {"probe"} if classes is not None else set()
    parts |= {"label_mixer"} if config.method == "supervised_amr" else set()
    assert moved(*weights[:2]) == (parts, parts)
    if config.generator_update_every > 1:
        parts -= {"encoder", "decoder", "label_mixer"}
    assert moved(*weights[1:]) == (parts, parts)
