"""What each method learns of the digits in seconds, as a Markdown table.

    python benchmarks/contract.py

Every registered method has its own defaults and ten times its learning rates, as in the contract
that the tests apply (`amr_tf.testing`).
"""

import argparse
import platform
import time

from amr_tf.models import METHODS
from amr_tf.testing import MethodContract, learn

# The divergence has the same weight at any image size, but the cross-entropy grows with the number
# of pixels.
SETTINGS = {"beta_vae": (32, 5)}


def row(method: str) -> str:
    """Trains a method and returns its line of the table."""
    default = (MethodContract.image_size, MethodContract.epochs)
    image_size, epochs = SETTINGS.get(method, default)
    start = time.perf_counter()
    learned = learn(method, image_size, epochs, MethodContract.rate)
    cells = (
        f"`{method}`",
        f"{image_size}",
        f"{epochs}",
        f"{learned.spread:.2g}",
        f"{learned.mean_image_error:.3f}",
        f"{learned.error:.3f}",
        f"{100 * learned.probe_accuracy:.1f} %",
        f"{time.perf_counter() - start:.0f} s",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="names; by default all")
    methods = parser.parse_args().methods or METHODS.names()
    print(f"{platform.machine()}, seed 0, batch 64")
    head = ("method", "pixels", "epochs", "spread at start", "mean image", "after training")
    print("| " + " | ".join([*head, "probe", "time"]) + " |")
    print("|---|---|---|---|---|---|---|---|")
    for method in methods:
        print(row(method), flush=True)


if __name__ == "__main__":
    main()
