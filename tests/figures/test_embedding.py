"""Maps of codes: their geometry, colours, legends and what is refused."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from amr_tf.figures import embedding
from amr_tf.figures.embedding import codes_figure, embed_codes


def blobs(sizes=(20, 20, 20), shape=(2, 2, 3)):
    """Codes in far clusters, and which each is of."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = generator.normal(scale=20, size=(len(sizes), *shape))
    return (centres[labels] + generator.normal(size=(len(labels), *shape))).astype("f4"), labels


class Coder:
    """In place of a model: codes are given instead of images."""

    def encode(self, images):
        return images


def nearest_is_of_the_same(points, labels):
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    return (labels[distances.argmin(axis=1)] == labels).mean()


def test_embedding_keeps_clusters():
    codes, labels = blobs((7, 7, 7))
    components, shares, tsne = embed_codes(codes)
    assert components.shape == tsne.shape == (21, 2)
    assert nearest_is_of_the_same(components, labels) == 1
    assert nearest_is_of_the_same(tsne, labels) == 1
    assert 1 >= shares[0] > shares[1] > 0
    again = embed_codes(codes)
    np.testing.assert_array_equal(tsne, again[2])


@pytest.mark.usefixtures("quick")
def test_components_are_those_of_the_covariance():
    codes, _ = blobs()
    components, shares, _ = embed_codes(codes)
    flat = codes.reshape(60, -1).astype("float64")
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    expected = (flat - flat.mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(components), np.abs(expected), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(shares, values[[-1, -2]] / values.sum(), rtol=1e-4)


def test_four_codes_are_enough():
    _, _, tsne = embed_codes(np.random.default_rng(0).normal(size=(4, 3)))
    assert np.isfinite(tsne).all()


@pytest.mark.parametrize(
    ("codes", "message"),
    (
        (np.ones((3, 5)), "at least 4 of them; got 3"),
        (np.arange(9.0).reshape(9, 1), "codes of at least 2 numbers"),
        (np.full((9, 2), np.nan), "NaN or infinite"),
        (np.ones((9, 5)), "all are equal"),
    ),
)
def test_codes_that_make_no_map(codes, message):
    with pytest.raises(ValueError, match=message):
        embed_codes(codes)


@pytest.fixture
def quick(monkeypatch):
    """In place of t-SNE, which is slow: some of the components."""

    class First:
        def __init__(self, **arguments):
            pass

        def fit_transform(self, codes):
            return codes[:, [1, 0]]

    monkeypatch.setattr(embedding, "TSNE", First)


def legends(figure):
    found = [axes.get_legend() for axes in figure.axes]
    return [[text.get_text() for text in one.get_texts()] for one in found if one is not None]


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


@pytest.mark.usefixtures("quick")
def test_classes_have_colours_and_a_legend():
    codes, labels = blobs()
    names = ("shirt", "shoe", "bag of a very long name")
    figure = codes_figure({"AMR": Coder()}, codes, labels, names, "Title")
    assert titles(figure) == ["AMR: PCA", "AMR: t-SNE"]
    assert legends(figure) == [["shirt", "shoe", "bag of a very lon…"]]
    components, shares, tsne = embed_codes(codes)
    for axes, points in zip(figure.axes, (components, tsne)):
        assert len(axes.collections) == 3
        colours = {tuple(group.get_facecolor()[0]) for group in axes.collections}
        assert len(colours) == 3
        for number, group in enumerate(axes.collections):
            np.testing.assert_allclose(group.get_offsets(), points[labels == number])
    assert f"{shares[0]:.0%} of the variance" in figure.axes[0].get_xlabel()


@pytest.mark.usefixtures("quick")
def test_names_are_no_formulas():
    codes, labels = blobs()
    names = ["$5", "$x$", "$\\frac$"]
    figure = codes_figure({"$y$": Coder()}, codes, labels, names, title="$\\frac$")
    drawn = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert {text.get_text() for text in drawn} == {"$\\frac$", *names, "$y$: PCA", "$y$: t-SNE"}
    assert not any(text.get_parse_math() for text in drawn)
    figure.canvas.draw()


@pytest.mark.usefixtures("quick")
def test_unknown_labels_are_grey():
    codes, labels = blobs()
    labels = np.where(np.arange(60) % 4 == 0, -1, labels)
    figure = codes_figure(Coder(), codes, labels, ("a", "b", "c"))
    assert legends(figure) == [["unknown", "a", "b", "c"]]
    first = figure.axes[0].collections[0]
    assert len(first.get_offsets()) == 15
    np.testing.assert_allclose(first.get_facecolor()[0], to_rgba("0.8"))


@pytest.mark.usefixtures("quick")
def test_without_labels_there_is_one_colour():
    codes, _ = blobs()
    figure = codes_figure({"one": Coder(), "two": Coder()}, codes)
    assert titles(figure) == ["one: PCA", "one: t-SNE", "two: PCA", "two: t-SNE"]
    assert legends(figure) == []
    assert [len(axes.collections) for axes in figure.axes] == [1] * 4


@pytest.mark.usefixtures("quick")
def test_a_row_for_each_of_four_attributes():
    codes, labels = blobs()
    attributes = np.random.default_rng(1).integers(0, 2, (60, 5))
    figure = codes_figure({"": Coder()}, codes, attributes, tuple("vwxyz"))
    assert titles(figure) == [f"{name}: {kind}" for name in "vwxy" for kind in ("PCA", "t-SNE")]
    assert legends(figure) == [["no", "yes"]] * 4
    for row in range(4):
        groups = figure.axes[2 * row].collections
        assert [len(group.get_offsets()) for group in groups] == [
            (attributes[:, row] == value).sum() for value in (0, 1)
        ]


@pytest.mark.usefixtures("quick")
def test_thirty_classes_have_thirty_colours():
    codes, labels = blobs((3,) * 30)
    figure = codes_figure(Coder(), codes, labels, [str(number) for number in range(30)])
    colours = {tuple(group.get_facecolor()[0]) for group in figure.axes[0].collections}
    assert len(colours) == 30


@pytest.mark.usefixtures("quick")
def test_a_model_and_its_images(model):
    images = np.random.default_rng(0).uniform(-1, 1, (12, 8, 8, 1)).astype("float32")
    figure = codes_figure(model, images)
    expected = embed_codes(model.encode(images))[0]
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), expected, atol=1e-6)


@pytest.mark.usefixtures("quick")
def test_labels_that_do_not_fit():
    codes, labels = blobs()
    with pytest.raises(ValueError, match="labels need class_names"):
        codes_figure(Coder(), codes, labels)
    with pytest.raises(ValueError, match="labels must lie in 0 to 1"):
        codes_figure(Coder(), codes, labels, ("a", "b"))
    with pytest.raises(ValueError, match=r"labels must have the shape \(60,\)"):
        codes_figure(Coder(), codes, labels[:9], ("a", "b", "c"))
