"""Adversarial mixup resynthesis (AMR) in plain PyTorch, written independently of `amr_tf`.

It serves two purposes: `record_golden.py` replays and records training steps with it, so that the
TensorFlow package is tested against something that shares no code with it; and the benchmarks use
it as the opponent. Nothing here imports `amr_tf`, Keras or TensorFlow.

Everything is in PyTorch's own layout: images and codes `(N, C, H, W)`.

    trainer = build_trainer(width=32, depth=16, channels=1, latent_channels=2, lambda_=10.0)
    losses = trainer.step(x, label, perms, coefficients)
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

METHODS = ("amr", "ae_gan")


def count_scales(width, latent_width):
    """Returns how often `width` is halved to reach `latent_width`."""
    scales = round(math.log2(width / latent_width))
    # The padded 1x1 convolution makes `width + 2`; the two extra pixels vanish in the poolings'
    # rounding down only if there are at least two of these (34 -> 17 -> 8 -> 4, but 10 -> 5).
    if latent_width << max(scales, 0) != width or scales < 2:
        raise ValueError(
            "`width` must be 4, 8, 16, ... times `latent_width`. "
            f"Received: width={width}, latent_width={latent_width}"
        )
    return scales


def normalized_block(inputs, outputs, slope, epsilon):
    """A 3x3 convolution, instance normalisation and LeakyReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.InstanceNorm2d(outputs, eps=epsilon, affine=True),
        nn.LeakyReLU(slope),
    ]


class Encoder(nn.Sequential):
    """Images `(N, channels, width, width)` -> codes `(N, latent_channels, latent_width, ...)`."""

    def __init__(
        self,
        width=32,
        latent_width=4,
        depth=16,
        channels=1,
        latent_channels=2,
        leaky_relu_slope=0.01,
        instance_norm_epsilon=1e-5,
    ):
        scales = count_scales(width, latent_width)

        def block(inputs, outputs):
            return normalized_block(inputs, outputs, leaky_relu_slope, instance_norm_epsilon)

        # Neither a normalisation nor an activation follows the first and the last convolution.
        layers = [nn.Conv2d(channels, depth, 1, padding=1)]
        inputs = depth
        for scale in range(scales):
            outputs = depth << scale
            layers += [*block(inputs, outputs), *block(outputs, outputs), nn.AvgPool2d(2)]
            inputs = outputs
        layers += block(inputs, depth << scales)
        layers += [nn.Conv2d(depth << scales, latent_channels, 3, padding=1)]
        super().__init__(*layers)


class Decoder(nn.Sequential):
    """Codes `(N, latent_channels, latent_width, ...)` -> images `(N, channels, width, width)`."""

    def __init__(
        self,
        width=32,
        latent_width=4,
        depth=16,
        channels=1,
        latent_channels=2,
        leaky_relu_slope=0.01,
        instance_norm_epsilon=1e-5,
    ):
        def block(inputs, outputs):
            return normalized_block(inputs, outputs, leaky_relu_slope, instance_norm_epsilon)

        layers = []
        inputs = latent_channels
        for scale in reversed(range(count_scales(width, latent_width))):
            outputs = depth << scale
            layers += [*block(inputs, outputs), *block(outputs, outputs)]
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
            inputs = outputs
        layers += block(inputs, depth)
        layers += [nn.Conv2d(depth, channels, 3, padding=1)]
        super().__init__(*layers)


class Discriminator(nn.Module):
    """Images `(N, channels, width, width)` -> logits `(N,)`.

    The encoder's shape without instance normalisation; every convolution but the first is
    spectrally normalised (Miyato et al., 2018) through one power iteration a forward pass.
    """

    def __init__(
        self,
        width=32,
        latent_width=4,
        depth=16,
        channels=1,
        latent_channels=2,
        leaky_relu_slope=0.01,
    ):
        super().__init__()
        scales = count_scales(width, latent_width)

        def convolution(inputs, outputs):
            return spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))

        def block(inputs, outputs):
            return [convolution(inputs, outputs), nn.LeakyReLU(leaky_relu_slope)]

        layers = [nn.Conv2d(channels, depth, 1, padding=1)]
        inputs = depth
        for scale in range(scales):
            outputs = depth << scale
            layers += [*block(inputs, outputs), *block(outputs, outputs), nn.AvgPool2d(2)]
            inputs = outputs
        layers += block(inputs, depth << scales)
        layers += [convolution(depth << scales, latent_channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return self.layers(images).mean(dim=(1, 2, 3))


def mix_codes(codes, perms, coefficients):
    """Mixes every code with those of `k - 1` other examples.

    Args:
        codes: `(N, C, H, W)`.
        perms: `(k, N)` integers; row `i` names each example's `i`-th parent. Row 0 is the identity.
        coefficients: `(N, k, 1 or C, 1, 1)`, summing to one over `k`.

    Returns:
        `(N, C, H, W)`: the sum over `i` of `coefficients[:, i] * codes[perms[i]]`.
    """
    return (coefficients * codes[perms.T]).sum(dim=1)


def binary_crossentropy(logits, target):
    """Mean binary cross-entropy of `logits` `(N,)` against one `target`, 0 or 1."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def least_squares(logits, target):
    """Mean of `(logits - target)^2`, without the factor 1/2 that some authors use."""
    return F.mse_loss(logits, torch.full_like(logits, target))


RECONSTRUCTION_LOSSES = {"mean_absolute_error": F.l1_loss, "mean_squared_error": F.mse_loss}
GAN_LOSSES = {"binary_crossentropy": binary_crossentropy, "least_squares": least_squares}


def choose(name, value, allowed):
    """Returns `allowed[value]`, or says what was allowed."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {sorted(allowed)}. Received: {value!r}")
    return allowed[value]


class AMRTrainer:
    """Plain eager training: the auto-encoder's update, the discriminator's, then the probe's.

    Args:
        encoder, decoder, discriminator, probe: modules; the probe maps flattened codes to logits.
        method: "amr", or "ae_gan" for the same without the mix terms.
        k: how many examples are mixed.
        lambda_: weight of the reconstruction.
        beta: weight of the consistency `mean |mix - f(g(mix))|`.
        reconstruction_loss: "mean_absolute_error" or "mean_squared_error".
        gan_loss: "binary_crossentropy" or "least_squares".
        generator_update_every: the auto-encoder learns on steps 0, n, 2n, ...
        skipped_losses: whether the generator's losses are computed on the other steps as well.
            A benchmark turns it off, as nothing learns from them.
        learning_rate, beta_1, beta_2, epsilon, l2_weight_decay: Adam's, for all three optimizers.
            The decay is added to the gradient of every parameter.
        fused: passed to `torch.optim.Adam`.
    """

    def __init__(
        self,
        encoder,
        decoder,
        discriminator,
        probe,
        *,
        method="amr",
        k=2,
        lambda_=10.0,
        beta=0.0,
        reconstruction_loss="mean_absolute_error",
        gan_loss="binary_crossentropy",
        generator_update_every=1,
        skipped_losses=True,
        learning_rate=1e-4,
        beta_1=0.5,
        beta_2=0.99,
        epsilon=1e-8,
        l2_weight_decay=1e-5,
        fused=None,
    ):
        self.encoder, self.decoder = encoder, decoder
        self.discriminator, self.probe = discriminator, probe
        self.mixes_learn = choose("method", method, {"amr": True, "ae_gan": False})
        self.k, self.lambda_, self.beta = k, lambda_, beta
        self.reconstruction_loss = choose(
            "reconstruction_loss", reconstruction_loss, RECONSTRUCTION_LOSSES
        )
        self.gan_loss = choose("gan_loss", gan_loss, GAN_LOSSES)
        self.generator_update_every = generator_update_every
        self.skipped_losses = skipped_losses
        self.steps = 0

        def adam(*modules):
            return torch.optim.Adam(
                [parameter for module in modules for parameter in module.parameters()],
                lr=learning_rate,
                betas=(beta_1, beta_2),
                eps=epsilon,
                weight_decay=l2_weight_decay,
                fused=fused,
            )

        self.generator_optimizer = adam(encoder, decoder)
        self.discriminator_optimizer = adam(discriminator)
        self.probe_optimizer = adam(probe)

    def step(self, x, label, perms=None, coefficients=None):
        """One training step.

        Args:
            x: images `(N, C, H, W)` in [-1, 1].
            label: `(N,)` integers, seen by the probe alone.
            perms: `(k, N)` integers.
            coefficients: `(N, k, 1 or C, 1, 1)`. AE+GAN does without both; if they are given, the
                mixes' loss is reported, and no gradient comes from it.

        Returns:
            A dict of detached scalars.
        """
        self.check_mixing(x, perms, coefficients)
        learns = self.steps % self.generator_update_every == 0
        self.steps += 1

        with torch.set_grad_enabled(learns):
            codes, mixed_codes, reconstruction, mix = self.resynthesize(x, perms, coefficients)
            losses = {}
            if learns or self.skipped_losses:
                losses = self.generator_losses(x, mixed_codes, reconstruction, mix)
        if learns:
            update(self.generator_optimizer, losses["gen_loss"])

        # These images precede the update just above, as in the authors' code: making them again
        # would cost another pass through the generator.
        losses |= self.discriminator_step(x, reconstruction.detach(), mix)
        losses |= self.probe_step(codes.detach(), label)
        return {name: loss.detach() for name, loss in losses.items()}

    def check_mixing(self, x, perms, coefficients):
        """Raises where the mixing arguments do not fit `x` and `k`."""
        if perms is None or coefficients is None:
            if self.mixes_learn:
                raise ValueError("AMR needs `perms` and `coefficients`. Received: None")
            return
        if perms.shape != (self.k, len(x)) or coefficients.shape[:2] != (len(x), self.k):
            raise ValueError(
                f"`perms` must be (k, N) and `coefficients` (N, k, ...) with k={self.k}, "
                f"N={len(x)}. Received: {tuple(perms.shape)} and {tuple(coefficients.shape)}"
            )

    def resynthesize(self, x, perms, coefficients):
        """Returns the codes, the mixed codes, and the images decoded from either.

        Without `perms` both mixes are None.
        """
        codes = self.encoder(x)
        if perms is None:
            return codes, None, self.decoder(codes), None
        mixed_codes = mix_codes(codes, perms, coefficients)
        reconstruction, mix = self.decoder(torch.cat([codes, mixed_codes])).chunk(2)
        return codes, mixed_codes, reconstruction, mix

    def generator_losses(self, x, mixed_codes, reconstruction, mix):
        """Returns the auto-encoder's loss `gen_loss` and its terms, unweighted."""
        # The discriminator only passes gradients on here; its own come in its own step.
        self.discriminator.requires_grad_(False)
        images = [reconstruction] if mix is None else [reconstruction, mix]
        logits = self.discriminator(torch.cat(images)).chunk(len(images))
        self.discriminator.requires_grad_(True)

        losses = {
            "recon": self.reconstruction_loss(reconstruction, x),
            "disc_g_recon": self.gan_loss(logits[0], 1.0),
            "consist": x.new_zeros(()),
        }
        losses["gen_loss"] = self.lambda_ * losses["recon"] + losses["disc_g_recon"]
        if mix is not None:
            losses["disc_g_mix"] = self.gan_loss(logits[1], 1.0)
        if self.mixes_learn:
            losses["gen_loss"] = losses["gen_loss"] + losses["disc_g_mix"]
            if self.beta > 0:
                # No gradient is stopped: f is pulled towards the mix and the mix towards f.
                losses["consist"] = F.l1_loss(self.encoder(mix), mixed_codes)
                losses["gen_loss"] = losses["gen_loss"] + self.beta * losses["consist"]
        return losses

    def discriminator_step(self, x, reconstruction, mix):
        """Updates the discriminator; returns its loss `d_x`, divided by the number of terms."""
        images = [x, reconstruction]
        if self.mixes_learn:
            images.append(mix.detach())
        logits = self.discriminator(torch.cat(images)).chunk(len(images))
        terms = [self.gan_loss(logits[0], 1.0)]
        terms += [self.gan_loss(fake, 0.0) for fake in logits[1:]]
        loss = sum(terms)
        update(self.discriminator_optimizer, loss)
        return {"d_x": loss / len(terms)}

    def probe_step(self, codes, label):
        """Updates the linear probe on `codes` `(N, C, H, W)`, which carry no gradient."""
        logits = self.probe(codes.flatten(1))
        loss = F.cross_entropy(logits, label)
        update(self.probe_optimizer, loss)
        accuracy = (logits.argmax(dim=1) == label).float().mean()
        return {"cls_enc_loss": loss, "cls_enc_acc": accuracy}


def update(optimizer, loss):
    """One optimizer step down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def build_trainer(
    width=32,
    latent_width=4,
    depth=16,
    channels=1,
    latent_channels=2,
    leaky_relu_slope=0.01,
    instance_norm_epsilon=1e-5,
    classes=10,
    device="cpu",
    **options,
):
    """Returns an `AMRTrainer` of fresh networks; `options` are its keyword arguments."""
    shape = {
        "width": width,
        "latent_width": latent_width,
        "depth": depth,
        "channels": channels,
        "latent_channels": latent_channels,
        "leaky_relu_slope": leaky_relu_slope,
    }
    networks = [
        Encoder(**shape, instance_norm_epsilon=instance_norm_epsilon),
        Decoder(**shape, instance_norm_epsilon=instance_norm_epsilon),
        Discriminator(**shape),
        nn.Linear(latent_channels * latent_width**2, classes),
    ]
    return AMRTrainer(*[network.to(device) for network in networks], **options)
