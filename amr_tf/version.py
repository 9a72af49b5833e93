"""The version, importable without TensorFlow."""

import platform

__version__ = "0.1.0"


def described(tensorflow: str, keras: str) -> str:
    """Returns the text of `--version` from the libraries' versions."""
    libraries = f"TensorFlow {tensorflow}, Keras {keras}"
    return f"amr_tf {__version__} ({libraries}, Python {platform.python_version()})"
