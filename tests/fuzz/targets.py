"""What is fuzzed: for each target what it is given, what it does, and what a valid result is.

A target either gives a valid result (its function checks that) or raises a ValueError, TypeError or
OSError of one sentence. `tests/fuzz` runs a few examples of each, `benchmarks/fuzz.py` thousands.
"""

import dataclasses
import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from amr_tf import mixers
from amr_tf.commands import running
from amr_tf.data.attributes import choose_attributes, read_table
from amr_tf.metrics import fixed_factor, image_quality, mig_dci_sap
from amr_tf.metrics import interpolation_quality as lines
from amr_tf.optimizers import SCHEDULES
from amr_tf.paper import Plan, find_cells
from amr_tf.rest import predict_format
from amr_tf.runs import flagfiles
from amr_tf.runs.checkpoints import read_state
from amr_tf.runs.config import REGISTRIES, TrainingConfig, flag_name
from amr_tf.search import SearchSpace

CLEAR = (ValueError, TypeError, OSError)


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that is fuzzed.

    Attributes:
        title: the kind of bad input.
        strategy: of the cases.
        run: function of a case that raises an AssertionError for a result that is not valid.
        cost: examples of others that take as long as one of this.
    """

    title: str
    strategy: st.SearchStrategy
    run: object
    cost: int = 1


TARGETS = {}


def target(title, strategy, cost=1):
    """Registers the decorated function as the `Target` of its name."""

    def decorate(function):
        TARGETS[function.__name__] = Target(title, strategy, function, cost)
        return function

    return decorate


def outcome(fuzzed, case):
    """ "accepted" or "clear error"; raises an AssertionError for anything else."""
    try:
        fuzzed.run(case)
    except CLEAR as error:
        text = str(error)
        # Keras puts a layer's sentence between a heading and the call's arguments.
        assert text.strip(), repr(error)
        assert "\n" not in text or text.startswith("Exception encountered when calling"), text
        return "clear error"
    return "accepted"


# Values that are near to what is allowed, and values that are not.
texts = st.text(max_size=8) | st.sampled_from(
    [
        "mixup",
        "none",
        "amr",
        "mnist",
        "digits",
        "../..",
        "a\nb",
        "a\0b",
        "~x",
        "nan",
        "\ud800",
        "=1",
    ]
)
integers = st.integers(-3, 40) | st.integers() | st.sampled_from([2**31, 2**32, 2**63, 10**400])
floats = st.floats(0, 2) | st.floats()
anything = st.none() | st.booleans() | integers | floats | texts
deep = st.recursive(
    anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
mild = st.floats(-1e3, 1e3)
FIELDS = {field.name: flag_name(field) for field in dataclasses.fields(TrainingConfig)}


# Configs, flags and files.


@target(
    "config: several fields of any value", st.dictionaries(st.sampled_from(list(FIELDS)), anything)
)
def config_values(case):
    config = TrainingConfig(**case)
    config.validate()
    assert TrainingConfig.from_json(config.to_json()) == config


@target("config: one field of any value", st.tuples(st.sampled_from(list(FIELDS)), anything))
def config_field(case):
    config_values(dict([case]))


# Values as a call string writes them: literals, what Python would take but a call does not, and
# what is neither.
literals = (anything | st.lists(anything, max_size=2).map(tuple)).map(repr) | st.sampled_from(
    [
        *("0.5", "1e-3", "'mixup'", "('mixup', 'spatial')", "(8,)", "None", "True", "1e999", "inf"),
        *("-1e999", "nan", "1" * 5000, "0x" + "f" * 5000, "1j", "b'x'", "...", "{1: 2}", "{1}"),
        *("-" * 500 + "1", "(" * 150 + ")" * 150, "(" * 9000, "[" * 99 + "]" * 99, "'\\d'", "'é'"),
        *("mixup", "x.y", "x[0]", "lambda: 0", "*x", "**x", "f'{1}'", "(x := 1)", "1 if 1 else 2"),
        *("__import__('os')", "'", '"', "1is 2", "1_0", "٣", "\ud800", "'a\\nb'", "# x", "", " "),
    ]
)


def calls_of(name, parameters):
    """Texts that call `name` with values of any kind, one of them maybe a call again."""
    nested = st.tuples(texts, st.sampled_from([*PARAMETERS, "x"]), literals).map(
        lambda parts: f"{parts[0]}({parts[1]}={parts[2]})"
    )
    pairs = st.tuples(
        st.sampled_from([*parameters, *parameters, "x"]),
        st.sampled_from(["=", "=", "=", "=", " = ", "==", ":", ""]),
    )
    arguments = st.tuples(pairs, literals | nested).map(
        lambda parts: "".join((*parts[0], parts[1]))
    )
    ends = st.sampled_from([*[")"] * 9, "", "))", ") ", ")x"])
    return st.tuples(st.lists(arguments, max_size=3).map(", ".join), ends).map(
        lambda parts: f"{name}({parts[0]}{parts[1]}"
    )


PARAMETERS = sorted(
    {
        parameter
        for registry in (*REGISTRIES.values(), SCHEDULES)
        for name in registry.names()
        for parameter in registry.parameters(name)
    }
)
CALLS = {
    field: st.one_of(calls_of(name, registry.parameters(name)) for name in registry.names())
    for field, registry in REGISTRIES.items()
}


@target(
    "call strings: parameters of any kind",
    st.sampled_from(list(REGISTRIES)).flatmap(
        lambda field: st.tuples(st.just(field), CALLS[field] | CALLS[field] | texts | literals)
    ),
)
def call_strings(case):
    field, text = case
    beta = {"beta": 0.5} if field == "consistency_loss" else {}
    config = TrainingConfig(**{field: text}, **beta)
    config.validate()
    try:
        resolved = config.resolve()
        resolved.validate()
        assert resolved.resolve() == TrainingConfig.from_json(resolved.to_json()) == resolved
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a.cfg"
            path.write_text(resolved.to_flagfile())
            assert flagfiles.read_flagfile(path) == resolved
    except CLEAR as error:  # What was valid must stay so.
        raise AssertionError(error) from error


@target(
    "config.json: any JSON or text",
    st.text()
    | deep.map(json.dumps)
    | st.dictionaries(st.sampled_from(list(FIELDS)), deep).map(json.dumps),
)
def config_json(case):
    config = TrainingConfig.from_json(case)
    config.validate()
    assert TrainingConfig.from_json(config.to_json()) == config


@target(
    "state.json: any JSON or text",
    st.text()
    | st.fixed_dictionaries(
        {
            "checkpoint": st.sampled_from(["last-00000001.keras", "../last-00000001.keras"]) | deep,
            "step": st.integers() | deep,
            "best": st.none() | mild | deep,
        }
    ).map(json.dumps),
)
def state_json(case):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "state.json"
        path.write_bytes(case.encode(errors="surrogatepass"))
        (path.parent / "last-00000001.keras").touch()
        state = read_state(folder)
    assert state["checkpoint"].parent == path.parent


flag_lines = st.tuples(
    st.sampled_from([*FIELDS.values(), "flagfile", "undefok", "pdb", "nok", "", "x"]),
    st.sampled_from(["=", " ", ""]),
    anything.map(str) | st.sampled_from(["a.cfg", "b.cfg"]),
).map(lambda parts: "--" + "".join(parts))


@target(
    "flagfiles: lines of any kind",
    st.lists(flag_lines | st.text(max_size=10) | st.sampled_from(["--", "#", "-k=3"]), max_size=6),
)
def flagfile_lines(case):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.cfg"
        path.write_bytes("\n".join(case).encode(errors="surrogatepass"))
        config = flagfiles.read_flagfile(path)
        config.validate()
        path.write_text(config.to_flagfile())
        assert flagfiles.read_flagfile(path) == config


@target("flags: names and values of any kind", st.lists(flag_lines, max_size=5), cost=3)
def command_line(case):
    values = flags.FlagValues()
    flagfiles.define_flags(TrainingConfig, values)
    try:
        values(["train", *flagfiles.expand_flagfiles(case)])
    except flags.Error as error:
        # As a command tells it: a value may hold a line break.
        raise ValueError(running.one_line(str(error))) from error
    flagfiles.config_from_flags(TrainingConfig, flag_values=values).validate()


numbers = (integers | floats).map(str) | st.sampled_from(["1e-5", "", " 2 ", "x", "1_0", "٣"])
ranges = st.tuples(numbers, numbers, st.sampled_from(["", ":log", ":linear", ":", ":x"]))
searches = st.tuples(
    st.sampled_from([*FIELDS.values(), "x", ""]),
    st.sampled_from([":", "", "::"]),
    st.lists(numbers | texts, max_size=4).map(",".join)
    | ranges.map(lambda parts: f"{parts[0]}..{parts[1]}{parts[2]}"),
).map("".join)


@target("tune: search texts", st.lists(searches | st.text(max_size=12), max_size=3))
def search_texts(case):
    space = SearchSpace.parse(case)
    space.check(TrainingConfig())
    assert len(space.hyperparameters().space) == len(case) == len(space.names)


@target(
    "reproduce: tables, runs, lambdas, flags",
    st.fixed_dictionaries(
        {
            "table": st.just(1) | st.integers(-1, 5),
            "dataset": st.sampled_from(["mnist", "svhn", "kmnist"]) | texts,
            "methods": st.just([]) | st.lists(st.sampled_from(["ae_gan", "acai"]) | texts),
            "runs": st.integers(1, 3) | st.integers(-2, 4),
            "lambdas": st.lists(st.floats(0.1, 50), max_size=3, unique=True).map(tuple)
            | st.lists(floats, max_size=3).map(tuple),
            "changes": st.just({})
            | st.dictionaries(st.sampled_from(["epochs", "probe", "step"]), anything, max_size=1),
        }
    ),
    cost=20,  # It reads a dozen flagfiles.
)
def plans(case):
    cells = find_cells(case["table"], case["dataset"], None, case["methods"])
    plan = Plan(
        table=case["table"],
        dataset=case["dataset"],
        cells=cells,
        out=pathlib.Path("runs/fuzz"),
        runs=case["runs"],
        lambdas=case["lambdas"],
        changes=case["changes"],
    )
    configs = plan.all_configs()
    for config in configs:
        config.validate()
        assert pathlib.Path(config.run_dir).parent == plan.out / "runs"


SPECS = {
    "images": tf.TensorSpec((None, 2, 2, 1), "float32"),
    "seed": tf.TensorSpec((), "int32"),
    "names": tf.TensorSpec((None,), "string"),
}
leaves = st.recursive(anything, lambda inner: st.lists(inner, max_size=2), max_leaves=8)
pictures = st.just([[[[0.5], [0.5]], [[0.5], [1]]]])
rows = st.fixed_dictionaries(
    {"images": pictures | leaves},
    optional={"seed": st.integers(0, 9) | deep, "names": st.lists(texts, min_size=1) | leaves},
)
requests = st.fixed_dictionaries({"inputs": rows | deep}, optional={"x": deep}) | (
    st.fixed_dictionaries({"instances": st.lists(pictures.map(lambda one: one[0])) | deep})
)


@target(
    "serve: request bodies",
    st.tuples(st.binary() | (requests | deep).map(json.dumps).map(str.encode), st.integers(1, 3)),
)
def predict_requests(case):
    body, count = case
    specs = dict(list(SPECS.items())[:count])
    found, _ = predict_format.read_inputs(predict_format.parse_request(body), specs)
    assert set(found) == set(specs)
    assert all(np.isfinite(found[name]).all() for name in found if name != "names")


cells_of_tables = st.sampled_from(["0", "1", "-1", "a.png", '"', "²", "", "\0", "=1", " "]) | texts
right = st.integers(1, 3).flatmap(
    lambda count: st.tuples(
        st.just(["file", *"abc"[:count]]),
        *(
            st.lists(st.sampled_from("01"), min_size=count, max_size=count).map(
                lambda values, name=name: [name, *values]
            )
            for name in ("1.png", "2.png")
        ),
    ).map(list)
)
tables = right | st.lists(st.lists(cells_of_tables, max_size=4), max_size=5)


@target(
    "attribute tables: rows of any kind",
    st.tuples(st.sampled_from(["a.csv", "a.txt"]), tables, st.none() | st.just("a") | texts),
)
def attribute_tables(case):
    name, rows, wanted = case
    text = "\n".join((" ," if name == "a.txt" else ",")[:1].join(row) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_bytes(text.encode(errors="surrogatepass"))
        table = read_table(path)
    assert table.values.shape == (len(table.files), len(table.names))
    assert np.isin(table.values, (0, 1)).all()
    choose_attributes(table.names, wanted)


# Arrays.

# Counts: not integers that are allowed, but fill the memory.
small = st.integers(-1, 8) | anything.filter(lambda value: not isinstance(value, int))
dtypes = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"])
shapes = arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
any_array = dtypes.flatmap(lambda dtype: arrays_of.arrays(dtype, shapes))
bounded = mild | st.sampled_from([0.0, float("nan"), float("inf")])


def arrays(elements, *sides):
    """Arrays of float64 of given ranges of sizes, constant ones among them."""
    shape = st.tuples(*(st.integers(*side) for side in sides))
    return shape.flatmap(
        lambda size: arrays_of.arrays("float64", size, elements=elements, fill=elements)
    )


MIXERS = [name for name in mixers.MIXERS.names() if name != "supervised_bernoulli"]
codes = any_array | arrays(bounded, (1, 6), (1, 5)) | arrays(mild, (2, 6), (1, 3), (1, 3), (1, 3))


@target(
    "mixers: codes of any shape and type",
    st.tuples(st.sampled_from(MIXERS), st.integers(2, 4), codes),
    cost=10,
)
def mixed_codes(case):
    name, k, given = case
    mixed, coefficients = (np.asarray(value) for value in mixers.get(name, k=k, seed=0)(given))
    assert mixed.shape == given.shape
    assert coefficients.shape[:2] == (len(given), k)
    assert np.isfinite(coefficients).all()
    if name == "spherical":  # It stretches what it draws.
        return
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, rtol=1e-5, atol=1e-5)
    if name in ("gaussian", "style"):  # They may leave the hull.
        return
    assert (coefficients >= 0).all()
    values = given.astype("float64")
    # Sizes at which float32 neither overflows nor loses what is compared.
    if values.size and np.isfinite(values).all() and np.abs(values).max() < 1e6:
        slack = 1e-4 * (1 + np.abs(values).max())
        assert (mixed >= values.min(axis=0) - slack).all()
        assert (mixed <= values.max(axis=0) + slack).all()


@target(
    "mixers: arguments of any value",
    st.tuples(
        st.sampled_from(mixers.MIXERS.names()) | texts,
        st.fixed_dictionaries({"k": st.integers(2, 3) | anything}, optional={"seed": integers}),
        st.dictionaries(
            st.sampled_from(["sigma", "probability", "weights", "mixers", "num_labels", "x"]),
            anything | st.lists(anything, max_size=2),
            max_size=1,
        ),
    ),
    cost=5,
)
def mixer_arguments(case):
    name, arguments, more = case
    mixer = mixers.get(name, **arguments, **more)
    assert mixer.k >= 2
    copy = type(mixer).from_config(mixer.get_config())
    assert keras.saving.serialize_keras_object(copy) == keras.saving.serialize_keras_object(mixer)


factors = (
    arrays_of.arrays(
        "int64", st.tuples(st.integers(0, 8), st.integers(1, 3)), elements=st.integers(0, 2)
    )
    | any_array
)
pairs = st.tuples(
    any_array | arrays(bounded, (4, 8), (1, 3)) | arrays(mild, (4, 8), (1, 3)), factors
)
FITTING = st.integers(4, 8).flatmap(
    lambda count: st.tuples(
        arrays(mild, (count, count), (1, 3)),
        arrays_of.arrays("int64", (count, 2), elements=st.integers(0, 1)),
    )
)


@target("metrics: MIG", st.tuples(FITTING | pairs, small | st.integers(1, 9)), cost=3)
def information_gap(case):
    (values, given), bins = case
    assert 0 <= mig_dci_sap.mutual_information_gap(values, given, bins) <= 1


@target(
    "metrics: FactorVAE, SAP",
    st.tuples(FITTING | pairs, FITTING | pairs, st.integers(0, 3)),
    cost=15,
)
def factor_scores(case):
    train, held_out, samples = case
    score = fixed_factor.factor_vae_score(train, held_out, votes=8, samples=samples)
    assert 0 <= score <= 1
    assert -1 <= mig_dci_sap.sap(train, held_out) <= 1


@target("metrics: DCI's importances", any_array | arrays(st.floats(0, 1), (1, 4), (1, 4)))
def importances(case):
    found = mig_dci_sap.concentration(case)
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in found)


features = arrays(mild, (4, 8), (2, 2)) | arrays(bounded, (0, 6), (1, 4)) | any_array


@target(
    "metrics: Frechet distance, precision, recall",
    st.tuples(features, features, st.integers(1, 3) | integers),
)
def image_features(case):
    real, fake, k = case
    distance = image_quality.frechet_distance(real, fake)
    assert np.isfinite(distance)
    assert distance >= 0
    shares = image_quality.precision_recall(real, fake, k)
    assert all(0 <= share <= 1 for share in shares.values())


@target(
    "metrics: interpolations of lines",
    st.tuples(
        arrays(mild, (1, 2), (2, 3), (4, 4), (4, 4), (1, 1)).map(np.float32)
        | arrays(bounded, (0, 2), (0, 3), (4, 4), (4, 4), (1, 1)).map(np.float32)
        | any_array,
        st.integers(1, 8) | small,
    ),
    cost=3,
)
def interpolations(case):
    images, candidates = case
    found = lines.interpolation_quality(images, candidates)
    assert 0 <= found["mean_distance"] <= 2
    undefined = found["undefined"] == len(images)
    assert undefined == np.isnan(found["smoothness"])


@target(
    "metrics: angles and blended images",
    st.tuples(
        arrays(mild, (2, 2)) | arrays(bounded, (0, 3)) | any_array,
        arrays(mild, (2, 2)) | arrays(bounded, (0, 3)) | any_array,
        st.integers(2, 5) | small,
    ),
    cost=3,
)
def perfect_lines(case):
    first, second, steps = case
    try:
        lines.pixel_interpolation(first, second, steps)
    except ValueError as error:
        assert "\n" not in str(error)
    images = lines.perfect_interpolation(first, second, steps, size=4)
    assert images.shape == (len(first), steps, 4, 4, 1)
    assert np.isfinite(images).all()
