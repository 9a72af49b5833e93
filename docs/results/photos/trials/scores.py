r"""What the discriminator of a trained model says of mixes, and of the same mixes without grain.

    PYTHONPATH=benchmarks python docs/results/photos/trials/scores.py MODEL.keras DATA_DIR

prints mean logits, high for real, of all held-out photographs and of the 40 whose mixes have the
most detail where their layouts are smooth.
"""

import sys

import keras
import numpy as np
import photo_measures
import photos

import amr_tf  # noqa: F401, registers the model's classes.

file, data_dir = sys.argv[1:]
_, _, held_out, _, partners = photos.pictures_of(data_dir, 64)
looks = held_out[partners[1]]
model = keras.saving.load_model(file)
codes = model.encode(held_out)
mixed = photos.mixed_codes(model.mixer, codes, partners[:2])
mixes = np.clip(model.decode(mixed), -1, 1)
recoloured = np.clip(photo_measures.recoloured(held_out, looks), -1, 1)
energy, usual, of_mixes = (
    photo_measures._energy_of_squares(each) for each in (held_out, recoloured, mixes)
)
smooth = energy <= np.quantile(energy, 0.3)
squares = smooth.sum(axis=(1, 2))
excess = (of_mixes / (usual + 1e-4) * smooth).sum(axis=(1, 2)) / np.maximum(squares, 1)
worst = np.argsort(np.where(squares < 10, 0, -excess))[:40]
shown = {
    "photographs": held_out,
    "reconstructions": np.clip(model.decode(codes), -1, 1),
    "mixes": mixes,
    "mixes, blurred": photo_measures._blur(mixes),
    "photographs, blurred": photo_measures._blur(held_out),
    "photographs in the colours of others": recoloured,
}
print(f"{file}, step {model.steps_made}, smooth", end=" ")
print(f"{photo_measures.smooth_energy(held_out, mixes, looks):.2f}")
print("| logits of | all | the 40 |\n| --- | --- | --- |")
for name, images in shown.items():
    logits = np.ravel(model.discriminator.predict(images, verbose=0))
    print(f"| {name} | {logits.mean():+.2f} | {logits[worst].mean():+.2f} |", flush=True)
