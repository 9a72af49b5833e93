r"""Where mixes are less smooth than photographs: by how the contrast of look and layout compare.

    PYTHONPATH=benchmarks python docs/results/photos/trials/contrast.py \
      MODEL.keras CLASSIFIER.keras --dataset=cifar10 --data_dir=../shared/tfds --image_size=32 \
      --train_subset=10000

The first table is of a trained model's mixes, the layout of each held-out image with the look of
the next, in five equal parts by the quotient of the two images' standard deviations. The second
has the same mixes with the look's deviation limited to a multiple of the layout's.
"""

import argparse

import keras
import numpy as np
import photo_measures as measures
import photos

from amr_tf.metrics.extractors import extract_features
from amr_tf.metrics.image_quality import frechet_distance

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("classifier")
parser.add_argument("--dataset", default="image_folder")
parser.add_argument("--data_dir", required=True)
parser.add_argument("--image_size", type=int, default=64)
parser.add_argument("--train_subset", type=int)
options = parser.parse_args()
model = keras.saving.load_model(options.model)
train, _, held_out, labels, partners = photos.pictures_of(
    options.data_dir, options.image_size, options.dataset, options.train_subset
)
looks = held_out[partners[1]]
codes = model.encode(held_out)
_, extractor = measures.pooled_extractor(train, labels, options.classifier)
real = extract_features(held_out, extractor)


def mixes(limit):
    """The layout of each code, the look of its partner, whose deviation is limited."""
    stack = codes[partners[:2]]
    mean = stack.mean(axis=(2, 3), keepdims=True)
    centred = stack - mean
    deviation = model.mixer._scale(np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + 1e-4))
    gain = np.minimum(deviation[1] / deviation[0], limit) * (1 + model.mixer.contrast)
    return np.clip(model.decode(centred[0] * gain + mean[1]), -1, 1)


unlimited = mixes(np.inf)
usual = photos.mixed_codes(model.mixer, codes, partners[:2])
assert np.abs(unlimited - np.clip(model.decode(usual), -1, 1)).max() < 1e-3
quotients = looks.std(axis=(1, 2)).mean(axis=-1) / held_out.std(axis=(1, 2)).mean(axis=-1)
print("| contrast of the look over that of the layout | smooth |")
print("| --- | --- |")
for part in np.array_split(np.argsort(quotients), 5):
    low, high = quotients[part[0]], quotients[part[-1]]
    smooth = measures.smooth_energy(held_out, unlimited, looks, part)
    print(f"| {low:.2f} to {high:.2f} | {smooth:.2f} |")
print("\n| limit | FD mixes | SWD mixes | smooth |")
print("| --- | --- | --- | --- |")
for limit in (np.inf, 2, 1.5):
    images = mixes(limit)
    distance = frechet_distance(real, extract_features(images, extractor))
    swd = ", ".join(f"{each:.0f}" for each in measures.sliced_distances(held_out, images)[:-1])
    smooth = measures.smooth_energy(held_out, images, looks)
    print(f"| {limit:g} | {distance:.2f} | {swd} | {smooth:.2f} |")
