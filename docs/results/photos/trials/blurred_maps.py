r"""Mixes of a trained model whose maps are blurred behind one of the decoder's upsamplings.

    PYTHONPATH=benchmarks python docs/results/photos/trials/blurred_maps.py \
      MODEL.keras DATA_DIR PICTURE.png [MODEL.keras ...]

Rows of the picture: layouts, mixes, those with the 16x16 maps blurred, with the 32x32 maps, with
the 64x64 maps; then mixes of further models as they are.
"""

import sys

import keras
import numpy as np
import photo_measures
import photos

from amr_tf.layers import Blur2D, ReplicationPadding2D

file, data_dir, picture, *others = sys.argv[1:]
_, _, held_out, _, partners = photos.pictures_of(data_dir, 64)
looks = held_out[partners[1]]
fine = photo_measures.fine_energy(held_out)


def mixes_of(model, layer=None):
    """Mixes of layout and look; the output of one of the decoder's layers is blurred."""
    mixed = photos.mixed_codes(model.mixer, model.encode(held_out), partners[:2])
    decoder = model.decoder
    if layer is None:
        return np.clip(decoder.predict(mixed, verbose=0), -1, 1)
    at = decoder.get_layer(layer).output
    blurred = Blur2D()(ReplicationPadding2D()(keras.Model(decoder.input, at)(mixed)))
    images = keras.Model(at, decoder.output)(blurred)
    return np.clip(images, -1, 1)


rows = [held_out]
print("| mixes | fine | smooth |")
print("| --- | --- | --- |")
model = keras.saving.load_model(file)
shown = [(model, layer) for layer in (None, "stage1_up_crop", "scale1_up", "scale0_up")]
for trained, layer in shown + [(keras.saving.load_model(other), None) for other in others]:
    rows.append(mixes_of(trained, layer))
    smooth = photo_measures.smooth_energy(held_out, rows[-1], looks)
    energy = photo_measures.fine_energy(rows[-1]) / fine
    print(f"| {layer or 'as trained'} | {energy:.2f} | {smooth:.2f} |", flush=True)
columns = [0, 2, 9, 10, 1, 3, 4, 11, 12, 8]
pixels = np.concatenate([np.concatenate(list(row[columns]), axis=1) for row in rows])
pixels = np.uint8((pixels + 1) * 127.5).repeat(2, axis=0).repeat(2, axis=1)
photos.save_png(picture, pixels)
