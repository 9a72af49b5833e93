r"""Goes on from a trained model with one change, and measures mixes.

    PYTHONPATH=benchmarks python docs/results/photos/trials/going_on.py \
      MODEL.keras CLASSIFIER.keras DATA_DIR CHANGE [STEPS]

trains 700 steps of 8 images. CHANGE is `none`, `slow_critic` (a tenth of its learning rate),
`falling` (both learning rates fall to 0), `noise=0.1` (of the deviation of each map, added to codes
in training), `pairs` (looks compare differences between channels, too), `bands` (also the fine
details of channels and differences), `shared` (maps share a deviation, the geometric mean),
`root` (the root mean square), `no_mixes` (none in the losses of both players) or `colours=4` (the
discriminator sees differences between channels so much larger). At the end the averages of the
model (0.998) and longer ones (0.9995) are measured, with `contrast` 0 and 0.1. Every 500 steps the
averages are measured, too. The model is left in
`runs/photos/going_on_CHANGE_STEPS.keras`.
"""

import sys

import keras
import numpy as np
import photo_measures
import photos
import tensorflow as tf
from keras import ops

from amr_tf import losses
from amr_tf.layers import DetailGain
from amr_tf.metrics.extractors import extract_features
from amr_tf.metrics.image_quality import frechet_distance

file, classifier, data_dir, change = sys.argv[1:5]
STEPS = int(sys.argv[5]) if len(sys.argv) > 5 else 700
train_images, train_labels, held_out, _, partners = photos.pictures_of(data_dir, 64)
_, extractor = photo_measures.pooled_extractor(train_images, train_labels, classifier)
real = extract_features(held_out, extractor)
looks = held_out[partners[1]]
fine = photo_measures.fine_energy(held_out)
model = keras.saving.load_model(file)
weights = model.encoder.weights + model.decoder.weights
optimizers = model.autoencoder_optimizer, model.discriminator_optimizer
rates = [float(optimizer.learning_rate) for optimizer in optimizers]


def detailed_looks(images, levels):
    """Means and deviations of channels and of their differences, and of finer levels."""

    def axes(maps):
        return ops.concatenate([maps, maps - ops.roll(maps, 1, axis=-1)], axis=-1)

    images, parts = ops.cast(images, "float32"), []
    if not levels:
        images = ops.average_pool(images, 4)
    for weight in levels:
        small = ops.average_pool(images, 2)
        band = axes(images - ops.repeat(ops.repeat(small, 2, axis=1), 2, axis=2))
        parts.append(weight * ops.sqrt(ops.mean(ops.square(band), axis=(1, 2)) + 1e-6))
        images = small
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    variance = ops.mean(ops.square(axes(images - mean)), axis=(1, 2))
    parts += [ops.squeeze(mean, axis=(1, 2)), ops.sqrt(variance + 1e-4)]
    looks = ops.concatenate(parts, axis=-1)
    return looks * (looks.shape[-1] / 6)  # Each difference weighs as much as before.


def noisy_latents(step, training):
    step.codes = model.encoder(step.images, training=training)
    deviation = tf.math.reduce_std(step.codes, axis=(0, 1, 2), keepdims=True)
    noise = float(change.split("=")[1]) * tf.random.normal(tf.shape(step.codes))
    noisy = step.codes + noise * tf.stop_gradient(deviation)
    return {"reconstruction": noisy, "mix": model.mix_codes(step, noisy)}


def seen_in_colours(layer, images, gain, plain=DetailGain.call):
    grey = ops.mean(images, axis=-1, keepdims=True)
    return plain(layer, grey + gain * (images - grey))


class Course(keras.callbacks.Callback):
    """Longer averages, and learning rates that fall."""

    made, longer = 0, None

    def on_train_batch_end(self, batch, logs=None):
        self.made += 1
        if change == "falling":
            for optimizer, rate in zip(optimizers, rates):
                optimizer.learning_rate = rate * max(1 - self.made / STEPS, 0.01)
        if self.made % 4 == 0:
            for average, weight in zip(self.longer, weights):
                average += (1 - 0.9995**4) * (weight.numpy() - average)
        if self.made % 500 == 0 and self.made < STEPS:
            model.use_averages(True)
            measure(f"averages after {self.made} steps")
            model.use_averages(False)


def measure(caption):
    codes = model.encode(held_out)
    error = np.abs(np.clip(model.decode(codes), -1, 1) - held_out).mean()
    for model.mixer.contrast in (0.0, 0.1):
        mixes = photos.mixed_codes(model.mixer, codes, partners[:2])
        mixes = np.clip(model.decode(mixes), -1, 1)
        features = extract_features(mixes, extractor)
        sliced = [round(each) for each in photo_measures.sliced_distances(held_out, mixes)[:3]]
        print(
            f"{change}, {caption}, contrast {model.mixer.contrast}: error {error:.4f}, "
            f"FD {frechet_distance(real, features):.2f}, SWD {sliced}, "
            f"fine {photo_measures.fine_energy(mixes) / fine:.2f}, "
            f"smooth {photo_measures.smooth_energy(held_out, mixes, looks):.2f}, nearer parent "
            f"{photo_measures.nearer_parent(features, real, real[partners[1]]):.2f}",
            flush=True,
        )


keras.utils.set_random_seed(7)
if change == "slow_critic":
    optimizers[1].learning_rate = rates[1] / 10
elif change.startswith("noise"):
    model.make_latents = noisy_latents
elif change in ("pairs", "bands"):
    losses._look = lambda images: detailed_looks(images, (6, 3) if change == "bands" else ())
elif change in ("shared", "root"):
    model.mixer.shared_scale = True
elif change == "no_mixes":
    model.mix_weight, model.real_weight = 0.0, 1.0
elif change.startswith("colours"):
    strength = float(change.split("=")[1])
    DetailGain.call = lambda layer, images: seen_in_colours(layer, images, strength)
if change == "root":
    model.mixer._scale = lambda maps: ops.sqrt(ops.mean(ops.square(maps), -1, keepdims=True))
measure("at the start")
course = Course()
course.longer = [weight.numpy() for weight in weights]
model.use_averages(False)
data = photos.batches(train_images, train_labels, 8, 7)
model.fit(data, epochs=1, steps_per_epoch=STEPS, shuffle=False, callbacks=[course], verbose=0)
model.use_averages(True)
measure("averages")
model.save(f"runs/photos/going_on_{change}_{STEPS}.keras")
model.use_averages(False)
for weight, average in zip(weights, course.longer):
    weight.assign(average)
measure("longer averages")
