r"""Which of one code's means and deviations a mix takes, and how; measured on a trained model.

    PYTHONPATH=benchmarks python docs/results/photos/trials/scales.py \
      MODEL.keras CLASSIFIER.keras DATA_DIR
"""

import sys

import keras
import numpy as np
import photo_measures
import photos

import amr_tf  # noqa: F401, registers the model's classes.
from amr_tf.metrics.extractors import extract_features
from amr_tf.metrics.image_quality import frechet_distance

file, classifier, data_dir = sys.argv[1:]
train_images, train_labels, held_out, _, partners = photos.pictures_of(data_dir, 64)
_, extractor = photo_measures.pooled_extractor(train_images, train_labels, classifier)
real = extract_features(held_out, extractor)
fine = photo_measures.fine_energy(held_out)
model = keras.saving.load_model(file)
codes = model.encode(held_out)
mean = codes.mean(axis=(1, 2), keepdims=True)
apart = codes - mean
deviation = np.sqrt(np.square(apart).mean(axis=(1, 2), keepdims=True) + 1e-4)
other_mean, other_deviation = mean[partners[1]], deviation[partners[1]]
factors = other_deviation / deviation
geometric = np.exp(np.log(factors).mean(axis=-1, keepdims=True))
root = np.sqrt(np.square(other_deviation).mean(-1) / np.square(deviation).mean(-1))[..., None]
made = {
    "means, and each map's deviation": apart * factors + other_mean,
    "each map's deviation": apart * factors + mean,
    "means": apart + other_mean,
    "means, and one deviation: the geometric mean": apart * geometric + other_mean,
    "means, and one deviation: the root mean square": apart * root + other_mean,
    "means, and half of each: geometric means of both": (
        apart * np.sqrt(geometric * factors) + other_mean
    ),
}
print("| of the code that gives the look | FD | SWD | nearer parent | variance | fine |")
print("| --- | --- | --- | --- | --- | --- |")
for caption, mixed in made.items():
    mixes = np.clip(model.decode(mixed), -1, 1)
    features = extract_features(mixes, extractor)
    sliced = photo_measures.sliced_distances(held_out, mixes)[:3]
    shown = [caption, f"{frechet_distance(real, features):.2f}"]
    shown.append(", ".join(f"{each:.0f}" for each in sliced))
    shown.append(f"{photo_measures.nearer_parent(features, real, real[partners[1]]):.2f}")
    shown.append(f"{features.var(axis=0).sum():.1f}")
    shown.append(f"{photo_measures.fine_energy(mixes) / fine:.2f}")
    print(f"| {' | '.join(shown)} |", flush=True)
