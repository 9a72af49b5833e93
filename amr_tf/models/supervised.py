"""Supervised adversarial mixup resynthesis: mixes with a given label (paper, section 2.2)."""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks, losses, mixers, replicas
from amr_tf.mixers import Mixer
from amr_tf.models.amr import AMR
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors
from amr_tf.types import Array


@METHODS.register("supervised_amr")
@keras.saving.register_keras_serializable(package="amr_tf")
class SupervisedAMR(AMR):
    """AMR with mixes conditioned on a mix of their parents' labels.

    A `label_mixer` combines two codes into a mix h~ with the label `y~ = alpha y1 +
    (1 - alpha) y2`. The auto-encoder and the label mixer minimise AMR's loss plus
    `gan(D(g(h~)), 1) + class_weight * cls(p(y|g(h~)), y~)`, the discriminator AMR's loss plus
    `gan(D(g(h~)), 0)`. The classifier p(y|x) is a branch of the discriminator that is trained on
    real labelled images (AC-GAN, Odena et al. 2017). If a parent's label is unknown, the mix counts
    only in the adversarial terms.

    Args:
        encoder: see `ResynthesisModel`.
        decoder: see `ResynthesisModel`.
        discriminator: `keras.Model` from images to logits (N,) and class logits (N, classes).
        mixer: a mixer for AMR's unsupervised mixes, or None to make only supervised mixes.
        probe: see `ResynthesisModel`.
        label_mixer: a mixer that mixes by labels, such as `SupervisedBernoulliMixup`.
        **kwargs: passed on to `ResynthesisModel`.

    Raises:
        ValueError: the networks do not fit together, or the label mixer does not use labels.
    """

    METRICS = (*AMR.METRICS, "classification_loss", "classifier_loss", "classifier_accuracy")
    NETWORKS = (*AMR.NETWORKS, "label_mixer")
    title = "supervised AMR"
    critic = "classifier"
    needs_labels = True
    setting_checks = {**AMR.setting_checks, "class_weight": checks.check_not_negative}

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        discriminator: keras.Model,
        mixer: Mixer | None = None,
        probe: keras.Model | None = None,
        label_mixer: Mixer | None = None,
        **kwargs: Any,
    ) -> None:
        # Set before the base class builds the model, since a built model accepts no new layers.
        self.label_mixer: Any = label_mixer
        super().__init__(encoder, decoder, discriminator, mixer, probe, **kwargs)

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, ...],
        architecture: str = "convolutional",
        mixer: Mixer | str | None = None,
        k: int | None = None,
        num_classes: int | None = None,
        *,
        label_mixer: Mixer | str = "supervised_bernoulli",
        seed: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Creates a model with a label mixer and, by default, no other mixer.

        Args:
            image_shape: (H, W, C).
            architecture: a call string of `amr_tf.networks.architectures.ARCHITECTURES`.
            mixer: mixer for AMR's unsupervised mixes, or None to make only supervised mixes.
            k: number of codes that `mixer` combines, if it is a call string.
            num_classes: number of classes or attributes, required.
            label_mixer: a mixer that mixes by labels, or its call string, such as
                "supervised_bernoulli(estimator='concrete')".
            seed: seed of the random generators.
            **kwargs: passed on to `ResynthesisModel.create`.
        """
        if isinstance(label_mixer, str):
            label_mixer = mixers.get(label_mixer, num_labels=num_classes, seed=seed)
        return super().create(
            image_shape,
            architecture,
            mixer,
            k,
            num_classes,
            seed=seed,
            model_arguments={"label_mixer": label_mixer},
            **kwargs,
        )

    @classmethod
    def check_settings(cls, **settings: Any) -> None:
        super().check_settings(**settings)
        if "label_mixer" in settings:
            label_mixer = settings["label_mixer"]
            if isinstance(label_mixer, str):  # The mixer's constructor checks its values.
                label_mixer = mixers.get(label_mixer, num_labels=2, seed=0)
            cls._check_label_mixer(label_mixer)

    def create_state(self) -> None:
        if not self.label_mixer.built:
            self.label_mixer.build((None, *self.latent_shape))

    def compile(
        self, *optimizers: str | keras.Optimizer, class_weight: float = 1.0, **kwargs: Any
    ) -> None:
        """Configures training; adds one setting to `AMR.compile`.

        Args:
            *optimizers: optimizers of the players, as in `ResynthesisModel.compile`.
            class_weight: weight of the mixes' classification loss in the auto-encoder's loss.
            **kwargs: passed on to `AMR.compile`.
        """
        super().compile(*optimizers, **kwargs)
        self.remember(class_weight=class_weight)

    @property
    def num_classes(self) -> int:
        """The number of classes or attributes of the discriminator's classifier branch."""
        return self.discriminator.output_shape[1][-1]

    def autoencoder_parts(self) -> list:
        """Returns encoder, decoder and both mixers."""
        return [*super().autoencoder_parts(), self.label_mixer]

    def _check_networks(self) -> None:
        super()._check_networks()
        outputs = self.discriminator.output_shape
        if not isinstance(outputs, list) or len(outputs) != 2:
            raise ValueError(
                "SupervisedAMR's discriminator must have two outputs, logits (N,) and class "
                f"logits (N, classes); got {outputs}."
            )
        checks.check_shape("The discriminator's logits", outputs[0], ())
        if self.probe is not None:
            classes = (self.num_classes,)
            checks.check_shape("The probe's output", self.probe.output_shape, classes)
        self._check_label_mixer(self.label_mixer)
        if self.label_mixer.num_labels != self.num_classes:
            raise ValueError(
                f"The label mixer is for labels of {self.label_mixer.num_labels} columns, the "
                f"discriminator's classifier for {self.num_classes}."
            )

    @staticmethod
    def _check_label_mixer(mixer: Any) -> None:
        if not getattr(mixer, "needs_labels", False):
            raise ValueError(
                "label_mixer must be a mixer that mixes by labels, such as "
                f"supervised_bernoulli; got {getattr(mixer, 'name', mixer)!r}."
            )

    def make_latents(self, step: StepTensors, training: bool) -> dict:
        if step.labels is None:
            raise ValueError(f"'{self.name}' mixes by labels, but the batch has none.")
        latents = super().make_latents(step, training)
        targets, weights = self.label_targets(step.labels)
        mixer = self.label_mixer
        permutations = mixer.draw_permutations(tf.shape(targets)[0], step.seed)
        mixed, _, step.mixed_labels = mixer.mix_labelled(
            step.codes, targets, permutations, seed=step.seed, training=training
        )
        step.label_weights = weights * tf.gather(weights, permutations[1])
        latents["label_mix"] = tf.cast(mixed, step.codes.dtype)
        return latents

    def read_discriminator(self, step: StepTensors) -> None:
        super().read_discriminator(step)  # Splits both outputs by group and adds AMR's penalty.
        both = step.logits
        step.logits = {group: outputs[0] for group, outputs in both.items()}
        step.class_logits = {group: outputs[1] for group, outputs in both.items()}

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        loss, terms = super().autoencoder_losses(step)
        terms["classification_loss"] = losses.label_crossentropy(
            step.mixed_labels,
            step.class_logits["label_mix"],
            step.label_weights,
            self.multi_label,
        )
        return loss + self.class_weight * terms["classification_loss"], terms

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        loss, terms = super().discriminator_losses(step)
        targets, weights = self.label_targets(step.labels)
        given = (targets, step.class_logits["real"], weights, self.multi_label)
        terms["classifier_loss"] = losses.label_crossentropy(*given)
        terms["classifier_accuracy"] = losses.label_accuracy(*given)
        return loss + terms["classifier_loss"], terms

    def metric_weights(self, step: StepTensors) -> dict:
        labelled_mixes = replicas.mean(tf.reduce_sum(step.label_weights))
        return {**super().metric_weights(step), "classification_loss": labelled_mixes}

    def mix_labels(
        self,
        images_a: Any,
        images_b: Any,
        mixed_labels: Array,
        labels_a: Array | None = None,
        labels_b: Array | None = None,
        seed: int | None = None,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Mixes pairs of images so that each mix has a given label.

        Args:
            images_a: (N, H, W, C) in [-1, 1], or a list of files; the first of each pair.
            images_b: the second of each pair, in the same form.
            mixed_labels: labels of the mixes, (N, classes) in [0, 1]. In training they are convex
                combinations of the parents' labels.
            labels_a: one-hot labels or attributes (N, classes) of `images_a`, needed only by a
                label mixer with `condition="parents"`.
            labels_b: labels of `images_b`, in the same form.
            seed: an integer for reproducible masks, or None.
            batch_size: number of images encoded or decoded at a time.

        Returns:
            float32 (N, H, W, C).

        Raises:
            ValueError: arrays differ in length or have the wrong shape, or labels are missing.
        """
        mixed_labels = np.asarray(mixed_labels, dtype="float32")
        codes = [self.encode(images, batch_size) for images in (images_a, images_b)]
        expected = (len(codes[0]), self.num_classes)
        given = [mixed_labels, *(labels for labels in (labels_a, labels_b) if labels is not None)]
        for labels in given:
            if np.shape(labels) != expected or len(codes[1]) != len(codes[0]):
                raise ValueError(
                    f"images_a, images_b and labels must agree in N, labels of shape {expected}; "
                    f"got {len(codes[0])} and {len(codes[1])} images and labels of shape "
                    f"{np.shape(labels)}."
                )
        parents = None if labels_a is None or labels_b is None else (labels_a, labels_b)
        mixed = self.label_mixer.mix_pairs(*codes, mixed_labels, parents, seed)
        return self.decode(np.asarray(mixed, dtype="float32"), batch_size)
