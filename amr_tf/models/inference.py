"""What users do with a trained model: encode, decode, mix and interpolate NumPy arrays."""

import numpy as np
import tensorflow as tf

from amr_tf import checks


class Inference:
    """Part of `ResynthesisModel`: methods from arrays to arrays, in batches."""

    def encode(self, images, batch_size=256):
        """Codes of images, as a NumPy array (N, *latent_shape).

        Args:
            images: (N, H, W, C) in [-1, 1].
            batch_size: images encoded at a time.
        """
        images = np.asarray(images)
        checks.check_images(images, self.image_shape)
        encoded = self.encoder.predict(images, batch_size=batch_size, verbose=0)
        return self.codes_of(encoded)

    def decode(self, codes, batch_size=256):
        """Images of codes (N, *latent_shape), as a NumPy array (N, H, W, C)."""
        codes = np.asarray(codes)
        checks.check_shape("codes", codes.shape, self.latent_shape)
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite; they hold NaN or infinite values.")
        return self.decoder.predict(codes, batch_size=batch_size, verbose=0)

    def reconstruct(self, images, batch_size=256):
        """g(f(x)) as a NumPy array (N, H, W, C)."""
        return self.decode(self.encode(images, batch_size), batch_size)

    def mix(self, images, permutations=None, coefficients=None, seed=None, batch_size=256):
        """Mixes images: each with k - 1 others of the batch, through the codes.

        Args:
            images: (N, H, W, C) in [-1, 1], N at least k.
            permutations: (k, N), or None to draw them.
            coefficients: (N, k, ...), or None to draw them.
            seed: an integer for draws that are the same at each call, or None.
            batch_size: images encoded or decoded at a time; any N images can meet.

        Returns:
            NumPy array (N, H, W, C).
        """
        if self.mixer is None:
            raise ValueError(f"'{self.name}' has no mixer; build it with one to mix images.")
        if permutations is None:
            checks.check_batch_size(len(images), self.mixer.k)
        given = self._before_mixing(images, batch_size)
        mixed, _ = self.mixer.mix_batch(
            tf.convert_to_tensor(given), permutations, coefficients, seed
        )
        return self._after_mixing(np.asarray(mixed).astype(given.dtype), batch_size)

    def interpolate(self, images_a, images_b, steps=9, batch_size=256):
        """Decoded straight lines between the codes of two sets of images.

        Args:
            images_a: (N, H, W, C), decoded at step 0.
            images_b: (N, H, W, C), decoded at the last step.
            steps: images per line, at least 2, both ends included.
            batch_size: images encoded or decoded at a time.

        Returns:
            NumPy array (N, steps, H, W, C).
        """
        checks.check_steps(steps)
        if len(images_a) != len(images_b):
            raise ValueError(
                f"images_a and images_b must be as many; got {len(images_a)} and {len(images_b)}."
            )
        start = self._before_mixing(images_a, batch_size)
        end = self._before_mixing(images_b, batch_size)
        weights = np.linspace(0, 1, steps, dtype="float32").reshape(1, -1, *(1,) * (start.ndim - 1))
        lines = (1 - weights) * start[:, None] + weights * end[:, None]
        images = self._after_mixing(lines.reshape(-1, *start.shape[1:]), batch_size)
        return images.reshape(len(start), steps, *self.image_shape)

    def _before_mixing(self, images, batch_size):
        """What is mixed: the codes."""
        return self.encode(images, batch_size)

    def _after_mixing(self, mixed, batch_size):
        """The images of what was mixed."""
        return self.decode(mixed, batch_size)
