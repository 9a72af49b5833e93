"""Mixes two image files on a running TensorFlow Serving, over its REST API.

    python deploy/client_rest.py first.png second.png mix.png --share=0.5

Needs the packages requests and Pillow.
"""

import argparse
import base64
import io
import pathlib

import requests
from PIL import Image, ImageOps


def predict(url, signature, inputs, timeout=60):
    """A signature's output for a batch of inputs, by TensorFlow Serving's columnar format.

    Args:
        url: of the model, such as "http://localhost:8501/v1/models/demo".
        signature: its name.
        inputs: dictionary from names to lists (bytes as {"b64": ...}).
        timeout: in seconds.

    Returns:
        The output as nested lists.

    Raises:
        RuntimeError: the server answers with an error.
    """
    request = {"signature_name": signature, "inputs": inputs}
    response = requests.post(f"{url}:predict", json=request, timeout=timeout)
    answer = response.json()
    if "outputs" not in answer:
        raise RuntimeError(f"{signature}: {answer.get('error', answer)}")
    return answer["outputs"]


def upright(file):
    """The bytes of an image file, turned as its EXIF orientation says: a graph cannot do it.

    Args:
        file: bytes of a PNG or JPEG file; anything else is returned as it is, for the server to
            refuse.
    """
    try:
        with Image.open(io.BytesIO(file), formats=("PNG", "JPEG")) as image:
            if image.getexif().get(0x0112, 1) == 1:
                return file
            turned = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError):
        return file
    out = io.BytesIO()
    (turned.convert("RGB") if turned.mode == "CMYK" else turned).save(out, "PNG", exif=b"")
    return out.getvalue()


def mix_files(url, first, second, share=0.5):
    """The PNG file of the mix of two image files.

    Args:
        url: as of `predict`.
        first: bytes of a PNG or JPEG file.
        second: likewise.
        share: weight of the first, from 0 to 1.

    Returns:
        The bytes of a PNG file.
    """
    files = [{"b64": base64.b64encode(upright(file)).decode()} for file in (first, second)]
    codes = predict(url, "encode_png", {"png_bytes": files})
    # The model mixes: not every mixer's mixes are weighted sums.
    inputs = {"codes": [codes], "coefficients": [[share, 1 - share]]}
    (image,) = predict(url, "mix", inputs)
    return png_of(image)


def png_of(image):
    """The PNG file of an image of nested lists, H x W x C in [-1, 1], C 1, 3 or 4."""
    height, width, channels = len(image), len(image[0]), len(image[0][0])
    values = (value for row in image for pixel in row for value in pixel)
    pixels = bytes(round((min(max(value, -1.0), 1.0) + 1.0) * 127.5) for value in values)
    out = io.BytesIO()
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    Image.frombytes(mode, (width, height), pixels).save(out, "PNG")
    return out.getvalue()


def main():
    """Reads the command line, asks the server, writes the file."""
    parser = argparse.ArgumentParser(description="Mixes two image files.")
    parser.add_argument("first", type=pathlib.Path)
    parser.add_argument("second", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.5, help="weight of the first file")
    parser.add_argument("--url", default="http://localhost:8501/v1/models/demo")
    given = parser.parse_args()
    png = mix_files(given.url, given.first.read_bytes(), given.second.read_bytes(), given.share)
    given.out.write_bytes(png)
    print(f"Wrote {given.out}")


if __name__ == "__main__":
    main()
