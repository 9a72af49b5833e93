"""Searches: which trials they make, that they go on after a break, and what they report."""

import csv
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from amr_tf import experiments
from amr_tf.files import write_whole
from amr_tf.registry import parse_call
from amr_tf.runs.divergence import Diverged
from amr_tf.runs.flagfiles import read_flagfile
from amr_tf.runs.folder import RunFolder
from amr_tf.search import (
    ORACLES,
    SearchSpace,
    best_config,
    failures,
    make_tuner,
    oracles,
    summary_table,
    tuner,
    tuning_figure,
    write_results,
)
from tests.runs.conftest import tiny_config

SPACE = SearchSpace.parse(["lambda:2,5,10", "k:2,3"])
GRID = [(lambda_, k) for lambda_ in (2.0, 5.0, 10.0) for k in (2, 3)]


@pytest.fixture
def trained(monkeypatch):
    """In place of training: configs in the order they come; the score follows from the values."""
    configs = []

    def train(config, resume=False):
        configs.append(config)
        folder = RunFolder(config.run_dir)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.config.write_text(config.to_json())
        config = config.resolve()
        score = 0.5 + 0.01 * config.lambda_ + 0.1 * config.k + 0.001 * config.seed
        return {"best_val_probe_accuracy": score}

    monkeypatch.setattr(tuner, "train", train)
    monkeypatch.setattr(tuner, "_free_memory", lambda: None)  # There is no model.
    return configs


def search(directory, space=SPACE, config=None, **arguments):
    made = make_tuner(config or tiny_config("unused"), space, directory, **arguments)
    made.search(verbose=0)
    return made


def pairs(configs):
    return [(config.lambda_, config.k) for config in configs]


def test_a_grid(trained, tmp_path):
    made = search(tmp_path)
    assert pairs(trained) == GRID
    assert len({config.run_dir for config in trained}) == 6
    best = best_config(made, "somewhere")
    assert (best.lambda_, best.k, best.run_dir) == (10.0, 3, "somewhere")


def test_at_most_so_many_trials(trained, tmp_path):
    search(tmp_path, max_trials=4)
    assert pairs(trained) == GRID[:4]


def test_the_mean_of_several_executions(trained, tmp_path):
    made = search(tmp_path, space=SearchSpace.parse(["k:2,3"]), executions=3)
    assert [(config.k, config.seed) for config in trained] == [
        (k, seed) for k in (2, 3) for seed in (0, 1, 2)
    ]
    scores = sorted(trial.score for trial in made.oracle.trials.values())
    assert scores == pytest.approx([0.5 + 0.1 + 0.2 + 0.001, 0.5 + 0.1 + 0.3 + 0.001])


class Break(BaseException):
    """As if the process were killed."""


@pytest.mark.parametrize("after", range(6))
def test_a_broken_search_goes_on(trained, tmp_path, monkeypatch, after):
    real = tuner.train

    def break_off(config, resume=False):
        if len(trained) == after:
            raise Break
        return real(config, resume)

    monkeypatch.setattr(tuner, "train", break_off)
    with pytest.raises(Break):
        search(tmp_path)
    monkeypatch.setattr(tuner, "train", real)
    search(tmp_path)
    assert pairs(trained) == GRID


@pytest.mark.parametrize("oracle", ["grid", "random", "hyperband"])
def test_killed_at_any_write(trained, tmp_path, monkeypatch, oracle):
    """Whichever file is not written any more: no trial is lost, none makes a second run."""
    made = {"alone": search(tmp_path / "alone", oracle=oracle).oracle.trials}
    wanted = [trial.hyperparameters.values for trial in made["alone"].values()]
    writes = []

    def write(path, text):
        writes.append(path)
        if len(writes) == stop_at:
            raise Break
        write_whole(path, text)

    monkeypatch.setattr(oracles, "write_whole", write)
    for stop_at in range(1, 12):
        writes.clear()
        with pytest.raises(Break):
            search(tmp_path / str(stop_at), oracle=oracle)
        writes[:] = [None] * stop_at  # No more breaks.
        trained.clear()
        trials = search(tmp_path / str(stop_at), oracle=oracle).oracle.trials
        assert [trial.hyperparameters.values for trial in trials.values()] == wanted
        assert {trial.status for trial in trials.values()} == {"COMPLETED"}


def test_values_that_diverge_do_not_end_a_search(trained, tmp_path, monkeypatch):
    real = tuner.train

    def diverge(config, resume=False):
        if config.lambda_ < 10:
            raise Diverged("The loss became NaN in step 7")
        return real(config, resume)

    monkeypatch.setattr(tuner, "train", diverge)
    made = search(tmp_path)
    assert pairs(trained) == GRID[4:]
    assert failures(made) == [
        f"Trial 000{number} failed: The loss became NaN in step 7" for number in range(4)
    ]
    write_results(made, SPACE.names, tmp_path)


def test_data_that_are_not_there_end_a_search(tmp_path, monkeypatch):
    monkeypatch.setattr(tuner, "_free_memory", lambda: None)
    config = tiny_config("unused", dataset="image_folder", data_dir=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none"):
        make_tuner(config, SPACE, tmp_path / "search")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": tiny_config("unused", epochs=5)}, "epochs was 3 and is 5. Choose another"),
        ({"space": SearchSpace.parse(["lambda:2,5"])}, "search was lambda:.*, k:.* and is lambda:"),
        ({"oracle": "random"}, "oracle was grid and is random"),
    ],
)
def test_a_folder_of_another_search(trained, tmp_path, arguments, message):
    search(tmp_path, max_trials=1)
    with pytest.raises(ValueError, match=message):
        make_tuner(
            **{"config": tiny_config("x"), "space": SPACE, "directory": tmp_path, **arguments}
        )
    search(tmp_path, max_trials=2)  # More of the same.
    assert len(trained) == 2


def test_a_finished_search_makes_no_more(trained, tmp_path):
    search(tmp_path)
    again = search(tmp_path)
    assert len(trained) == 6
    assert len(again.oracle.trials) == 6


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_ranges(trained, tmp_path, oracle):
    space = SearchSpace.parse(["autoencoder_optimizer.learning_rate:1e-5..1e-3:log", "k:2,3"])
    search(tmp_path, space, oracle=oracle, max_trials=5)
    calls = [parse_call(config.autoencoder_optimizer) for config in trained]
    assert {call.name for call in calls} == {"adam_l2"}
    assert {call.arguments["beta_1"] for call in calls} == {0.5}  # What is not searched stays.
    rates = [call.arguments["learning_rate"] for call in calls]
    assert len(set(rates)) == 5
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert {type(config.k) for config in trained} == {int}


def saved_configs(trained):
    return [RunFolder(config.run_dir).read_config() for config in trained]


def test_truth_values(trained, tmp_path):
    """They come to the runs' config.json as such, and to best.cfg."""
    space = SearchSpace.parse(["autoencoder_optimizer.amsgrad:true,false", "deterministic:True"])
    config = tiny_config("unused", autoencoder_optimizer="adam", k=2)
    made = make_tuner(config, space, tmp_path)
    made.search(verbose=0)
    saved = saved_configs(trained)
    assert [config.deterministic for config in saved] == [True, True]
    optimizers = [parse_call(config.autoencoder_optimizer).arguments for config in saved]
    assert [arguments["amsgrad"] for arguments in optimizers] == [True, False]
    path = write_results(made, space.names, tmp_path)
    assert read_flagfile(path) == best_config(made, tmp_path / "best")
    table = summary_table(made, space.names).splitlines()
    assert sorted(line.split(" | ")[0] for line in table[2:]) == ["| False", "| True"]


def test_parameters_and_calls(trained, tmp_path):
    """Parameters of what a flag names, and call strings with commas of their own."""
    config = tiny_config("unused", method="gaia")
    texts = ["mixer.sigma:0.1,0.3", "method.balance_target:0.25,0.5"]
    space = SearchSpace.parse(texts)
    make_tuner(config, space, tmp_path / "one").search(verbose=0)
    assert [(config.method, config.mixer) for config in saved_configs(trained)] == [
        (f"gaia(balance_target={target}, balance_rate=0.01)", f"gaussian(sigma={sigma})")
        for sigma in (0.1, 0.3)
        for target in (0.25, 0.5)
    ]
    trained.clear()
    space = SearchSpace.parse(["mixer:mixup,bernoulli(probability='example')"])
    made = search(tmp_path / "two", space)
    mixers = [config.mixer for config in saved_configs(trained)]
    assert mixers == ["mixup", "bernoulli(probability='example')"]
    path = write_results(made, space.names, tmp_path / "two")
    assert read_flagfile(path) == best_config(made, tmp_path / "two" / "best")
    assert "--mixer=mixup\n" in path.read_text()
    (axes,) = tuning_figure(made, space.names).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["mixup", "bernoulli(probability='example')"]
    assert sorted(axes.lines[0].get_xdata()) == [0, 1]


def test_values_of_several_types(trained, tmp_path):
    """Numbers, none, tuples and schedules: KerasTuner keeps them as texts."""
    rate = "cosine_decay(initial_learning_rate=0.001, decay_steps=9)"
    texts = [f"autoencoder_optimizer.learning_rate:0.01,{rate}", "probe.hidden:(8,),(8, 4)"]
    config = tiny_config("unused", probe="mlp")
    space = SearchSpace.parse([*texts, "architecture.latent_dim:none,3"])
    made = make_tuner(config, space, tmp_path)
    made.search(verbose=0)
    found = {
        (
            parse_call(config.autoencoder_optimizer).arguments["learning_rate"],
            parse_call(config.probe).arguments["hidden"],
            parse_call(config.architecture).arguments.get("latent_dim"),
        )
        for config in saved_configs(trained)
    }
    assert found == set(itertools.product((0.01, rate), ((8,), (8, 4)), (None, 3)))
    for saved in saved_configs(trained):
        saved.validate()
    write_results(made, space.names, tmp_path)
    again = make_tuner(config, space, tmp_path)  # From the files of the first.
    again.search(verbose=0)
    assert len(trained) == 8


def test_a_parameter_that_the_chosen_entry_does_not_have(trained, tmp_path):
    space = SearchSpace.parse(["mixer.sigma:0.1,0.3"])
    with pytest.raises(ValueError, match="^Unknown parameter of mixer 'mixup': 'sigma'"):
        search(tmp_path / "search", space)
    assert trained == []
    assert not (tmp_path / "search").exists()


def test_hyperband_goes_on_with_the_best(monkeypatch, tmp_path):
    """Later rounds start from a copy of an earlier trial's run, and train it further."""
    seen = []

    def train(config, resume=False):
        folder = RunFolder(config.run_dir)
        seen.append((config.epochs, resume, (folder.path / "note").exists()))
        assert not folder.trackers.exists()  # A copy is another run to MLflow.
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        folder.config.write_text(config.to_json())
        (folder.path / "note").write_text("trained")
        folder.trackers.write_text("{}")
        return {"best_val_probe_accuracy": config.lambda_ / 100}

    monkeypatch.setattr(tuner, "train", train)
    monkeypatch.setattr(tuner, "_free_memory", lambda: None)
    config = tiny_config("unused", epochs=9)
    space = SearchSpace.parse(["lambda:1..50"])
    made = make_tuner(config, space, tmp_path, "hyperband")
    made.search(verbose=0)
    assert {epochs for epochs, _, _ in seen} == {1, 3, 9}
    assert all(resume == copied for _, resume, copied in seen)
    assert any(resume for _, resume, _ in seen)
    assert best_config(made, "x").epochs == 9


def test_reports(trained, tmp_path):
    made = search(tmp_path)
    path = write_results(made, SPACE.names, tmp_path)
    config = read_flagfile(path)
    assert (config.lambda_, config.k) == (10.0, 3)
    assert config == best_config(made, tmp_path / "best")
    lines = summary_table(made, SPACE.names).splitlines()
    assert lines[0] == "| lambda | k | validation accuracy |"
    assert lines[2] == "| 10 | 3 | 90.0 % |"
    assert len(lines) == 8
    assert (tmp_path / "trials.md").read_text().splitlines() == lines
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["val_probe_accuracy"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert (tmp_path / "trials.png").stat().st_size > 1000


def test_trials_are_judged_by_the_probe_and_the_best_flags_keep_the_monitor(trained, tmp_path):
    error = "val_reconstruction_loss"
    made = make_tuner(tiny_config("unused", monitor=error), SPACE, tmp_path)
    made.search(verbose=0)
    assert {config.monitor for config in trained} == {"val_probe_accuracy"}
    assert read_flagfile(write_results(made, SPACE.names, tmp_path)).monitor == error
    make_tuner(tiny_config("unused"), SPACE, tmp_path)  # The same search.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"oracle": "gird"}, "^Unknown way of searching 'gird'. Did you mean 'grid'?"),
        ({"executions": 0}, "^executions must be at least 1; got 0.$"),
        ({"max_trials": 0}, "^max_trials must be at least 1; got 0.$"),
        ({"worker_timeout": 0}, "^worker_timeout must be at least 1 second; got 0.$"),
        ({"oracle": "hyperband", "max_trials": 3}, "^max_trials is not for hyperband"),
        ({"space": SearchSpace({})}, "^search needs at least one flag"),
        (
            {"space": SearchSpace.parse(["lambda:1..2"])},
            "^A grid takes lists of values, but lambda has a range.$",
        ),
        ({"space": SearchSpace.parse(["k:2,999"])}, "A batch of 32 is too small to mix k = 999"),
    ],
)
def test_what_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_tuner(
            **{"config": tiny_config("x"), "space": SPACE, "directory": tmp_path, **arguments}
        )
    assert not list(tmp_path.iterdir())


def test_every_way_of_searching_is_tested():
    assert ORACLES.names() == ["bayesian", "grid", "hyperband", "random"]


@pytest.mark.slow
def test_real_runs(tmp_path, monkeypatch, tiny):
    """Their scores are those of their results, and best.cfg runs as it is."""
    monkeypatch.setattr(experiments, "evaluate", lambda model, data, probes: {})
    space = SearchSpace.parse(["mixer:mixup,bernoulli(probability='example')", "k:2"])
    made = search(tmp_path, space, tiny_config("unused", architecture=tiny))
    for trial in made.oracle.trials.values():
        folder = RunFolder(made.trial_config(trial).run_dir)
        results = json.loads(folder.results.read_text())
        assert trial.score == pytest.approx(results["best_val_probe_accuracy"])
    model = made.load_model(next(iter(made.oracle.trials.values())))
    assert np.isfinite(model.encode(np.zeros((1, 8, 8, 1)))).all()
    best = max(made.oracle.trials.values(), key=lambda trial: trial.score)
    config = read_flagfile(write_results(made, space.names, tmp_path))
    assert config.run_dir == str(tmp_path / "best")
    results = experiments.train(config)
    assert results["best_val_probe_accuracy"] == pytest.approx(best.score)


def test_data_without_labels(trained, tmp_path):
    """Nothing to compare trials by: said before anything is trained or written."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 8, 8), "uint8")
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    config = tiny_config(
        "unused", dataset="image_folder", data_dir=str(tmp_path / "photos"), train_subset=None
    )
    with pytest.raises(ValueError, match="^A search compares .* 'image_folder' has no labels"):
        make_tuner(config, SPACE, tmp_path / "search")
    assert not trained and not (tmp_path / "search").exists()
