"""The networks' outputs for a batch, and the players' losses."""

from typing import Any

import tensorflow as tf

from amr_tf import losses
from amr_tf.models.step import StepTensors, concat_groups, split_groups
from amr_tf.models.updates import share_of


def resynthesize(model: Any, step: StepTensors, training: bool = False) -> None:
    """Calls encoder, mixer and decoder once each, and collects the discriminator's inputs.

    Args:
        model: a `ResynthesisModel`.
        step: the batch, to which the tensors are added.
        training: whether the layers are in training mode.
    """
    step.latents = model.make_latents(step, training)
    latents = concat_groups(step.latents)
    if model.decode_with_logits is None:
        decoded = model.decoder(latents, training=training)
    else:
        logits, decoded = model.decode_with_logits(latents, training=training)
        step.decoder_logits = split_groups(logits, step.latents)
    step.decoded = split_groups(decoded, step.latents)
    _note_regularization(step, "autoencoder", *model.autoencoder_parts())
    if model.discriminator is not None:
        groups = model.discriminator_images(step)
        step.discriminator_groups = tuple(groups)
        step.discriminator_inputs = concat_groups(groups)
        if training and model.discriminator_augmentation is not None:
            step.discriminator_inputs = model.discriminator_augmentation(
                step.discriminator_inputs, groups=len(groups)
            )


def discriminate(
    model: Any, step: StepTensors, inputs: tf.Tensor, training: bool = False
) -> tuple[Any, list]:
    """Returns the discriminator's output (or list of outputs) for a batch, and its features.

    The list of features is empty without feature matching.
    """
    if model.discriminate_with_features is None:
        outputs, features = model.discriminator(inputs, training=training), []
    else:
        outputs, features = model.discriminate_with_features(inputs, training=training)
    _note_regularization(step, "discriminator", model.discriminator)
    return outputs, features


def read_discriminator(model: Any, step: StepTensors, outputs: Any, features: list) -> None:
    """Stores the results of `discriminate` in the step, for the players' losses."""
    step.discriminator_outputs = outputs
    if features:
        step.features = split_groups(features, step.discriminator_groups)
    model.read_discriminator(step)


def compute_losses(model: Any, step: StepTensors, training: bool = False) -> tuple[dict, dict]:
    """Returns the losses, scalars by player, and the metrics, scalars by name.

    The auto-encoder's loss is the method's own loss plus the weighted consistency, feature
    matching, look and probe losses (`beta`, `feature_matching`, `look_matching`, `supervision`),
    and the regularisation of its networks.
    """
    loss, results = model.autoencoder_losses(step)
    results, found = dict(results), {}
    if model.beta:
        reencoded = model.codes_of(model.encoder(step.mixes, training=training))
        consistency = tf.reduce_mean(model.consistency_loss(step.mixed_codes, reencoded))
        results["consistency_loss"] = consistency
        loss = loss + model.beta * consistency
    if step.features:
        real = [tf.stop_gradient(features) for features in step.features["real"]]
        results["feature_loss"] = losses.feature_distance(real, step.features["reconstruction"])
        weight = model.feature_matching * model.adversarial_ramp()
        loss = loss + weight * results["feature_loss"]
    if model.look_matching:
        shares = model.mixer.look_shares(step.coefficients)
        results["look_loss"] = losses.look_distance(
            step.mixes, step.images, step.permutations, shares
        )
        loss = loss + model.look_matching * model.adversarial_ramp() * results["look_loss"]
    if model.probe is not None and step.labels is not None:
        found["probe"], terms = _probe_terms(model, step, training)
        results.update(terms)
        if model.supervision:
            loss = loss + model.supervision * results["probe_loss"]
    if "autoencoder" in step.regularization:
        results["regularization_loss"] = step.regularization["autoencoder"]
        loss = loss + step.regularization["autoencoder"]
    results["loss"] = found["autoencoder"] = loss
    if model.discriminator is not None:
        found["discriminator"], terms = discriminator_terms(model, step)
        results.update(terms)
    return found, results


def discriminator_terms(model: Any, step: StepTensors) -> tuple[tf.Tensor, dict]:
    """Returns the discriminator's total loss, a scalar, and its metrics."""
    loss, terms = model.discriminator_losses(step)
    terms = dict(terms)
    if "discriminator" in step.regularization:
        terms["discriminator_regularization_loss"] = step.regularization["discriminator"]
        loss = loss + step.regularization["discriminator"]
    return loss, {**terms, "discriminator_loss": loss}


def _probe_terms(model: Any, step: StepTensors, training: bool) -> tuple[tf.Tensor, dict]:
    """Returns the probe's total loss, a scalar, and its metrics."""
    codes = step.codes if model.supervision else tf.stop_gradient(step.codes)
    logits = model.probe(codes, training=training)
    _note_regularization(step, "probe", model.probe)
    targets, weights = model.label_targets(step.labels)
    known = (targets, logits, weights, model.multi_label)
    loss = losses.label_crossentropy(*known)
    terms = {"probe_loss": loss, "probe_accuracy": losses.label_accuracy(*known)}
    if "probe" in step.regularization:
        terms["probe_regularization_loss"] = step.regularization["probe"]
        loss = loss + step.regularization["probe"]
    return loss, terms


def scale_losses(model: Any, values: dict) -> dict:
    """Scales losses before their gradients: to this replica's share, and for mixed precision."""
    players = model.players
    return {
        name: players[name].optimizer.scale_loss(share_of(loss)) for name, loss in values.items()
    }


def _note_regularization(step: StepTensors, player: str, *networks: Any) -> None:
    """Stores the sum of regularisation losses, of weights and of activities in the last call."""
    terms = [loss for network in networks for loss in network.losses]
    if terms:
        step.regularization[player] = tf.add_n([tf.cast(term, "float32") for term in terms])
