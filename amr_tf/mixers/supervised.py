"""Bernoulli mixup with a mask predicted from labels (paper, section 2.2 and figure 4)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, Mixer, another_seed, only_pairs
from amr_tf.registry import unknown_name
from amr_tf.types import Array, Seed, Shape, Tensor

ESTIMATORS = ("straight_through", "concrete")
CONDITIONS = ("label", "parents")
ALPHAS = ("example", "attribute")
_SMALL = 1e-6


@MIXERS.register("supervised_bernoulli")
@keras.saving.register_keras_serializable(package="amr_tf")
class SupervisedBernoulliMixup(Mixer):
    """Takes each feature map from one of two codes, so that the mix has a given label.

    An MLP `embed` maps the mix's label y~ to one probability p for each feature map (or vector
    element). A mask m ~ Bernoulli(p) makes the mix `m h1 + (1 - m) h2`. The MLP is trained with
    the auto-encoder; an estimator passes its gradient through the sampled mask.

    In the paper, `embed` sees only y~, so it cannot tell which parent has which label: the same y~
    results from (y1, y2) with alpha and from (y2, y1) with 1 - alpha, and gives the same mask.
    With `condition="parents"` it also sees how far y1 and y2 are from y~, so that mixes can have
    their label whatever the order of the parents (docs/results.md compares the two).

    Args:
        num_labels: number of label columns: classes (one-hot) or attributes.
        k: must be 2.
        hidden_units: widths of the hidden layers of `embed`.
        estimator: "straight_through" (Bengio et al. 2013) uses the binary mask in the forward pass
            and the gradient of p. "concrete" (Maddison et al. 2017, Jang et al. 2017) relaxes the
            mask during training to sigmoid((logit(p) + logistic noise) / temperature).
        temperature: temperature of the concrete relaxation, above 0. Not allowed with
            "straight_through".
        condition: input of `embed`: "label" for y~ (as in the paper), or "parents" for y~,
            |y~ - y1| and |y~ - y2|. The parent that a map must come from is linear in the latter.
        alphas: whether `y~ = alpha y1 + (1 - alpha) y2` has one alpha ~ Uniform(0, 1) for each
            "example" (as in the paper) or for each "attribute".
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Raises:
        ValueError: an argument is not allowed.
    """

    needs_labels = True

    def __init__(
        self,
        num_labels: int | None = None,
        k: int = 2,
        hidden_units: Sequence[int] = (128,),
        estimator: str = "straight_through",
        temperature: float = 0.5,
        condition: str = "label",
        alphas: str = "example",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        only_pairs("SupervisedBernoulliMixup", k)
        if not isinstance(num_labels, int) or isinstance(num_labels, bool) or num_labels < 1:
            raise ValueError(
                "SupervisedBernoulliMixup needs num_labels, the number of classes or attributes; "
                f"got {num_labels!r}."
            )
        checks.check_positive("temperature", temperature)
        for kind, value, allowed in (
            ("estimator", estimator, ESTIMATORS),
            ("condition", condition, CONDITIONS),
            ("alphas", alphas, ALPHAS),
        ):
            if value not in allowed:
                raise unknown_name(kind, value, allowed)
        if estimator != "concrete" and temperature != 0.5:
            raise ValueError(
                f"temperature is the concrete estimator's; got {temperature!r} with {estimator}."
            )
        super().__init__(k, seed, **kwargs)
        self.num_labels = num_labels
        self.hidden_units = tuple(hidden_units)
        self.estimator = estimator
        self.temperature = temperature
        self.condition = condition
        self.alphas = alphas
        self.embedding: keras.Model = None  # Created by `build`.

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        seen = self.num_labels * (3 if self.condition == "parents" else 1)
        layers = [keras.layers.Dense(units, activation="relu") for units in self.hidden_units]
        # In float32, since probabilities near 0 and 1 have large logits.
        layers.append(keras.layers.Dense(input_shape[-1], dtype="float32"))
        self.embedding = keras.Sequential([keras.Input((seen,)), *layers], name="embed")

    def draw_mixed_labels(self, labels: Tensor, permutations: Tensor, seed: Seed = None) -> Tensor:
        """Draws mixed labels, `y~ = alpha y1 + (1 - alpha) y2`.

        Args:
            labels: (N, num_labels) in [0, 1].
            permutations: (2, N).
            seed: an integer for a fixed draw, or None to use the layer's own generator.

        Returns:
            float32 (N, num_labels).
        """
        columns = self.num_labels if self.alphas == "attribute" else 1
        alpha = keras.random.uniform((ops.shape(labels)[0], columns), seed=self.source(seed))
        labels = ops.cast(labels, "float32")
        first, second = (ops.take(labels, permutations[row], axis=0) for row in range(2))
        return alpha * first + (1.0 - alpha) * second

    def mask_logits(self, mixed_labels: Tensor, parents: Sequence[Array] | None = None) -> Tensor:
        """Returns the logits of each feature map's probability of coming from the first parent.

        Args:
            mixed_labels: y~, (N, num_labels).
            parents: the labels of both parents, each (N, num_labels), for `condition="parents"`.

        Returns:
            float32 (N, C).
        """
        mixed_labels = ops.cast(mixed_labels, "float32")
        seen = [mixed_labels]
        if self.condition == "parents":
            if parents is None:
                raise ValueError('condition="parents" needs the labels of both parents.')
            seen += [ops.abs(mixed_labels - ops.cast(parent, "float32")) for parent in parents]
        return self.embedding(ops.concatenate(seen, axis=-1))

    def draw_mask(self, logits: Tensor, seed: Seed = None, training: bool = False) -> Tensor:
        """Draws a binary mask (N, C); in training, "concrete" gives values between 0 and 1."""
        uniform = keras.random.uniform(ops.shape(logits), seed=self.source(seed))
        uniform = ops.clip(uniform, _SMALL, 1.0 - _SMALL)
        # Bernoulli(p) is 1 where logit(p) plus logistic noise is above 0.
        noisy = logits + ops.log(uniform) - ops.log1p(-uniform)
        hard = ops.cast(noisy > 0, "float32")
        if not training:
            return hard
        if self.estimator == "concrete":
            return ops.sigmoid(noisy / self.temperature)
        p = ops.sigmoid(logits)
        return p + ops.stop_gradient(hard - p)

    def mix_labelled(
        self,
        codes: Tensor,
        labels: Tensor,
        permutations: Tensor | None = None,
        mixed_labels: Tensor | None = None,
        seed: Seed = None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mixes a batch so that each mix has a drawn or given label.

        Args:
            codes: (N, H, W, C) or (N, D).
            labels: the codes' labels, (N, num_labels) in [0, 1].
            permutations: (2, N), or None to draw them.
            mixed_labels: y~, or None to draw them.
            seed: an integer for reproducible draws, or None.
            training: whether to use the mask of the gradient estimator.

        Returns:
            The mixed codes, with the shape of `codes`; the coefficients, (N, 2, 1, 1, C) or
            (N, 2, D); and y~.
        """
        if permutations is None:
            permutations = self.draw_permutations(ops.shape(codes)[0], seed)
        if mixed_labels is None:
            mixed_labels = self.draw_mixed_labels(labels, permutations, another_seed(seed))
        parents = [ops.take(labels, permutations[row], axis=0) for row in range(2)]
        logits = self.mask_logits(mixed_labels, parents)
        mask = self.draw_mask(logits, another_seed(seed, 2), training)
        coefficients = self._coefficients(mask, len(codes.shape))
        stack = ops.take(codes, ops.transpose(permutations), axis=0)
        return self.mix(stack, coefficients), coefficients, mixed_labels

    def mix_pairs(
        self,
        codes_a: Array,
        codes_b: Array,
        mixed_labels: Array,
        parents: Sequence[Array] | None = None,
        seed: Seed = None,
    ) -> Tensor:
        """Mixes given pairs of codes so that each mix has a given label; see `mix_labelled`."""
        codes_a = ops.convert_to_tensor(codes_a)
        mask = self.draw_mask(self.mask_logits(ops.convert_to_tensor(mixed_labels), parents), seed)
        coefficients = self._coefficients(mask, len(codes_a.shape))
        return self.mix(ops.stack([codes_a, ops.convert_to_tensor(codes_b)], axis=1), coefficients)

    def _coefficients(self, mask: Tensor, rank: int) -> Tensor:
        both = ops.stack([mask, 1.0 - mask], axis=1)
        shape = ops.shape(both)
        return ops.reshape(both, (shape[0], 2) + (1,) * (rank - 2) + (shape[-1],))

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        raise ValueError(
            "SupervisedBernoulliMixup draws its mask from labels: use mix_labelled, or give it "
            "to SupervisedAMR as label_mixer."
        )

    def call(
        self,
        codes: Tensor,
        labels: Tensor,
        permutations: Tensor | None = None,
        mixed_labels: Tensor | None = None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        mixed, coefficients, _ = self.mix_labelled(
            codes, labels, permutations, mixed_labels, training=training
        )
        return mixed, coefficients

    def compute_output_spec(
        self, codes: Tensor, labels: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return super().compute_output_spec(codes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_labels": self.num_labels,
            "hidden_units": self.hidden_units,
            "estimator": self.estimator,
            "temperature": self.temperature,
            "condition": self.condition,
            "alphas": self.alphas,
        }
