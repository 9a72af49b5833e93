"""Folders of images with attributes: CelebA's layouts, TFDS, and what is wrong with a folder."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from amr_tf.data import ImagePreprocessor, load
from tests.data.prepared import prepare, split_info, write_info

FILES = tuple(f"{number:06d}.png" for number in range(1, 11))
NAMES = ("Male", "Smiling", "Young")
# The attributes of file n are bits of n, and so is its colour.
BITS = np.array([[n >> 0 & 1, n >> 1 & 1, n >> 2 & 1] for n in range(1, 11)])


def write_images(folder, files=FILES, size=(178, 218)):
    """Grey images with a square of 140 pixels in the middle, whose colour tells the attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, bits in zip(files, BITS):
        image = Image.new("RGB", size, (128, 128, 128))
        image.paste(tuple(int(255 * bit) for bit in bits), (19, 39, 159, 179))
        image.save(folder / file)


def csv_table(names=NAMES, files=FILES):
    rows = [",".join([file, *map(str, bits)]) for file, bits in zip(files, BITS)]
    return "\n".join([",".join(["file", *names]), *rows]) + "\n"


def celeba_table():
    rows = [" ".join([file, *map(str, 2 * bits - 1)]) for file, bits in zip(FILES, BITS)]
    return "\n".join([str(len(FILES)), " ".join(NAMES), *rows]) + "\n"


def colours(split):
    """The attributes that the middle of each image shows."""
    middle = split.images.shape[1] // 2
    return np.round(split.images[:, middle, middle] / 255).astype("int64")


def assert_whole(data, count):
    splits = [split for split in (data.train, data.validation, data.test) if split is not None]
    assert sum(len(split) for split in splits) == count
    for split in splits:
        assert split.labels.dtype == np.int64
        assert split.images.dtype == np.uint8
        assert (colours(split) == split.labels).all()


@pytest.mark.parametrize("below", (".", "images", "img_align_celeba", "Img/img_align_celeba"))
def test_a_csv_table(tmp_path, below):
    write_images(tmp_path / below)
    (tmp_path / "attributes.csv").write_text(csv_table())
    data = load("attribute_folder", data_dir=str(tmp_path), validation_fraction=0.2)
    assert data.multi_label
    assert data.class_names == NAMES
    assert data.num_classes == 3
    assert data.image_shape == (32, 32, 3)
    assert data.test is None
    assert_whole(data, 10)
    assert (data.train.images[:, 0, 0] == 128).all()


def test_celeba(tmp_path):
    write_images(tmp_path / "img_align_celeba")
    (tmp_path / "list_attr_celeba.txt").write_text(celeba_table())
    partition = [f"{file} {part}" for file, part in zip(FILES, [0, 1, 2, 0, 0, 0, 2, 0, 1, 2])]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    data = load("celeba", data_dir=str(tmp_path), validation_fraction=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 2, 3)
    assert data.test.labels.tolist() == BITS[[2, 6, 9]].tolist()
    assert data.image_shape == (64, 64, 3)
    assert_whole(data, 10)
    # The crop of 140 leaves nothing of the grey around it.
    for image, bits in zip(data.test.images, data.test.labels):
        assert (image == 255 * bits).all()


def test_celeba_in_the_folders_that_it_comes_in(tmp_path):
    write_images(tmp_path / "Img" / "img_align_celeba")
    for folder, file, text in (
        ("Anno", "list_attr_celeba.txt", celeba_table()),
        (
            "Eval",
            "list_eval_partition.txt",
            "\ufeff" + "".join(f"{file} 2\n" for file in FILES[:3]),
        ),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text)
    with pytest.raises(ValueError, match="leaves out 7 files of the table: '000004.png'"):
        load("celeba", data_dir=str(tmp_path))
    with (tmp_path / "Eval" / "list_eval_partition.txt").open("a") as file:
        file.write("".join(f"{name} 0\n" for name in FILES[3:]))
    data = load("celeba", data_dir=str(tmp_path), validation_fraction=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 2, 3)
    assert data.test.labels.tolist() == BITS[:3].tolist()
    assert_whole(data, 10)


def test_damaged_images_can_be_skipped(tmp_path, caplog):
    write_images(tmp_path)
    (tmp_path / "attributes.csv").write_text(csv_table())
    for file in (FILES[1], FILES[6]):
        (tmp_path / file).write_text("no image")
    with pytest.raises(ValueError, match="^2 of 10 files cannot be read as images: '.*2.png', '.*"):
        load("attribute_folder", data_dir=str(tmp_path))
    with caplog.at_level("WARNING"):
        data = load("attribute_folder(on_error='skip')", data_dir=str(tmp_path))
    assert "2 of 10 files cannot be read as images" in caplog.text
    assert_whole(data, 8)


def test_options_of_celeba(tmp_path):
    write_images(tmp_path)
    (tmp_path / "list_attr_celeba.txt").write_text(celeba_table())
    data = load(
        "celeba",
        data_dir=str(tmp_path),
        image_size=16,
        attributes="Young,Male",
        crop=178,
        labelled=4,
    )
    assert data.class_names == ("Young", "Male")
    assert data.image_shape == (16, 16, 3)
    # A crop of the whole width keeps the grey; the resizing rings by a level.
    assert (abs(data.train.images[:, 0, 0].astype(int) - 128) <= 2).all()
    kept = (data.train.labels != -1).all(axis=1)
    assert kept.sum() == 4
    assert (data.train.labels[~kept] == -1).all()
    assert (colours(data.train)[kept][:, [2, 0]] == data.train.labels[kept]).all()
    assert (data.validation.labels >= 0).all()
    in_call = load(
        "celeba(attributes='Young,Male', crop=178)",
        data_dir=str(tmp_path),
        image_size=16,
        labelled=4,
    )
    np.testing.assert_array_equal(in_call.train.images, data.train.images)
    assert (in_call.train.labels == data.train.labels).all()


def test_celeba_hq_is_not_cropped(tmp_path):
    write_images(tmp_path / "CelebA-HQ-img", size=(178, 178))
    (tmp_path / "CelebAMask-HQ-attribute-anno.txt").write_text(celeba_table())
    data = load("celeba_hq", data_dir=str(tmp_path))
    assert data.image_shape == (128, 128, 3)
    assert (data.train.images[:, 0, 0] == 128).all()


def test_images_that_the_table_does_not_name_are_left_out(tmp_path):
    write_images(tmp_path)
    (tmp_path / "attributes.csv").write_text(csv_table(files=FILES[:8]))
    assert_whole(load("attribute_folder", data_dir=str(tmp_path)), 8)


@pytest.mark.parametrize("name", ("celeba", "celeba_hq", "attribute_folder"))
def test_a_folder_without_a_table(tmp_path, name):
    write_images(tmp_path)
    with pytest.raises(ValueError, match=f"^'{tmp_path}' holds no attribute table"):
        load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ("celeba", "celeba_hq", "attribute_folder"))
def test_a_folder_that_is_not_there(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="nowhere' is not a folder"):
        load(name, data_dir=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ("celeba_hq", "attribute_folder"))
def test_no_folder_named(name):
    with pytest.raises(FileNotFoundError, match=f"^{name} needs --data_dir=FOLDER"):
        load(name)


def test_files_that_are_not_there(tmp_path):
    write_images(tmp_path, files=FILES[:8])
    (tmp_path / "attributes.csv").write_text(csv_table())
    message = "attributes.csv' names 2 of 10 files that are not in .* the first is '000009.png'"
    with pytest.raises(ValueError, match=message):
        load("attribute_folder", data_dir=str(tmp_path))


def test_a_file_that_is_no_image(tmp_path):
    write_images(tmp_path, files=FILES[:9])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "attributes.csv").write_text(csv_table(files=(*FILES[:9], "notes.txt")))
    with pytest.raises(ValueError, match="names 'notes.txt', which is not an image file"):
        load("attribute_folder", data_dir=str(tmp_path))


def test_a_damaged_image(tmp_path):
    write_images(tmp_path)
    (tmp_path / FILES[4]).write_text("no image")
    (tmp_path / "attributes.csv").write_text(csv_table())
    with pytest.raises(ValueError, match="000005.png' cannot be read as an image"):
        load("attribute_folder", data_dir=str(tmp_path))


def test_a_crop_that_is_too_large(tmp_path):
    write_images(tmp_path)
    (tmp_path / "attributes.csv").write_text(csv_table())
    with pytest.raises(
        ValueError, match="^crop = 179 is more than the 178 x 218 pixels of '.*png'"
    ):
        load("attribute_folder", data_dir=str(tmp_path), crop=179)


def test_the_choice_is_checked_before_any_image_is_read(tmp_path, monkeypatch):
    write_images(tmp_path)
    (tmp_path / "attributes.csv").write_text(csv_table())
    monkeypatch.setattr(ImagePreprocessor, "pixels", lambda *_: pytest.fail("images were read"))
    with pytest.raises(ValueError, match="^Unknown attribute 'smiling'. Did you mean 'Smiling'"):
        load("attribute_folder", data_dir=str(tmp_path), attributes="smiling")


MOCKED = 20


@pytest.fixture
def mocked_celeba(tmp_path):
    """Random examples with the real features and splits."""
    folder = tmp_path / "celeb_a" / "2.1.0"
    folder.mkdir(parents=True)
    splits = [split_info(split, MOCKED) for split in ("train", "validation", "test")]
    write_info(folder, "celeb_a", "2.1.0", splits)
    with tfds.testing.mock_data(num_examples=MOCKED, data_dir=str(tmp_path)):
        yield str(tmp_path)


def test_mocked_tfds(mocked_celeba):
    data = load("celeba", data_dir=mocked_celeba)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, MOCKED)
    assert data.multi_label
    assert data.num_classes == 40
    assert data.class_names[:2] == ("5_o_Clock_Shadow", "Arched_Eyebrows")
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), 64, 64, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.shape == (len(split), 40)
        assert set(np.unique(split.labels)) == {0, 1}


def test_options_of_mocked_tfds(mocked_celeba):
    names = ("Wearing_Lipstick", "Male", "Heavy_Makeup")
    data = load("celeba", data_dir=mocked_celeba, attributes=names, image_size=32, crop=178)
    assert data.class_names == names
    assert data.test.images.shape == (MOCKED, 32, 32, 3)
    assert data.test.labels.shape == (MOCKED, 3)
    with pytest.raises(ValueError, match="^Unknown attribute 'Lipstick'"):
        load("celeba", data_dir=mocked_celeba, attributes="Lipstick")
    with pytest.raises(ValueError, match="^crop = 179 is more than the 178 x 218 pixels of 'celeb"):
        load("celeba", data_dir=mocked_celeba, crop=179)


@pytest.fixture
def prepared_celeba(tmp_path):
    """A small prepared data set in real files: image n has the grey 20 n and n's bits."""
    builder = tfds.builder("celeb_a", data_dir=str(tmp_path))
    features = builder.info.features

    def example(number):
        attributes = dict.fromkeys(features["attributes"], False)
        attributes.update(Male=bool(number & 1), Smiling=bool(number & 2))
        return {
            "image": np.full((218, 178, 3), 20 * number, dtype="uint8"),
            "attributes": attributes,
            "landmarks": dict.fromkeys(features["landmarks"], 0),
            "identity": dict.fromkeys(features["identity"], 0),
        }

    parts = {"train": range(6), "validation": range(6, 8), "test": range(8, 11)}
    examples = {split: [example(n) for n in numbers] for split, numbers in parts.items()}
    prepare(tmp_path, "celeb_a", examples)
    return tmp_path


def test_prepared_files(prepared_celeba):
    data = load(
        "celeba", data_dir=str(prepared_celeba), attributes="Smiling,Male", validation_fraction=0.5
    )
    # The validation images of CelebA's own partition are among those to split.
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 4, 3)
    seen = []
    for split in (data.train, data.validation, data.test):
        numbers = np.round(split.images[:, 32, 32, 0] / 20).astype(int)
        seen += numbers.tolist()
        assert (split.labels == np.stack([numbers >> 1 & 1, numbers & 1], axis=1)).all()
    assert sorted(seen[:8]) == list(range(8))
    assert seen[8:] == [8, 9, 10]


def test_a_damaged_prepared_file(prepared_celeba):
    path = next(prepared_celeba.rglob("*test.tfrecord*"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="^The 'test' split of data set 'celeb_a' .* is damaged"):
        load("celeba", data_dir=str(prepared_celeba))
