"""Mixes two image files on a running TensorFlow Serving, over gRPC.

    python deploy/client_grpc.py first.png second.png mix.png --share=0.5

Needs the packages grpcio and tensorflow-serving-api (pip install 'amr-tf[tf-serving]'), and Pillow.
"""

import argparse
import io
import pathlib

import grpc
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def predict(stub, model, signature, inputs, timeout=60):
    """A signature's only output for a batch of inputs.

    Args:
        stub: a `PredictionServiceStub`.
        model: the servable's name.
        signature: its name.
        inputs: dictionary from names to arrays or lists.
        timeout: in seconds.

    Returns:
        NumPy array.

    Raises:
        grpc.RpcError: the server answers with an error.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    (output,) = stub.Predict(request, timeout=timeout).outputs.values()
    return tf.make_ndarray(output)


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


def mix_files(stub, model, first, second, share=0.5):
    """The PNG file of the mix of two image files.

    Args:
        stub: as of `predict`.
        model: likewise.
        first: bytes of a PNG or JPEG file.
        second: likewise.
        share: weight of the first, from 0 to 1.

    Returns:
        The bytes of a PNG file.
    """
    codes = predict(stub, model, "encode_png", {"png_bytes": [upright(first), upright(second)]})
    # The model mixes: not every mixer's mixes are weighted sums.
    coefficients = np.array([[share, 1 - share]], "float32")
    inputs = {"codes": codes[None], "coefficients": coefficients}
    (image,) = predict(stub, model, "mix", inputs)
    return png_of(image)


def png_of(image):
    """The PNG file of an image (H, W, C) in [-1, 1], C 1, 3 or 4."""
    pixels = np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype("uint8")
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(out, "PNG")
    return out.getvalue()


def main():
    """Reads the command line, asks the server, writes the file."""
    parser = argparse.ArgumentParser(description="Mixes two image files.")
    parser.add_argument("first", type=pathlib.Path)
    parser.add_argument("second", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--share", type=float, default=0.5, help="weight of the first file")
    parser.add_argument("--server", default="localhost:8500")
    parser.add_argument("--model", default="demo", help="the servable's name")
    given = parser.parse_args()
    with grpc.insecure_channel(given.server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        files = given.first.read_bytes(), given.second.read_bytes()
        given.out.write_bytes(mix_files(stub, given.model, *files, given.share))
    print(f"Wrote {given.out}")


if __name__ == "__main__":
    main()
