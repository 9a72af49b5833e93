"""One preprocessing: reading a folder, calling it on a file, and in a graph."""

import functools
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from amr_tf import AMR
from amr_tf.data import ImagePreprocessor, load
from amr_tf.data.image_store import read_files
from amr_tf.data.preprocessing import for_arrays

SIZE = 16
BACKGROUND = "#3060a0"
EXIF_TURNED = 6
TOLERANCE = 0.02


def scene(width=80, height=60):
    """A smooth picture in colours, different in each corner."""
    draws = np.random.default_rng(0)
    coarse = Image.fromarray(draws.integers(0, 256, (6, 8, 3), dtype="uint8"))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def see_through(image):
    """The image with an alpha of its red channel."""
    image = image.copy()
    image.putalpha(image.getchannel(0))
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned():
    """A 4:3 JPEG of a camera that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = EXIF_TURNED
    return encoded(scene(), "JPEG", exif=exif, quality=95)


def sixteen_bits():
    grey = np.asarray(scene().convert("L"), "uint16")
    # Not what 8 bits would be, and not beyond 16.
    return encoded(Image.fromarray(np.minimum(grey, 254) * np.uint16(257) + np.uint16(90)), "PNG")


CASES = {
    "EXIF 6 JPEG": turned,
    "JPEG": lambda: encoded(scene(), "JPEG"),
    "grey JPEG": lambda: encoded(scene().convert("L"), "JPEG"),
    "CMYK JPEG": lambda: encoded(scene().convert("CMYK"), "JPEG", quality=95),
    "PNG": lambda: encoded(scene(), "PNG"),
    "high PNG": lambda: encoded(scene(30, 90), "PNG"),
    "small PNG": lambda: encoded(scene(11, 7), "PNG"),
    "transparent PNG": lambda: encoded(see_through(scene()), "PNG"),
    "transparent grey PNG": lambda: encoded(see_through(scene()).convert("LA"), "PNG"),
    "16-bit PNG": sixteen_bits,
    "grey PNG": lambda: encoded(scene().convert("L"), "PNG"),
    "1-bit PNG": lambda: encoded(scene().convert("1"), "PNG"),
    "palette PNG": lambda: encoded(scene().quantize(64), "PNG"),
    "4-bit palette PNG": lambda: encoded(scene().quantize(16), "PNG", bits=4),
    "transparent palette PNG": lambda: encoded(scene().quantize(16), "PNG", transparency=3),
}


@functools.cache
def contents_of(case):
    return CASES[case]()


def upright(contents):
    """What a client sends: the file, or a PNG of it where the camera was turned."""
    with Image.open(io.BytesIO(contents)) as image:
        if image.getexif().get(0x0112, 1) == 1:
            return contents
        return encoded(ImageOps.exif_transpose(image), "PNG", exif=b"")


@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize("fit", ("crop", "pad", "stretch"))
@pytest.mark.parametrize("crop", (None, 30))
def test_a_file_is_the_same_everywhere(tmp_path, channels, fit, crop):
    preprocessor = ImagePreprocessor(SIZE, channels, fit, crop, BACKGROUND)
    signature = [tf.TensorSpec((), "string")]
    graph = tf.function(preprocessor.in_graph, input_signature=signature)
    for case in CASES:
        if crop and case == "small PNG":
            continue
        contents = contents_of(case)
        path = tmp_path / f"{case}.{'jpg' if 'JPEG' in case else 'png'}"
        path.write_bytes(contents)
        called = preprocessor(path)
        assert (called.shape, called.dtype) == ((SIZE, SIZE, channels), np.float32), case
        assert abs(called).max() <= 1
        np.testing.assert_array_equal(preprocessor(contents), called)
        with Image.open(path) as image:
            np.testing.assert_array_equal(preprocessor(image), called)
        (read,) = preprocessor.batch([path])
        assert read.dtype == np.uint8
        np.testing.assert_allclose(read / 127.5 - 1, called, atol=1e-6)
        in_graph = graph(tf.constant(upright(contents)))
        assert in_graph.shape == (SIZE, SIZE, channels)
        assert abs(in_graph.numpy() - called).max() <= TOLERANCE, case


def test_a_folder_is_read_as_files_are(tmp_path):
    for case in CASES:
        path = tmp_path / f"{case}.{'jpg' if 'JPEG' in case else 'png'}"
        path.write_bytes(contents_of(case))
    call = f"image_folder(fit='pad', background={BACKGROUND!r})"
    data = load(call, data_dir=str(tmp_path), image_size=SIZE)
    assert data.preprocessor == ImagePreprocessor(SIZE, 3, "pad", background=BACKGROUND)
    read = np.concatenate([data.train.images, data.validation.images])
    called = data.preprocessor.batch(sorted(tmp_path.iterdir()))
    assert sorted(image.tobytes() for image in read) == sorted(image.tobytes() for image in called)


QUARTERS = Image.fromarray(np.kron([[0, 255], [128, 64]], np.ones((30, 40))).astype("uint8"))


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        # The central square of 60 holds 30 of 40 columns on each side.
        ("crop", [[0, 0, 255, 255], [0, 0, 255, 255], [128, 128, 64, 64], [128, 128, 64, 64]]),
        # 4 x 3 pixels: padded below, as is what is left over.
        ("pad", [[0, 0, 255, 255], [64, 64, 160, 160], [128, 128, 64, 64], [9, 9, 9, 9]]),
        ("stretch", [[0, 0, 255, 255], [0, 0, 255, 255], [128, 128, 64, 64], [128, 128, 64, 64]]),
    ],
)
def test_values_by_hand(fit, expected):
    preprocessor = ImagePreprocessor(4, 1, fit, background="#090909")
    made = preprocessor.pixels(QUARTERS)[..., 0].astype(int)
    # The triangle reaches into the pixel beside it: the middle may be a little of both.
    assert abs(made - expected)[:, [0, 3]].max() <= 33
    assert abs(made - expected)[0, 0] == 0
    if fit == "pad":
        assert made[3].tolist() == [9] * 4


def test_padding_is_centred():
    made = ImagePreprocessor(8, fit="pad", background="red").pixels(Image.new("L", (80, 40), 255))
    assert (made[:2] == (255, 0, 0)).all()
    assert (made[-2:] == (255, 0, 0)).all()
    assert (made[2:6] == 255).all()


def test_luminance():
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    expected = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    preprocessor = ImagePreprocessor(4, channels=1)
    assert (preprocessor.pixels(image) == round(expected)).all()
    in_graph = preprocessor.in_graph(encoded(image, "PNG"))
    np.testing.assert_allclose(in_graph, expected / 127.5 - 1, atol=1e-5)


def test_pixels_of_the_models_size_stay_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype="uint8")
    image = Image.fromarray(pixels)
    for fit in ("crop", "pad", "stretch"):
        preprocessor = ImagePreprocessor(SIZE, fit=fit)
        np.testing.assert_array_equal(preprocessor.pixels(image), pixels)
        in_graph = preprocessor.in_graph(encoded(image, "PNG"))
        np.testing.assert_allclose(in_graph, pixels / 127.5 - 1, atol=1e-6)


def test_a_16_bit_image_with_a_transparent_value():
    grey = np.full((8, 8), 40_000, "uint16")
    grey[4:] = 1_000
    contents = encoded(Image.fromarray(grey), "PNG", transparency=1_000)
    preprocessor = ImagePreprocessor(8, 1, background="white")
    made = preprocessor.pixels(contents)
    assert (made[:4] == round(40_000 / 257)).all()
    assert (made[4:] == 255).all()
    assert abs(preprocessor.in_graph(contents).numpy() - preprocessor(contents)).max() <= TOLERANCE


def test_floating_point_pixels_are_refused():
    contents = encoded(Image.fromarray(np.zeros((4, 4), "float32")), "TIFF")
    with pytest.raises(ValueError, match="pixels are floating-point numbers, whose range is not"):
        ImagePreprocessor(4)(contents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "^image_size must be a positive integer; got 0"),
        ({"channels": 4}, "^channels must be 1 or 3; got 4"),
        ({"fit": "cut"}, "^fit must be 'crop', 'pad' or 'stretch'; got 'cut'"),
        ({"crop": 1.5}, "^crop must be a positive integer; got 1.5"),
        ({"background": "colourless"}, "^background must be a colour, .*; got 'colourless'"),
        ({"background": 7}, "^background must be a colour, .*; got 7"),
        ({"max_pixels": -1}, "^max_pixels must be a positive integer; got -1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImagePreprocessor(**{"image_size": 8, **arguments})


def test_a_picture_that_is_smaller_than_the_crop(tmp_path):
    preprocessor = ImagePreprocessor(8, crop=61)
    path = tmp_path / "1.png"
    path.write_bytes(contents_of("PNG"))
    message = f"^crop = 61 is more than the 80 x 60 pixels of '{path}'"
    with pytest.raises(ValueError, match=message):
        preprocessor(path)
    with pytest.raises(ValueError, match=message):  # A wrong setting, and no damaged file.
        read_files([path], tmp_path, preprocessor, "skip")
    with pytest.raises(tf.errors.InvalidArgumentError, match="crop = 61 is more than the pixels"):
        preprocessor.in_graph(contents_of("PNG"))


def test_it_is_saved():
    preprocessor = ImagePreprocessor(8, 1, "pad", 20, "#102030", 1_000)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(preprocessor))
    assert again == preprocessor
    assert again.get_config() == preprocessor.get_config()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), ImagePreprocessor(32, 1)),
        ((40, 20, 3), ImagePreprocessor(32, 3, "stretch")),
        ((28, 28, 2), None),
        ((2,), None),
    ],
)
def test_of_arrays(shape, expected):
    assert for_arrays(shape, 32) == expected


def test_which_data_have_one():
    assert load("digits").preprocessor == ImagePreprocessor(16, 1)
    assert load("digits", image_size=32).preprocessor == ImagePreprocessor(32, 1)
    assert load("spiral").preprocessor is None


def test_digits_from_files_are_those_of_the_pipeline():
    """What `fit` sees of an array is what `encode` makes of a file of it."""
    from amr_tf.data import prepared

    data = load("digits", image_size=16)
    files = [encoded(Image.fromarray(image[..., 0]), "PNG") for image in data.train.images[:8]]
    seen = prepared(data.train, slice(8), 16)
    assert abs(np.stack([data.preprocessor(file) for file in files]) - seen).max() <= TOLERANCE
    in_graph = np.stack([data.preprocessor.in_graph(file) for file in files])
    np.testing.assert_allclose(in_graph, seen, atol=1e-5)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    preprocessor = ImagePreprocessor(8, 3, "pad", background="black")
    return AMR.create(
        (8, 8, 3), "convolutional(depth=2)", model_arguments={"preprocessor": preprocessor}
    )


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.jpg", tmp_path / "b.png"]
    for path, case in zip(paths, ("EXIF 6 JPEG", "transparent PNG"), strict=True):
        path.write_bytes(contents_of(case))
    return paths


def test_a_model_takes_files(model, files):
    images = np.stack([model.preprocessor(path) for path in files])
    codes = model.encode(images)
    np.testing.assert_array_equal(model.encode(files), codes)
    np.testing.assert_array_equal(model.encode(tuple(map(str, files))), codes)
    np.testing.assert_array_equal(model.encode(np.array([str(path) for path in files])), codes)
    np.testing.assert_array_equal(model.encode([path.read_bytes() for path in files]), codes)
    np.testing.assert_array_equal(model.reconstruct(files), model.reconstruct(images))
    np.testing.assert_array_equal(model.mix(files, seed=0), model.mix(images, seed=0))
    np.testing.assert_array_equal(
        model.interpolate(files[:1], files[1:]), model.interpolate(images[:1], images[1:])
    )


def test_a_saved_model_takes_files(model, files, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.preprocessor == model.preprocessor
    np.testing.assert_array_equal(again.encode(files), model.encode(files))


def test_a_model_without_a_preprocessor(model, files):
    other = AMR.create((8, 8, 3), "convolutional(depth=2)", name="mine")
    assert other.preprocessor is None
    for use in (other.encode, other.mix, lambda paths: other.interpolate(paths, paths)):
        with pytest.raises(
            ValueError, match="^'mine' has no preprocessor to read files with: pass"
        ):
            use(files)
    other.preprocessor = model.preprocessor  # As the sentence says.
    assert other.encode(files).shape == (2, 4, 4, 2)
    other.preprocessor = ImagePreprocessor(16)
    with pytest.raises(ValueError, match="^The preprocessor makes images of"):
        other.encode(files)
    with pytest.raises(ValueError, match=r"^images must be a list of files: \['.*a.jpg'\]"):
        model.encode(files[0])


def test_files_that_a_model_cannot_read(model, files, tmp_path):
    with pytest.raises(ValueError, match="nowhere.png' cannot be read as an image"):
        model.encode([files[0], tmp_path / "nowhere.png"])


def test_a_preprocessor_of_another_size():
    wrong = {"preprocessor": ImagePreprocessor(16, 3)}
    message = r"^The preprocessor makes images of \(16, 16, 3\); the model takes \(8, 8, 3\)"
    with pytest.raises(ValueError, match=message):
        AMR.create((8, 8, 3), "convolutional(depth=2)", model_arguments=wrong)
