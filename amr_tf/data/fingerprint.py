"""Fingerprints of data, which tell whether data have changed since a run was trained."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from amr_tf.data.lazy import LazyImages
from amr_tf.data.sources import ImageData
from amr_tf.data.splits import Split

_SPLITS = ("train", "validation", "test")
_LOOKED_AT = 1000  # Number of images of a split whose pixels are compared if they have no names.


def fingerprint(data: ImageData) -> dict[str, Any]:
    """Returns the classes, and the number of images and a digest for each split.

    The digest depends on the labels and the images' names. If images have no names, it depends on
    the pixels of up to 1,000 images instead.

    Args:
        data: an `ImageData`.

    Returns:
        A dictionary of JSON values.
    """
    names = data.class_names
    splits = {name: getattr(data, name) for name in _SPLITS}
    return {
        "classes": None if names is None else list(names),
        **{name: _of_split(split) for name, split in splits.items() if split is not None},
    }


def _of_split(split: Split) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=16)
    names = split.images.names if isinstance(split.images, LazyImages) else None
    if names is None:
        shown = np.unique(np.linspace(0, len(split) - 1, _LOOKED_AT).astype("int64"))
        digest.update(np.ascontiguousarray(split.images[shown]).tobytes())
    else:
        digest.update("\n".join(names).encode("utf-8", "surrogateescape"))
    if split.labels is not None:
        digest.update(np.ascontiguousarray(split.labels, "int64").tobytes())
    return {"images": len(split), "digest": digest.hexdigest()}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Describes the first difference between two fingerprints, or returns None.

    Args:
        before: the fingerprint saved with a run.
        now: the fingerprint of the current data.
    """
    found = _classes(before.get("classes"), now.get("classes"))
    if found:
        return found
    for name in _SPLITS:
        kept, there = before.get(name), now.get(name)
        if (kept is None) != (there is None):
            return f"there is {'now a' if kept is None else 'no longer a'} {name} split"
        if kept is not None and there is not None and kept != there:
            if kept["images"] != there["images"]:
                return f"the {name} split had {kept['images']:,} images and has {there['images']:,}"
            return f"the {name} split holds other images or labels"
    return None


def _classes(before: Sequence[str] | None, now: Sequence[str] | None) -> str | None:
    if before == now:
        return None
    if before is None or now is None:
        return f"the images {'had no' if before is None else 'no longer have'} classes"
    new = [name for name in now if name not in before]
    gone = [name for name in before if name not in now]
    parts = [f"class '{name}' is new" for name in new[:3]]
    parts += [f"class '{name}' is gone" for name in gone[:3]]
    return ", ".join(parts) or "the classes are in another order"
