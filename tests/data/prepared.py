"""Folders of prepared TFDS data sets: their metadata alone, or small real files."""

import json
import pathlib

import tensorflow as tf
import tensorflow_datasets as tfds


def split_info(name, count):
    """The metadata of one split in one file."""
    return {
        "name": name,
        "shardLengths": [str(count)],
        "numBytes": "1",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }


def write_info(folder, name, version, splits):
    """The metadata of a data set, for a list of `split_info`s."""
    info = {"name": name, "version": str(version), "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def prepare(data_dir, name, examples):
    """Writes a small prepared data set in real files; `examples` is a list for each split."""
    builder = tfds.builder(name, data_dir=str(data_dir))
    folder = pathlib.Path(builder.data_dir)
    folder.mkdir(parents=True)
    builder.info.features.save_config(str(folder))
    for split, members in examples.items():
        path = folder / f"{name}-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in members:
                writer.write(builder.info.features.serialize_example(example))
    splits = [split_info(split, len(members)) for split, members in examples.items()]
    write_info(folder, name, builder.info.version, splits)
