"""Mixes of a trained model by mixers that it was not trained with.

    python benchmarks/photos_remix.py --data_dir=../shared/photos/flowers --image_size=64 \
      --model=runs/photos/residual_10min.keras --mixers="mixup;spherical;style"

measures mixes of two held-out photographs in equal parts, with the measures of `photos.py`. For
`style` it also measures mixes of the layout of one with the look of the other, unchanged and with
the other's contrast. For comparison, it measures blends of pixels, one photograph in the other's
colours (Reinhard et al. 2001, "Color transfer between images") and reconstructions.

"contrast" is the standard deviation of mixes relative to that of the second photographs, a
geometric mean; in brackets is the standard deviation of its logarithm over mixes and channels.
"fine" is the energy at the highest frequencies relative to photographs. "smooth" is the energy of
the finest details where the layout is smooth, relative to photographs in the other's colours.
`--classifier` is the file that `photos.py` left in its `--out`.
"""

import argparse
import pathlib
import sys

import amr_tf
import keras
import numpy as np
from amr_tf.metrics.extractors import extract_features
from amr_tf.metrics.image_quality import frechet_distance

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from photo_measures import (
    fine_energy,
    nearer_parent,
    pooled_extractor,
    recoloured,
    sliced_distances,
    smooth_energy,
)
from photos import mixed_codes, pictures_of


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--model", required=True, help="a .keras file")
    parser.add_argument("--mixers", default="mixup;spherical;style")
    parser.add_argument("--classifier", default="runs/photos/classifier-64.keras")
    return parser.parse_args()


def main():
    options = arguments()
    train_images, train_labels, held_out, _, partners = pictures_of(
        options.data_dir, options.image_size
    )
    _, extractor = pooled_extractor(train_images, train_labels, options.classifier)
    real = extract_features(held_out, extractor)
    model = keras.saving.load_model(options.model)
    codes = model.encode(held_out)
    print("| mixer | FD mixes | SWD mixes | nearer parent | variance | contrast | fine | smooth |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    pair = held_out[partners[:2]]
    made = {"pixels": pair.mean(axis=0), "pixels in the other's colours": recoloured(*pair)}
    made["reconstructions of the second"] = model.decode(codes[partners[1]])
    stack = np.moveaxis(codes[partners[:2]], 0, 1)
    halves = np.full((len(codes), 2, 1, 1, 1), 0.5, "float32")
    for name in options.mixers.split(";"):
        mixer = amr_tf.mixers.get(name, k=2)
        mixer.build((None, *model.latent_shape))
        made[name] = model.decode(np.asarray(mixer.combine(stack, mixer.weigh(stack, halves))))
        if mixer.mixes_looks:
            mixed = model.decode(mixed_codes(mixer, codes, partners[:2]))
            made[f"{name}, layout and look"] = mixed
            made[f"{name}, and the look's contrast"] = in_contrast(mixed, pair[1])
    for caption, images in made.items():
        images = np.clip(images, -1, 1)
        fake = extract_features(images, extractor)
        distances = ", ".join(f"{each:.0f}" for each in sliced_distances(held_out, images)[:-1])
        nearer = nearer_parent(fake, real, real[partners[1]])
        shown = f"{frechet_distance(real, fake):.2f} | {distances} | {nearer:.2f}"
        ratio = images.std(axis=(1, 2)) / pair[1].std(axis=(1, 2))
        whole = np.exp(np.log(images.std(axis=(1, 2, 3)) / pair[1].std(axis=(1, 2, 3))).mean())
        shown += f" | {fake.var(axis=0).sum():.1f} | {whole:.2f} ({np.log(ratio).std():.2f})"
        shown += f" | {fine_energy(images) / fine_energy(held_out):.2f}"
        shown += f" | {smooth_energy(pair[0], images, pair[1]):.2f}"
        print(f"| {caption} | {shown} |", flush=True)


def in_contrast(images, others):
    """Gives images the standard deviation of `others` over positions and channels."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    spread, wanted = (each.std(axis=(1, 2, 3), keepdims=True) for each in (images, others))
    return (images - mean) / spread * wanted + mean


if __name__ == "__main__":
    main()
