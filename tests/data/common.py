"""What the tests of data share."""


def rows(split):
    """Each image with its label, as bytes."""
    return [bytes(image) + bytes([label]) for image, label in zip(split.images, split.labels)]
