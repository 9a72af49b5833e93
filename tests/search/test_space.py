"""Search spaces: what flags' texts mean, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_tf.runs.config import TrainingConfig
from amr_tf.search import SearchSpace


def test_choices_and_ranges():
    rate = "autoencoder_optimizer.learning_rate"
    texts = ["lambda:2,5,10", "k:2, 3", "mixer:mixup,bernoulli", f"{rate}:1e-5..1e-3:log"]
    space = SearchSpace.parse([*texts, "architecture.depth:8..32"])
    assert space.choices == {
        "lambda_": (2.0, 5.0, 10.0),
        "k": (2, 3),
        "mixer": ("mixup", "bernoulli"),
    }
    assert space.ranges == {rate: (1e-5, 1e-3, "log"), "architecture.depth": (8, 32, "linear")}
    assert space.names == ("lambda_", "k", "mixer", rate, "architecture.depth")


def test_keras_tuners_parameters():
    texts = ["lambda:2,5", "mixer:mixup,bernoulli", "architecture.depth:8..32"]
    space = SearchSpace.parse([*texts, "mixer.sigma:0..1"])
    parameters = space.hyperparameters().space
    names = ["lambda_", "mixer", "architecture.depth", "mixer.sigma"]
    assert [parameter.name for parameter in parameters] == names
    assert list(parameters[0].values) == [2.0, 5.0]
    assert (parameters[2].min_value, parameters[2].max_value) == (8, 32)
    assert [type(parameter).__name__ for parameter in parameters[2:]] == ["Int", "Float"]


def test_commas_inside_of_brackets_and_quotes_do_not_split():
    rate = "cosine_decay(initial_learning_rate=1e-4, decay_steps=1000)"
    optimizer = f"adam(beta_1=0.5, learning_rate={rate})"
    space = SearchSpace.parse(
        [
            "mixer:mixup,bernoulli(probability='example'), composite(mixers=('mixup', 'spatial'))",
            f"autoencoder_optimizer:{optimizer},sgd",
            "dataset:image_folder(a=',(', b=2),digits",
        ]
    )
    assert space.choices == {
        "mixer": (
            "mixup",
            "bernoulli(probability='example')",
            "composite(mixers=('mixup', 'spatial'))",
        ),
        "autoencoder_optimizer": (optimizer, "sgd"),
        "dataset": ("image_folder(a=',(', b=2)", "digits"),
    }


@pytest.mark.parametrize(
    ("text", "values", "kept"),
    [
        ("mixer.sigma:0.1,0.3", (0.1, 0.3), [0.1, 0.3]),
        ("mixer.sigma:1,0.3", (1.0, 0.3), [1.0, 0.3]),
        ("mixer.probability:batch,'example'", ("batch", "example"), ["batch", "example"]),
        ("architecture.latent_dim:none,8", (None, 8), ["None", "8"]),
        ("autoencoder_optimizer.nesterov:true,False", (True, False), ["True", "False"]),
        ("probe.hidden:(64,),(64, 32)", ((64,), (64, 32)), ["(64,)", "(64, 32)"]),
        (
            "autoencoder_optimizer.learning_rate:1e-3,cosine_decay(decay_steps=9)",
            (1e-3, "cosine_decay(decay_steps=9)"),
            ["0.001", "cosine_decay(decay_steps=9)"],
        ),
    ],
)
def test_values_of_parameters_are_literals(text, values, kept):
    """KerasTuner takes numbers of one type or texts; a trial gets the values themselves again."""
    space = SearchSpace.parse([text])
    (name,) = space.names
    assert space.choices == {name: values}
    assert [type(value) for value in space.choices[name]] == [type(value) for value in values]
    (parameter,) = space.hyperparameters().space
    assert list(parameter.values) == kept
    assert [space.changes({name: value}) for value in kept] == [{name: value} for value in values]


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
        ("monitor:val_loss", "^Unknown flag to search 'monitor'."),
        ("k:2,x", "^k takes int values; got 'x'.$"),
        ("k:2.5", "^k takes int values; got '2.5'.$"),
        ("lambda:9..2", "^A range goes from low to high; got lambda:9..2.$"),
        ("lambda:1..2:cubic", "^A range's scale must be linear or log; got 'cubic'.$"),
        ("lambda:0..2:log", "^A range with scale log must begin above 0; got lambda:0..2:log.$"),
        ("deterministic:yes", "^deterministic takes bool values; got 'yes'.$"),
        ("deterministic:true,false", "^deterministic cannot be searched: .* one without.$"),
        ("k:2,,3", "^k takes int values; got ''.$"),
        ("mixer:a..b", "^mixer takes names, so a range is not possible; got 'a..b'.$"),
        ("deterministic:0..1", "^deterministic takes names, so a range is not possible; got"),
        ("mixer.probability:0..1", "^mixer.probability takes names, so a range is not possible"),
        ("mixer.sigma:a..1", "^A range goes from number to number; got mixer.sigma:a..1.$"),
        ("lambda:x..2", "^lambda takes float values; got 'x'.$"),
        ("lambda:2,2.0", "^search names lambda:2.0 twice.$"),
        ("mixer.sgima:1", "^Unknown parameter of any mixer: 'sgima'. Did you mean 'sigma'?"),
        ("k.sigma:1", "^k has no parameters to search; got k.sigma.$"),
        ("gan_loss.x:1", "^Unknown parameter of any gan_loss: 'x'. It takes none.$"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.parse([text])


def test_a_flag_named_twice():
    with pytest.raises(ValueError, match="^search names k twice.$"):
        SearchSpace.parse(["k:2", "k:3"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k:2,100", "^A batch of 64 is too small to mix k = 100"),
        ("mixer:mixupp", "^Unknown mixer 'mixupp'. Did you mean 'mixup'"),
        ("lambda:-1,2", "^lambda must be a finite number of at least 0; got -1"),
        (
            "autoencoder_optimizer.beta_1:0.5..1.5",
            "^beta_1 must be at least 0 and below 1; got 1.5.$",
        ),
        ("mixer:mixup,bernoulli(probabilty='example')", "^Unknown parameter of mixer 'bernoulli'"),
        ("mixer.sigma:0.1,0.3", "^Unknown parameter of mixer 'mixup': 'sigma'. It takes none.$"),
        ("probe.hidden:(8,),(16,)", "^Unknown parameter of probe 'linear': 'hidden'."),
        ("method.kl_weight:1,2", "^Unknown parameter of method 'amr': 'kl_weight'."),
    ],
)
def test_values_that_cannot_be_trained(text, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace.parse([text]).check(TrainingConfig())


def test_methods_that_do_not_use_what_holds_for_all_trials():
    space = SearchSpace.parse(["method:amr,vae"])
    space.check(TrainingConfig())
    with pytest.raises(ValueError, match="^method vae does not use gan_loss"):
        space.check(TrainingConfig(gan_loss="least_squares"))


def test_values_that_cannot_be_trained_together():
    with pytest.raises(ValueError, match="^A batch of 32 is too small to mix k = 64"):
        SearchSpace.parse(["k:2,64", "batch_size:32,64"]).check(TrainingConfig())


def test_each_value_is_looked_at_however_many_combinations_there_are():
    """The last value of the first flag comes after 499 others and their combinations."""
    numbers = ",".join(map(str, range(1, 500)))
    space = SearchSpace.parse([f"k:2,{10**6}", f"sample_every:{numbers}"])
    with pytest.raises(ValueError, match="is too small to mix k = 1000000"):
        space.check(TrainingConfig())


def test_truth_values():
    texts = ["deterministic:False", "autoencoder_optimizer.amsgrad:true,False"]
    assert SearchSpace.parse(texts).choices == {
        "deterministic": (False,),
        "autoencoder_optimizer.amsgrad": (True, False),
    }


def test_values_that_can():
    SearchSpace.parse(["k:2,64", "lambda:0..2"]).check(TrainingConfig())
