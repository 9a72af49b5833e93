"""Search spaces: what flags' texts mean, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_tf.training.config import TrainingConfig
from amr_tf.tuning import SearchSpace


def test_choices_and_ranges():
    texts = ["lambda:2,5,10", "k:2, 3", "mixer:mixup,bernoulli", "learning_rate:1e-5..1e-3:log"]
    space = SearchSpace.parse([*texts, "depth:8..32"])
    assert space.choices == {
        "lambda_": (2.0, 5.0, 10.0),
        "k": (2, 3),
        "mixer": ("mixup", "bernoulli"),
    }
    assert space.ranges == {"learning_rate": (1e-5, 1e-3, "log"), "depth": (8, 32, "linear")}
    assert space.names == ("lambda_", "k", "mixer", "learning_rate", "depth")


def test_keras_tuners_parameters():
    space = SearchSpace.parse(["lambda:2,5", "mixer:mixup,bernoulli", "depth:8..32"])
    parameters = space.hyperparameters().space
    assert [parameter.name for parameter in parameters] == ["lambda_", "mixer", "depth"]
    assert list(parameters[0].values) == [2.0, 5.0]
    assert (parameters[2].min_value, parameters[2].max_value) == (8, 32)


@given(st.lists(st.integers(2, 1000), min_size=1, max_size=6, unique=True))
def test_any_integers(values):
    space = SearchSpace.parse(["k:" + ",".join(map(str, values))])
    assert space.choices["k"] == tuple(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambda", "^search must be FLAG:VALUE,VALUE,... or FLAG:LOW..HIGH.*got 'lambda'"),
        ("lambda:", "^search must be FLAG"),
        ("lamda:2", "^Unknown flag to search 'lamda'. Did you mean 'lambda'?"),
        ("seed:1,2", "^Unknown flag to search 'seed'."),
        ("k:2,x", "^k takes int values; got 'x'.$"),
        ("k:2.5", "^k takes int values; got '2.5'.$"),
        ("lambda:9..2", "^A range goes from low to high; got lambda:9..2.$"),
        ("lambda:1..2:cubic", "^A range's scale must be linear or log; got 'cubic'.$"),
        ("lambda:0..2:log", "^A range with scale log must begin above 0; got lambda:0..2:log.$"),
        ("deterministic:yes", "^deterministic takes bool values; got 'yes'.$"),
        ("k:2,,3", "^k takes int values; got ''.$"),
        ("mixer:a..b", "^mixer takes names, of which there is no range; got 'a..b'.$"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.parse([text])


def test_a_flag_named_twice():
    with pytest.raises(ValueError, match="^search names k twice.$"):
        SearchSpace.parse(["k:2", "k:3"])


@pytest.mark.parametrize("text", ["k:2,100", "mixer:mixupp", "lambda:-1,2", "beta_1:0.5..1.5"])
def test_values_that_cannot_be_trained(text):
    with pytest.raises(ValueError):
        SearchSpace.parse([text]).check(TrainingConfig())


def test_values_that_cannot_be_trained_together():
    with pytest.raises(ValueError, match="^A batch of 32 is too small to mix k = 64"):
        SearchSpace.parse(["k:2,64", "batch_size:32,64"]).check(TrainingConfig())


def test_truth_values():
    assert SearchSpace.parse(["deterministic:true,False"]).choices == {
        "deterministic": (True, False)
    }


def test_values_that_can():
    SearchSpace.parse(["k:2,64", "lambda:0..2"]).check(TrainingConfig())
