"""Folders of image files: layouts, kinds of images, what is wrong with a folder."""

import numpy as np
import pytest
from PIL import Image

from amr_tf.data import load
from amr_tf.data.image_folder import read_image_folder
from amr_tf.data.preprocessing import ImagePreprocessor

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def solid(path, colour=RED, size=(8, 8), mode="RGB"):
    """Writes an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def read(folder, image_size, **options):
    """The training and test images and the class names of a folder."""
    source = read_image_folder(folder, ImagePreprocessor(image_size), **options)
    return source.train, source.test, source.class_names


def colours(split):
    """The colour of the middle of each image."""
    size = split.images.shape[1]
    return [tuple(int(v) for v in image[size // 2, size // 2]) for image in split.images]


def assert_solid(image, colour, tolerance=0):
    """All pixels of an (H, W, 3) array have the colour."""
    assert abs(image.astype(int) - np.array(colour)).max() <= tolerance


def test_one_folder_per_class(tmp_path):
    solid(tmp_path / "dog" / "1.png", GREEN)
    solid(tmp_path / "cat" / "1.png", RED)
    solid(tmp_path / "cat" / "2.png", BLUE)
    train, test, names = read(str(tmp_path), 4)
    assert names == ("cat", "dog")
    assert test is None
    assert train.images.shape == (3, 4, 4, 3)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0, 0, 1]
    assert colours(train) == [RED, BLUE, GREEN]


def test_train_and_test_folders(tmp_path):
    for split, files in (("train", 3), ("test", 2)):
        for name, colour in (("a", RED), ("b", BLUE)):
            for number in range(files):
                solid(tmp_path / split / name / f"{number}.png", colour)
    train, test, names = read(tmp_path, 8)
    assert names == ("a", "b")
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert colours(test) == [RED, RED, BLUE, BLUE]


def test_a_train_folder_alone(tmp_path):
    for name in "ab":
        solid(tmp_path / "train" / name / "1.png")
    train, test, names = read(tmp_path, 8)
    assert (len(train), test, names) == (2, None, ("a", "b"))


@pytest.mark.parametrize("below", ("", "train"))
def test_images_without_classes(tmp_path, below):
    solid(tmp_path / below / "b.png", BLUE)
    solid(tmp_path / below / "a.png", RED)
    train, test, names = read(tmp_path, 8)
    assert train.labels is None
    assert test is None
    assert names is None
    assert colours(train) == [RED, BLUE]


def test_train_and_test_without_classes(tmp_path):
    solid(tmp_path / "train" / "a.png", BLUE)
    solid(tmp_path / "test" / "a.png", RED)
    train, test, names = read(tmp_path, 8)
    assert names is None
    assert test.labels is None
    assert (colours(train), colours(test)) == ([BLUE], [RED])


def test_folders_nested_below_a_class_belong_to_it(tmp_path):
    solid(tmp_path / "a" / "x" / "y" / "1.png", RED)
    solid(tmp_path / "b" / "1.png", BLUE)
    solid(tmp_path / "b" / "z" / "1.png", GREEN)
    train, _, names = read(tmp_path, 8)
    assert names == ("a", "b")
    assert train.labels.tolist() == [0, 1, 1]
    assert set(colours(train)) == {RED, GREEN, BLUE}


def test_files_that_are_no_images_are_passed_over(tmp_path):
    solid(tmp_path / "a" / "1.png")
    solid(tmp_path / "b" / "1.png")
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "README").write_text("hello")
    (tmp_path / "empty").mkdir()
    train, _, names = read(tmp_path, 8)
    assert names == ("a", "b")
    assert len(train) == 2


@pytest.mark.parametrize(
    "extension",
    (
        "png",
        "jpg",
        "jpeg",
        "jfif",
        "bmp",
        "webp",
        "tif",
        "tiff",
        "gif",
        "PNG",
        "JPG",
        "JFIF",
        "TIF",
    ),
)
def test_formats(tmp_path, extension):
    solid(tmp_path / f"1.{extension}", (200, 60, 60))
    train, _, _ = read(tmp_path, 8)
    # The lossy formats move a colour a little.
    assert_solid(train.images[0], (200, 60, 60), tolerance=4)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("LA", (77, 255), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("I;16", 77 * 257, (77, 77, 77)),
    ],
)
def test_other_kinds_of_png_become_rgb(tmp_path, mode, value, expected):
    solid(tmp_path / "1.png", value, mode=mode)
    train, _, _ = read(tmp_path, 8)
    assert train.images.shape == (1, 8, 8, 3)
    assert_solid(train.images[0], expected)


def test_palette_images_become_rgb(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 12, 34, 56])
    image.save(tmp_path / "1.png")
    assert Image.open(tmp_path / "1.png").mode == "P"
    train, _, _ = read(tmp_path, 8)
    assert_solid(train.images[0], (12, 34, 56))


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (RED, GREEN, BLUE, (255, 255, 255))),
        (2, (GREEN, RED, (255, 255, 255), BLUE)),
        (3, ((255, 255, 255), BLUE, GREEN, RED)),
        (6, (BLUE, RED, (255, 255, 255), GREEN)),
        (8, (GREEN, (255, 255, 255), RED, BLUE)),
    ],
)
def test_the_cameras_orientation_is_applied(tmp_path, orientation, expected):
    """Quarters red, green / blue, white, as a viewer shows them."""
    image = Image.new("RGB", (16, 16), RED)
    image.paste(GREEN, (8, 0, 16, 8))
    image.paste(BLUE, (0, 8, 8, 16))
    image.paste((255, 255, 255), (8, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "1.jpg", exif=exif, quality=100, subsampling=0)
    train, _, _ = read(tmp_path, 16)
    corners = [train.images[0][row, column] for row in (3, 12) for column in (3, 12)]
    for corner, colour in zip(corners, expected, strict=True):
        assert abs(corner.astype(int) - np.array(colour)).max() <= 8


@pytest.mark.parametrize("wide", (True, False))
def test_images_are_cropped_to_the_central_square(tmp_path, wide):
    size = (30, 10) if wide else (10, 30)
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (10, 0, 20, 10) if wide else (0, 10, 10, 20))
    image.paste(BLUE, (20, 0, 30, 10) if wide else (0, 20, 10, 30))
    image.save(tmp_path / "1.png")
    train, _, _ = read(tmp_path, 10)
    assert train.images.shape == (1, 10, 10, 3)
    assert_solid(train.images[0], GREEN)


def test_images_of_different_sizes_become_one_array(tmp_path):
    solid(tmp_path / "1.png", RED, size=(5, 9))
    solid(tmp_path / "2.png", BLUE, size=(40, 7))
    train, _, _ = read(tmp_path, 16)
    assert train.images.shape == (2, 16, 16, 3)
    assert_solid(train.images[0], RED)
    assert_solid(train.images[1], BLUE)


def test_no_folder_named():
    with pytest.raises(FileNotFoundError, match="^image_folder needs --data_dir=FOLDER"):
        read(None, 8)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^--data_dir '.*/nowhere' is not a folder\.$"):
        read(tmp_path / "nowhere", 8)


def test_a_file_in_place_of_the_folder(tmp_path):
    path = solid(tmp_path / "1.png")
    with pytest.raises(FileNotFoundError, match="1.png' is not a folder"):
        read(path, 8)


@pytest.mark.parametrize("below", ("", "train", "a/b"))
def test_a_folder_without_images(tmp_path, below):
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=f"^'{tmp_path}.*' holds no image files"):
        read(tmp_path, 8)


def test_a_test_folder_without_images(tmp_path):
    solid(tmp_path / "train" / "1.png")
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=f"^'{tmp_path}/test' holds no image files"):
        read(tmp_path, 8)


def damage(path, how):
    content = solid(path, size=(64, 64)).read_bytes()
    if how == "cut off":
        # Noise does not compress, so half a file is far from all the pixels.
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
        Image.fromarray(noise).save(path)
        content = path.read_bytes()
        content = content[: len(content) // 2]
    path.write_bytes({"empty": b"", "text": b"not an image"}.get(how, content))


@pytest.mark.parametrize("how", ("empty", "text", "cut off"))
@pytest.mark.parametrize("name", ("bad.png", "bad.jpg"))
def test_a_damaged_image_is_named(tmp_path, how, name):
    solid(tmp_path / "good.png")
    damage(tmp_path / name, how)
    with pytest.raises(ValueError, match=f"^'{tmp_path}/{name}' cannot be read as an image: "):
        read(tmp_path, 8)


def test_images_beside_class_folders(tmp_path):
    for name in "ab":
        solid(tmp_path / name / "1.png")
    solid(tmp_path / "loose.jpg")
    with pytest.raises(ValueError, match=r"holds both class folders \(a, b, .* \(loose\.jpg"):
        read(tmp_path, 8)


def test_a_single_class_folder(tmp_path):
    solid(tmp_path / "only" / "1.png")
    with pytest.raises(ValueError, match=r"holds a single class folder \('only'\)"):
        read(tmp_path, 8)


@pytest.mark.parametrize("test_classes", (("a", "c"), ("a", "b", "c"), ()))
def test_train_and_test_must_have_the_same_classes(tmp_path, test_classes):
    for name in "ab":
        solid(tmp_path / "train" / name / "1.png")
    for name in test_classes:
        solid(tmp_path / "test" / name / "1.png")
    if not test_classes:
        solid(tmp_path / "test" / "1.png")
    with pytest.raises(ValueError, match=r"/train' and '.*/test' must have the same class folders"):
        read(tmp_path, 8)


def test_class_folders_beside_train(tmp_path):
    for name in ("bus", "train"):
        solid(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match="rename 'train' if it is a class"):
        read(tmp_path, 8)


def test_what_systems_make_is_left_out(tmp_path):
    for name in "ab":
        solid(tmp_path / name / "1.png")
        (tmp_path / name / "._1.png").write_bytes(b"\0\5\x16\7")  # Made on a Mac's copy.
        (tmp_path / name / "Thumbs.db").write_bytes(b"\xd0\xcf")
        solid(tmp_path / name / ".thumbnails" / "1.png")
        solid(tmp_path / name / "@eaDir" / "1.png")
    (tmp_path / "._loose.png").write_bytes(b"\0")
    for name in (".ipynb_checkpoints", ".thumbnails", "__MACOSX", ".git"):
        solid(tmp_path / name / "1.png")
    train, _, names = read(tmp_path, 8)
    assert names == ("a", "b")
    assert train.labels.tolist() == [0, 1]


def test_a_folder_in_a_hidden_one(tmp_path):
    for name in "ab":
        solid(tmp_path / ".cache" / "pictures" / name / "1.png")
    assert read(tmp_path / ".cache" / "pictures", 8)[2] == ("a", "b")


def test_a_class_folder_that_is_called_like_an_image(tmp_path):
    for name in ("v1.jpg", "v2.jpg"):
        solid(tmp_path / name / "1.png")
    assert read(tmp_path, 8)[2] == ("v1.jpg", "v2.jpg")


@pytest.mark.parametrize("mode", ("RGBA", "LA", "P"))
@pytest.mark.parametrize(("background", "ground"), [("white", 255), ("#102030", (16, 32, 48))])
def test_a_drawing_on_transparent_ground(tmp_path, mode, background, ground):
    """Black lines, and black where nothing is drawn: all that is seen is the transparency."""
    drawing = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (0, 0, 16, 4))
    if mode == "P":
        palette = Image.new("P", (16, 16), 0)
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.paste(1, (0, 0, 16, 4))
        palette.save(tmp_path / "1.png", transparency=0)
    else:
        drawing.convert(mode).save(tmp_path / "1.png")
    for number in (2, 3):
        solid(tmp_path / f"{number}.png")
    data = load(
        f"image_folder(background={background!r})",
        data_dir=str(tmp_path),
        image_size=16,
        validation_fraction=0.34,
        seed=1,
    )
    images = np.concatenate([data.train.images, data.validation.images])
    (image,) = (image for image in images if image[0, 0, 0] == 0)
    assert (image[:4] == 0).all()
    assert (image[4:] == ground).all()


def test_the_first_image_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "1.gif", save_all=True, append_images=frames[1:])
    assert_solid(read(tmp_path, 8)[0].images[0], RED)


def test_kinds_that_cannot_be_read_are_named_with_their_number(tmp_path, caplog):
    solid(tmp_path / "1.png")
    for name in ("2.heic", "3.HEIC", "4.svg"):
        (tmp_path / name).write_text("hello")
    with caplog.at_level("WARNING"):
        assert len(read(tmp_path, 8)[0]) == 1
    expected = f"3 pictures in '{tmp_path}' are left out: their kinds (.heic, .svg) cannot be read."
    assert expected in caplog.text


def test_linked_folders(tmp_path):
    solid(tmp_path / "elsewhere" / "cats" / "1.png", RED)
    solid(tmp_path / "elsewhere" / "more" / "deep" / "2.png", GREEN)
    solid(tmp_path / "data" / "dog" / "1.png", BLUE)
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere" / "cats")
    (tmp_path / "data" / "dog" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "data" / "all").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nowhere")
    for name in ("self", "self.png"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "data" / name)
        (tmp_path / "data" / "dog" / name).symlink_to(tmp_path / "data" / "dog" / name)
    train, _, names = read(tmp_path / "data", 8)
    assert names == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 1]
    assert colours(train) == [RED, BLUE, GREEN]


@pytest.mark.parametrize(
    ("train_name", "test_name"), [("Train", "Test"), ("training", "testing"), ("TRAIN", "test")]
)
def test_other_names_of_splits(tmp_path, train_name, test_name):
    for name in "ab":
        solid(tmp_path / train_name / name / "1.png", RED)
        solid(tmp_path / test_name / name / "1.png", BLUE)
    train, test, names = read(tmp_path, 8)
    assert names == ("a", "b")
    assert (colours(train), colours(test)) == ([RED, RED], [BLUE, BLUE])


@pytest.mark.parametrize("val_name", ("val", "valid", "Validation"))
@pytest.mark.parametrize("with_test", (True, False))
def test_a_folder_with_validation_images_of_its_own(tmp_path, val_name, with_test):
    parts = {"train": (RED, 5), val_name: (GREEN, 2), **({"test": (BLUE, 3)} if with_test else {})}
    for part, (colour, count) in parts.items():
        for name in "ab":
            for number in range(count):
                solid(tmp_path / part / name / f"{number}.png", colour)
    data = load("image_folder", data_dir=str(tmp_path), image_size=8)
    assert data.class_names == ("a", "b")
    assert colours(data.train) == [RED] * 10
    assert colours(data.validation) == [GREEN] * 4
    assert data.validation.labels.tolist() == [0, 0, 1, 1]
    assert (colours(data.test) == [BLUE] * 6) if with_test else data.test is None


def test_two_folders_of_one_split(tmp_path):
    for name in ("train", "training"):
        solid(tmp_path / name / "a" / "1.png")
    with pytest.raises(ValueError, match="holds 'train' and 'training': put the train images into"):
        read(tmp_path, 8)


def test_images_beside_train(tmp_path, caplog):
    solid(tmp_path / "train" / "1.png")
    solid(tmp_path / "loose.png")
    with caplog.at_level("WARNING"):
        assert len(read(tmp_path, 8)[0]) == 1
    assert "1 images that lie beside 'train'" in caplog.text


def test_damaged_images_can_be_skipped(tmp_path, caplog):
    for name in "ab":
        for number in range(3):
            solid(tmp_path / name / f"{number}.png")
    damage(tmp_path / "a" / "1.png", "cut off")
    damage(tmp_path / "b" / "0.png", "text")
    message = "^2 of 6 files cannot be read as images: '.*a/1.png', '.*on_error='skip' leaves"
    with pytest.raises(ValueError, match=message):
        load("image_folder", data_dir=str(tmp_path))
    with caplog.at_level("WARNING"):
        train, _, names = read(tmp_path, 8, on_error="skip")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert "2 of 6 files cannot be read as images" in caplog.text
    data = load("image_folder(on_error='skip')", data_dir=str(tmp_path), validation_fraction=0.5)
    assert len(data.train) + len(data.validation) == 4


def test_a_photograph_of_108_megapixels(tmp_path):
    path = tmp_path / "1.png"
    Image.new("L", (12_032, 9_024), 200).save(path, compress_level=1)
    source = read_image_folder(tmp_path, ImagePreprocessor(8))
    assert (np.asarray(source.train.images) == 200).all()
    with pytest.raises(ValueError, match="at most max_pixels = 100,000,000 are allowed"):
        load("image_folder(max_pixels=100_000_000)", data_dir=str(tmp_path))


def test_the_limit_of_pixels(tmp_path, recwarn, monkeypatch):
    """A setting, and not Pillow's own, which is left as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    for number in (1, 2):
        solid(tmp_path / f"{number}.png", size=(20, 10))
    with pytest.raises(ValueError, match="it has 20 x 10 pixels; at most max_pixels = 199 are all"):
        load("image_folder(max_pixels=199)", data_dir=str(tmp_path))
    data = load("image_folder(max_pixels=200)", data_dir=str(tmp_path), validation_fraction=0.5)
    assert_solid(data.train.images[0], RED)
    assert Image.MAX_IMAGE_PIXELS == 60
    assert not [w for w in recwarn if issubclass(w.category, Image.DecompressionBombWarning)]


def test_an_image_folder(tmp_path):
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(10):
            pixels = generator.integers(0, 256, (20, 20, 3), dtype="uint8")
            pixels[..., 2] = 255 * label
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    data = load("image_folder", data_dir=str(tmp_path), validation_fraction=0.2)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (32, 32, 3)
    assert (len(data.train), len(data.validation), data.test) == (16, 4, None)
    assert np.bincount(data.validation.labels).tolist() == [2, 2]
    for split in (data.train, data.validation):
        assert (split.images[:, 16, 16, 2] == 255 * split.labels).all()
    smaller = load("image_folder", data_dir=str(tmp_path), image_size=16)
    assert smaller.train.images.shape[1:] == (16, 16, 3)
    assert smaller.image_shape == (16, 16, 3)


def test_an_image_folder_without_classes(tmp_path):
    for number in range(10):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    data = load("image_folder", data_dir=str(tmp_path), image_size=8)
    assert data.class_names is None
    assert data.num_classes is None
    assert (len(data.train), len(data.validation)) == (9, 1)
    assert data.train.labels is None


def test_a_crop_of_an_image_folder(tmp_path):
    """A red frame of 8 pixels around green: a crop cuts it off."""
    image = Image.new("RGB", (36, 40), RED)
    image.paste(GREEN, (8, 8, 28, 32))
    for number in range(2):
        image.save(tmp_path / f"{number}.png")
    data = load("image_folder", data_dir=str(tmp_path), crop=20, validation_fraction=0.5)
    assert data.image_shape == (32, 32, 3)
    assert_solid(data.train.images[0], GREEN)
    with pytest.raises(ValueError, match=r"^crop = 37 is more than the 36 x 40 pixels of .*0\.png"):
        load("image_folder", data_dir=str(tmp_path), crop=37)
    in_call = load("image_folder(crop=20)", data_dir=str(tmp_path), validation_fraction=0.5)
    np.testing.assert_array_equal(in_call.train.images, data.train.images)


@pytest.mark.parametrize("crop", (0, -3, 1.5, True, "a"))
def test_a_crop_that_is_no_positive_integer(tmp_path, crop):
    Image.new("RGB", (36, 40), RED).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match=f"^crop must be a positive integer; got {crop!r}"):
        load(f"image_folder(crop={crop!r})", data_dir=str(tmp_path))


def zappos(root):
    """UT-Zap50K's layout: CATEGORY/SUBCATEGORY/BRAND/ID.jpg, a shoe as wide as its photograph."""
    shoe = Image.new("RGB", (136, 102), (255, 255, 255))
    shoe.paste((20, 20, 20), (0, 40, 136, 62))
    for category in ("Boots", "Sandals", "Shoes"):
        for below in ("Ankle/Levi's® Kids", "Flat/Born"):
            folder = root / category / below
            folder.mkdir(parents=True)
            for number in range(2):
                shoe.save(folder / f"7965985.{number}.jpg")
    return root


def test_zappos_pads_its_photographs_to_white_squares(tmp_path):
    data = load("zappos", data_dir=str(zappos(tmp_path)), validation_fraction=0.5)
    assert data.class_names == ("Boots", "Sandals", "Shoes")
    assert data.image_shape == (64, 64, 3)
    assert (len(data.train), len(data.validation), data.test) == (6, 6, None)
    assert np.bincount(data.train.labels).tolist() == [2, 2, 2]
    for image in data.train.images:
        assert_solid(image[:24], (255, 255, 255), tolerance=6)
        assert_solid(image[-24:], (255, 255, 255), tolerance=6)
        # Nothing is cut off at the tips: the shoe goes from edge to edge.
        assert_solid(image[30:34], (20, 20, 20), tolerance=6)


@pytest.mark.parametrize(
    ("parameters", "corner", "tip"),
    [("background='black'", 0, 20), ("fit='crop'", 255, 20), ("fit='stretch'", 255, 20)],
)
def test_other_preprocessing_of_zappos(tmp_path, parameters, corner, tip):
    data = load(f"zappos({parameters})", data_dir=str(zappos(tmp_path)))
    for image in data.train.images:
        assert_solid(image[0, 0], (corner,) * 3, tolerance=6)
        assert_solid(image[31:33, 0], (tip,) * 3, tolerance=6)
    assert data.preprocessor.fit == ("pad" if "fit" not in parameters else parameters[5:-1])


def test_padding_with_a_crop(tmp_path):
    image = Image.new("RGB", (200, 160), RED)
    image.paste(GREEN, (30, 10, 170, 150))
    for number in range(2):
        image.save(tmp_path / f"{number}.png")
    data = load(
        "image_folder(fit='pad', background='black', crop=140)",
        data_dir=str(tmp_path),
        validation_fraction=0.5,
    )
    assert_solid(data.train.images[0], GREEN)
    assert data.preprocessor == ImagePreprocessor(32, 3, "pad", 140, "black")


def test_zappos_of_another_size(tmp_path):
    data = load("zappos", data_dir=str(zappos(tmp_path)), image_size=32)
    assert data.train.images.shape[1:] == (32, 32, 3)
    assert data.image_shape == (32, 32, 3)


def test_zappos_without_a_folder():
    with pytest.raises(FileNotFoundError, match="^zappos needs --data_dir=FOLDER"):
        load("zappos")
