"""Runs side by side: captions, and what cannot be compared."""

import pytest

from amr_tf.runs import comparison
from amr_tf.runs.comparison import caption_of, captions_of, data_caption_of, load_runs
from amr_tf.runs.config import TrainingConfig


@pytest.mark.parametrize(
    ("settings", "caption"),
    (
        ({}, "AMR mixup k=2"),
        ({"mixer": "bernoulli", "k": 3}, "AMR Bernoulli k=3"),
        ({"mixer": "bernoulli(probability='example')"}, "AMR Bernoulli k=2"),
        ({"mixer": "none"}, "AMR"),
        ({"method": "ae_gan"}, "AE+GAN"),
        ({"method": "acai"}, "ACAI"),
        ({"method": "acai_original(critic_blend=0.5)"}, "ACAI (original)"),
        ({"method": "pixel_mixup"}, "pixel-space AMR mixup k=2"),
        ({"method": "supervised_amr"}, "supervised AMR"),
        ({"method": "supervised_amr", "mixer": "mixup"}, "supervised AMR mixup k=2"),
        ({"method": "gaia"}, "GAIA"),
        ({"method": "beta_vae"}, "beta-VAE"),
    ),
)
def test_captions(settings, caption):
    assert caption_of(TrainingConfig(**settings)) == caption


@pytest.mark.parametrize(
    ("settings", "caption"),
    [
        ({"dataset": "image_folder(fit='pad')", "data_dir": "holidays/2026"}, "2026"),
        ({"dataset": "attribute_folder", "data_dir": "~/faces/"}, "faces"),
        ({"dataset": "zappos", "data_dir": "holidays/2026"}, "zappos"),
        ({"dataset": "celeba(crop=140)", "data_dir": "/data"}, "celeba"),
        ({"dataset": "celeba(crop=150)"}, "celeba(crop=150)"),
    ],
)
def test_data_are_called_by_their_folder(settings, caption):
    assert data_caption_of(TrainingConfig(**settings)) == caption


def test_equal_captions_get_the_folder():
    amr, gan = TrainingConfig(), TrainingConfig(method="ae_gan")
    found = captions_of({"a/one": amr, "a/two": amr, "b/gan": gan})
    assert found == {
        "a/one": "AMR mixup k=2 (one)",
        "a/two": "AMR mixup k=2 (two)",
        "b/gan": "AE+GAN",
    }
    found = captions_of({"a/one": amr, "b/one": amr})
    assert found == {"a/one": "AMR mixup k=2 (a/one)", "b/one": "AMR mixup k=2 (b/one)"}


class Model:
    def __init__(self, image_shape):
        self.image_shape = image_shape


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Writes runs' configs; models have the shape of `image_size`; data are what is asked for."""
    monkeypatch.chdir(tmp_path)

    def load_run(path, epoch):
        config = comparison.RunFolder(path).read_config()
        size = config.image_size or 16
        return config, Model((size, size, 1))

    class Data:
        test = object()

        def __init__(self, config):
            self.config = config
            self.test = None if config.dataset == "image_folder" else object()

    monkeypatch.setattr(comparison, "load_run", load_run)
    monkeypatch.setattr(comparison, "load_run_data", lambda path, config, **_: Data(config))

    def write(**settings):
        for name, values in settings.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text(TrainingConfig(**values).to_json())
        return list(settings)

    return write


def test_runs_are_loaded_in_order(fake):
    paths = fake(one={"image_size": 16}, two={"method": "ae_gan"})
    models, data, config = load_runs(paths[::-1])
    assert list(models) == ["AE+GAN", "AMR mixup k=2"]
    assert config.method == "ae_gan"
    assert data.config == config


@pytest.mark.parametrize(
    ("settings", "message"),
    (
        ({"dataset": "mnist"}, "dataset is digits in 'one' and mnist in 'two'."),
        ({"data_dir": "x"}, "data_dir is None in 'one' and x in 'two'; --data_dir says where"),
        ({"image_size": 32}, r"shape \(16, 16, 1\) in 'one' and \(32, 32, 1\) in 'two'."),
    ),
)
def test_runs_on_other_images(fake, settings, message):
    with pytest.raises(ValueError, match=message):
        load_runs(fake(one={}, two=settings))


def test_crops_must_agree(fake):
    calls = ("image_folder", "image_folder(crop=4)")
    one, two = ({"dataset": call, "data_dir": "photos"} for call in calls)
    message = r"dataset is image_folder\(.*\) in 'one' and image_folder\(.*crop=4.*\) in 'two'\."
    with pytest.raises(ValueError, match=message):
        load_runs(fake(one=one, two=two))


def test_attributes_must_agree_where_they_are_drawn(fake):
    calls = [f"celeba_hq(attributes=({names}), crop=9)" for names in ("'a', 'b'", "'b', 'a'")]
    one, two = ({"dataset": call, "data_dir": "photos"} for call in calls)
    # The same call, written in another way.
    other = {**one, "dataset": "celeba_hq(crop=9, attributes=['a', 'b'])"}
    paths = fake(one=one, two=two, other=other)
    assert len(load_runs(paths)[0]) == 3
    assert len(load_runs([paths[0], paths[2]], same_labels=True)[0]) == 2
    with pytest.raises(ValueError, match="'a', 'b'.* in 'one' and .*'b', 'a'.* in 'two'"):
        load_runs(paths[:2], same_labels=True)


def test_validation_images_must_be_the_same_where_there_is_no_test(fake):
    common = {"dataset": "image_folder", "data_dir": "photos"}
    paths = fake(one=common, two={**common, "seed": 1}, three={**common, "method": "ae_gan"})
    with pytest.raises(ValueError, match="seed is 0 in 'one' and 1 in 'two'"):
        load_runs(paths[:2])
    assert len(load_runs([paths[0], paths[2]])[0]) == 2


def test_seeds_may_differ_where_there_is_a_test(fake):
    models, _, _ = load_runs(fake(one={}, two={"seed": 1}))
    assert list(models) == ["AMR mixup k=2 (one)", "AMR mixup k=2 (two)"]


def test_data_dir_overrides(fake, tmp_path):
    paths = fake(one={"data_dir": "x"}, two={"data_dir": "y"})
    (tmp_path / "here").mkdir()
    _, data, config = load_runs(paths, "here")
    assert config.data_dir == data.config.data_dir == "here"
    with pytest.raises(FileNotFoundError, match="--data_dir 'nowhere' is not a folder"):
        load_runs(paths, "nowhere")


def test_wrong_folders(fake):
    paths = fake(one={})
    with pytest.raises(FileNotFoundError, match="'nowhere' is not a run folder"):
        load_runs([*paths, "nowhere"])
    with pytest.raises(ValueError, match="Run 'one' is given twice"):
        load_runs(["one", "one"])
