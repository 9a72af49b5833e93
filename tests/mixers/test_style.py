"""Style mixup: layouts and looks, each mixed with coefficients of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR
from amr_tf.mixers import CompositeMixer, StyleMixup
from amr_tf.models.acai import ACAI
from tests.mixers.common import codes_of, drawn, generators
from tests.models.helpers import SHAPE, X, Y, make, save_and_continue, values

CODE = (4, 4, 3)


EACH = {"shared_scale": False}  # As in adaptive instance normalisation.


def mixed(codes, layout, look, k=2, contrast=0.0, **settings):
    """Mixes of each code with the next ones, with the same coefficients for all examples."""
    permutations = np.stack([np.roll(np.arange(len(codes)), -shift) for shift in range(k)])
    coefficients = np.stack([layout, look], axis=-1).astype("float32").reshape(1, k, 1, 1, 2)
    coefficients = np.repeat(coefficients, len(codes), axis=0)
    mixer = StyleMixup(k, contrast=contrast, **settings)
    made, returned = mixer(tf.constant(codes), permutations, coefficients)
    np.testing.assert_array_equal(returned, coefficients)
    return np.asarray(made)


def look_of(codes):
    return codes.mean(axis=(1, 2)), codes.std(axis=(1, 2))


def layout_of(codes):
    mean, deviation = look_of(codes)
    return (codes - mean[:, None, None]) / deviation[:, None, None]


def spread_codes():
    """Codes with means and spreads of their own, for each example and map."""
    scales = np.random.default_rng(3).uniform(0.5, 2, (6, 1, 1, 3)).astype("float32")
    return codes_of(CODE, 6) * scales + np.arange(6, dtype="float32")[:, None, None, None]


def test_all_maps_are_scaled_by_the_same_factor():
    codes = spread_codes()
    (mean, deviation), (wanted, other) = look_of(codes), look_of(np.roll(codes, -1, axis=0))
    made = mixed(codes, [1, 0], [0, 1])
    factor = np.exp(np.log(other / deviation).mean(axis=-1))[:, None, None, None]
    assert np.abs(np.log(factor)).max() > 0.3
    assert np.log(other / deviation).std(axis=-1).max() > 0.3  # Of a factor for each map.
    np.testing.assert_allclose(
        made, (codes - mean[:, None, None]) * factor + wanted[:, None, None], rtol=1e-3, atol=1e-3
    )


def test_half_of_each_layout_and_a_part_of_each_look_with_the_same_factors():
    codes = codes_of((16, 16, 3), 8) * np.array([1, 2, 5], "float32")
    each = [look_of(codes), look_of(np.roll(codes, -1, axis=0))]
    scales = [np.exp(np.log(deviation).mean(axis=-1)) for _, deviation in each]
    layouts = [
        (images - mean[:, None, None]) / scale[:, None, None, None]
        for images, (mean, _), scale in zip((codes, np.roll(codes, -1, axis=0)), each, scales)
    ]
    both = (layouts[0] + layouts[1]) / 2
    spread = (np.square(layouts[0]) + np.square(layouts[1])).mean(axis=(1, 2)) / 2
    longer = np.exp(np.log(np.sqrt(spread) / both.std(axis=(1, 2))).mean(axis=-1))
    factor = longer * (0.25 * scales[0] + 0.75 * scales[1])
    mean = 0.25 * each[0][0] + 0.75 * each[1][0]
    np.testing.assert_allclose(
        mixed(codes, [0.5, 0.5], [0.25, 0.75]),
        both * factor[:, None, None, None] + mean[:, None, None],
        rtol=1e-3,
        atol=1e-3,
    )


def test_the_layout_of_one_with_the_look_of_another():
    codes = spread_codes()
    made = mixed(codes, [1, 0], [0, 1], **EACH)
    for found, wanted in zip(look_of(made), look_of(np.roll(codes, -1, axis=0))):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layout_of(made), layout_of(codes), atol=1e-3)
    # Neither of the parents.
    assert min(np.abs(made - parent).max() for parent in (codes, np.roll(codes, -1, 0))) > 0.5


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("layout", "look", "together"),
    [([1, 0], [0, 1], 0.0), ([0.5, 0.5], [0.25, 0.75], 0.5), ([0.2, 0.8], [0.9, 0.1], 0.26)],
)
def test_contrast_grows_where_layout_and_look_are_not_one_codes(layout, look, together, shared):
    codes = codes_of(CODE, 6)
    plain, made = (
        mixed(codes, layout, look, contrast=contrast, shared_scale=shared)
        for contrast in (0.0, 0.3)
    )
    (mean, deviation), (same_mean, larger) = look_of(plain), look_of(made)
    np.testing.assert_allclose(same_mean, mean, atol=1e-5)
    np.testing.assert_allclose(larger, deviation * (1 + 0.3 * (1 - together)), rtol=1e-4)
    np.testing.assert_allclose(layout_of(made), layout_of(plain), atol=1e-4)


def test_settings():
    default = StyleMixup()
    assert (default.contrast, default.shared_scale) == (0.1, True)
    for shared in (True, False):
        config = StyleMixup(contrast=0.25, shared_scale=shared).get_config()
        again = StyleMixup.from_config(config)
        assert (again.contrast, again.shared_scale) == (0.25, shared)
    del config["contrast"], config["shared_scale"]  # As in older files, whose mixes stay the same.
    older = StyleMixup.from_config(config)
    assert (older.contrast, older.shared_scale) == (0.0, False)
    with pytest.raises(ValueError, match=r"contrast must be .*-1"):
        StyleMixup(contrast=-1)
    with pytest.raises(ValueError, match="shared_scale must be .*'no'"):
        StyleMixup(shared_scale="no")


@pytest.mark.parametrize("shares", [[1.5, -0.5], [3, -2]])
@pytest.mark.parametrize("shared", [True, False])
def test_beyond_the_parents(shares, shared):
    """Contrast is in bounds, and so are deviations."""
    codes = spread_codes()
    plain, made = (
        mixed(codes, shares, shares, contrast=contrast, shared_scale=shared)
        for contrast in (0.0, 1.0)
    )
    np.testing.assert_allclose(made, plain, atol=1e-5)
    made = mixed(codes, shares, [1, 0], shared_scale=shared)
    ratio = made.std(axis=(1, 2)) / codes.std(axis=(1, 2))
    assert 0.8 < np.exp(np.log(ratio).mean()) < 1.25


def test_maps_that_are_flat_in_one_image_do_not_scale_the_others():
    """A grey image's maps of colours, for example."""
    codes = codes_of((4, 4, 16), 6)
    codes[:3, ..., :4] = 1.0
    made = mixed(codes, [1, 0], [0, 1])[..., 4:]
    ratio = made.std(axis=(1, 2, 3)) / codes[..., 4:].std(axis=(1, 2, 3))
    assert ratio.min() > 0.5 and ratio.max() < 2


@pytest.mark.parametrize("parent", [0, 1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_all_of_one_parent_is_that_parent(parent, shared):
    codes, chosen = codes_of(CODE, 6), np.eye(3)[parent]
    made = mixed(codes, chosen, chosen, k=3, shared_scale=shared)
    np.testing.assert_allclose(made, np.roll(codes, -parent, axis=0), atol=1e-5)


def test_a_mix_of_layouts_has_their_spread_and_of_looks_their_mean():
    codes = codes_of((16, 16, 3), 8)
    made = mixed(codes, [0.5, 0.5], [0.25, 0.75], **EACH)
    (mean, deviation), (mean_next, deviation_next) = (
        look_of(codes),
        look_of(np.roll(codes, -1, axis=0)),
    )
    found = look_of(made)
    np.testing.assert_allclose(found[0], 0.25 * mean + 0.75 * mean_next, atol=1e-4)
    np.testing.assert_allclose(found[1], 0.25 * deviation + 0.75 * deviation_next, rtol=1e-3)
    both = layout_of(codes) + layout_of(np.roll(codes, -1, axis=0))
    np.testing.assert_allclose(layout_of(made), layout_of(both), atol=1e-3)


def test_a_code_mixed_with_itself_stays():
    codes = codes_of(CODE, 4)
    made, _ = StyleMixup(3, seed=1, contrast=0.3)(codes, np.tile(np.arange(4), (3, 1)))
    np.testing.assert_allclose(made, codes, atol=1e-5)
    # Also of one layout and another's look, where both are the same code.
    swap = np.zeros((4, 2, 1, 1, 2), "float32")
    swap[:, 0, ..., 0] = swap[:, 1, ..., 1] = 1
    permutations = np.array([[0, 1, 2, 3], [0, 2, 1, 3]])
    made, _ = StyleMixup(contrast=0.3)(codes, permutations, swap)
    apart = np.abs(made - codes).max(axis=(1, 2, 3))
    assert max(apart[[0, 3]]) < 1e-5 < 0.1 < min(apart[[1, 2]])


@pytest.mark.parametrize("columns", [1, 3])
def test_one_set_of_coefficients_is_for_both(columns):
    codes = codes_of(CODE, 6)
    permutations = np.stack([np.arange(6), np.roll(np.arange(6), -1)])
    shares = np.tile(np.float32([0.3, 0.7])[None, :, None, None, None], (6, 1, 1, 1, columns))
    mixer = StyleMixup(contrast=0.0)
    made, _ = mixer(codes, permutations, shares)
    np.testing.assert_allclose(made, mixed(codes, [0.3, 0.7], [0.3, 0.7]), atol=1e-6)
    unknown = tf.TensorSpec((None, 2, None, None, None), "float32")
    graph = tf.function(
        lambda given: mixer(tf.constant(codes), permutations, given)[0],
        input_signature=[unknown],
    )
    np.testing.assert_allclose(graph(shares), made, atol=1e-6)
    swap = np.float32([[1, 0], [0, 1]]).reshape(1, 2, 1, 1, 2).repeat(6, axis=0)
    np.testing.assert_allclose(graph(swap), mixed(codes, [1, 0], [0, 1]), atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_whole_maps_stay_as_they_are(shared):
    codes = codes_of(CODE, 6)
    permutations = np.stack([np.arange(6), np.roll(np.arange(6), -1)])
    chosen = np.zeros((6, 2, 1, 1, 3), "float32")
    chosen[:, 0, ..., :2] = chosen[:, 1, ..., 2:] = 1
    made, _ = StyleMixup(shared_scale=shared)(codes, permutations, chosen)
    wanted = np.concatenate([codes[..., :2], np.roll(codes, -1, axis=0)[..., 2:]], axis=-1)
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_both_sets_are_drawn_apart_and_sum_to_one():
    coefficients = drawn(StyleMixup(3, seed=1), CODE, 500)
    assert coefficients.shape == (500, 3, 1, 1, 2)
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, atol=1e-5)
    assert abs(np.corrcoef(coefficients[:, 0, 0, 0].T)[0, 1]) < 0.15
    mixer = StyleMixup(seed=1)
    before = generators(mixer)
    codes = tf.constant(codes_of(CODE, 6))
    one, again = (np.asarray(mixer.mix_batch(codes, seed=5)[0]) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(before, generators(mixer))


@pytest.mark.parametrize("shared", [True, False])
def test_flat_maps_stay_finite(shared):
    codes = np.zeros((4, *CODE), "float32")
    codes[1] = 1.0
    with tf.GradientTape() as tape:
        given = tf.constant(codes)
        tape.watch(given)
        made, _ = StyleMixup(seed=1, shared_scale=shared)(given)
        loss = tf.reduce_sum(made**2)
    assert np.isfinite(np.asarray(made)).all()
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, given))).all()


def test_graph_and_precision():
    mixer = StyleMixup(3, seed=1, dtype="mixed_bfloat16")
    signature = tf.TensorSpec((None, *CODE), "float32")
    concrete = tf.function(lambda codes: mixer(codes)).get_concrete_function(signature)
    for count in (1, 5):
        made, coefficients = concrete(tf.ones((count, *CODE)))
        np.testing.assert_allclose(tf.cast(made, "float32"), np.ones((count, *CODE)), atol=2e-2)
        assert (made.dtype, coefficients.dtype) == (tf.bfloat16, tf.float32)
        assert coefficients.shape == (count, 3, 1, 1, 2)
    made, coefficients = mixer(keras.Input(CODE))
    assert (made.shape, coefficients.shape) == ((None, *CODE), (None, 3, 1, 1, 2))


def test_it_trains_saves_and_leads_the_interpolation(tmp_path):
    model = make(AMR, "style", latent_channels=4)
    before = values(model.encoder.trainable_variables)
    model.train_on(X, Y)
    assert not np.array_equal(before[0], values(model.encoder.trainable_variables)[0])
    save_and_continue(model, tmp_path / "model.keras")
    made = model.interpolate(X[:2], X[2:4], 3)
    codes = [model.encode(images) for images in (X[:2], X[2:4])]
    permutations, halves = [[0, 1, 2, 3], [2, 3, 0, 1]], np.full((4, 2, 1, 1, 1), 0.5, "float32")
    middle = model.mixer(np.concatenate(codes), np.array(permutations), halves)[0]
    np.testing.assert_allclose(made[:, 1], model.decode(np.asarray(middle)[:2]), atol=1e-5)
    np.testing.assert_allclose(made[:, 0], model.reconstruct(X[:2]), atol=1e-4)
    np.testing.assert_allclose(made[:, 2], model.reconstruct(X[2:4]), atol=1e-4)


def test_what_it_cannot_be_used_for():
    with pytest.raises(ValueError, match=r"^StyleMixup needs codes \(N, H, W, C\), since it takes"):
        StyleMixup().build((None, 7))
    with pytest.raises(ValueError, match="^StyleMixup needs codes of at least 3 feature maps; got"):
        StyleMixup().build((None, 4, 4, 2))
    with pytest.raises(ValueError, match="^StyleMixup has a combine of its own and cannot join"):
        CompositeMixer(("style", "mixup"))
    with pytest.raises(ValueError, match="^ACAI needs one mixing coefficient in"):
        ACAI.convolutional(SHAPE, depth=2, mixer="style", latent_channels=4)


def test_shares_of_the_look():
    coefficients = np.random.default_rng(0).dirichlet([1, 1], (5, 3)).astype("float32")
    both = coefficients.swapaxes(1, 2)[:, :, None, None]  # (5, 2, 1, 1, 3)
    mixer = StyleMixup()
    np.testing.assert_allclose(mixer.look_shares(both[..., :2]), both[:, :, 0, 0, 1])
    np.testing.assert_allclose(mixer.look_shares(both[..., :1]), both[:, :, 0, 0, 0])
    shared = mixer.look_shares(both)  # One for each of three maps.
    np.testing.assert_allclose(shared, both[:, :, 0, 0].mean(axis=-1), rtol=1e-6)
