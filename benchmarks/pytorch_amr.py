"""Adversarial mixup resynthesis (AMR) and ACAI in plain PyTorch, independent of `amr_tf`.

It serves two purposes. `record_golden.py` replays and records training steps with it, to test the
TensorFlow package against an implementation that shares no code with it. The benchmarks compare
against it. Nothing here imports `amr_tf`, Keras or TensorFlow.

All tensors have PyTorch's layout: images and codes are `(N, C, H, W)`.

    trainer = build_trainer(width=32, depth=16, channels=1, latent_channels=2, lambda_=10.0)
    losses = trainer.step(x, label, perms, coefficients)

Each method is a class that holds only its objectives: `AMRTrainer`, `AEGANTrainer`, `ACAITrainer`
(as implemented by AMR's authors) and `OriginalACAITrainer` (Berthelot et al., 2019).
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

# Networks of AMR ---------------------------------------------------------------------------------


def count_scales(width, latent_width, at_least=2):
    """Returns how often `width` is halved to reach `latent_width`.

    The padded 1x1 convolution gives a width of `width + 2`. The two extra pixels disappear when
    poolings round down, but only with at least two poolings (34 -> 17 -> 8 -> 4, but 10 -> 5).
    """
    scales = round(math.log2(width / latent_width))
    if latent_width << max(scales, 0) != width or scales < at_least:
        factors = ", ".join(str(2**power) for power in range(at_least, at_least + 3))
        raise ValueError(
            f"`width` must be {factors}, ... times `latent_width`. "
            f"Received: width={width}, latent_width={latent_width}"
        )
    return scales


def normalized_block(inputs, outputs, slope, epsilon):
    """Returns a 3x3 convolution, instance normalisation and LeakyReLU."""
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

        # The first and the last convolution have no normalisation and no activation.
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

    It has the encoder's architecture without instance normalisation. Every convolution but the
    first has spectral normalisation (Miyato et al., 2018), with one power iteration per pass.
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


# Networks of the original ACAI -------------------------------------------------------------------


def original_convolution(inputs, outputs, size=3):
    """Returns a "same" convolution with the initialiser of Berthelot et al. and zero bias."""
    convolution = nn.Conv2d(inputs, outputs, size, padding="same")
    nn.init.normal_(convolution.weight, std=original_kernel_std(convolution.weight))
    nn.init.zeros_(convolution.bias)
    return convolution


def original_kernel_std(weight, slope=0.2):
    """Returns 1 / sqrt((1 + slope^2) * fan_in); fan_in is in * height * width, or in if dense."""
    return 1 / math.sqrt((1 + slope**2) * weight[0].numel())


class OriginalEncoder(nn.Sequential):
    """Images `(N, channels, width, width)` -> codes `(N, latent_channels, latent_width, ...)`.

    AMR's encoder without a border around the image and without normalisation.
    """

    def __init__(self, width, latent_width, depth, channels, latent_channels, leaky_relu_slope):
        scales = count_scales(width, latent_width, at_least=1)

        def block(inputs, outputs):
            return [original_convolution(inputs, outputs), nn.LeakyReLU(leaky_relu_slope)]

        layers = [original_convolution(channels, depth, size=1)]
        inputs = depth
        for scale in range(scales):
            outputs = depth << scale
            layers += [*block(inputs, outputs), *block(outputs, outputs), nn.AvgPool2d(2)]
            inputs = outputs
        layers += block(inputs, depth << scales)
        layers += [original_convolution(depth << scales, latent_channels)]
        super().__init__(*layers)


class OriginalDecoder(nn.Sequential):
    """Codes `(N, latent_channels, latent_width, ...)` -> images `(N, channels, width, width)`."""

    def __init__(self, width, latent_width, depth, channels, latent_channels, leaky_relu_slope):
        def block(inputs, outputs):
            return [original_convolution(inputs, outputs), nn.LeakyReLU(leaky_relu_slope)]

        layers = []
        inputs = latent_channels
        for scale in reversed(range(count_scales(width, latent_width, at_least=1))):
            outputs = depth << scale
            layers += [*block(inputs, outputs), *block(outputs, outputs)]
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
            inputs = outputs
        layers += block(inputs, depth)
        layers += [original_convolution(depth, channels)]
        super().__init__(*layers)


class OriginalCritic(nn.Module):
    """Images `(N, channels, width, width)` -> scores `(N,)`, means of an encoder's output."""

    def __init__(self, **shape):
        super().__init__()
        self.encoder = OriginalEncoder(**shape)

    def forward(self, images):
        return self.encoder(images).mean(dim=(1, 2, 3))


# Mixing and losses -------------------------------------------------------------------------------


def mix_codes(codes, perms, coefficients):
    """Mixes every code with those of `k - 1` other examples.

    Args:
        codes: `(N, C, H, W)`.
        perms: `(k, N)` integers; row `i` has each example's `i`-th parent. Row 0 is the identity.
        coefficients: `(N, k, 1 or C, 1, 1)`, summing to one over `k`.

    Returns:
        `(N, C, H, W)`: the sum over `i` of `coefficients[:, i] * codes[perms[i]]`.
    """
    return (coefficients * codes[perms.T]).sum(dim=1)


def as_target(target, logits):
    """Converts a number or a tensor `(N,)` to a tensor like `logits`."""
    if isinstance(target, torch.Tensor):
        return target.to(logits.dtype).expand_as(logits)
    return torch.full_like(logits, target)  # CUDA graphs cannot contain a copy from the host.


def binary_crossentropy(logits, target):
    """Mean binary cross-entropy of `logits` `(N,)` against targets in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, as_target(target, logits))


def least_squares(logits, target):
    """Mean of `(logits - target)^2`, without the factor of 1/2 that some authors use."""
    return F.mse_loss(logits, as_target(target, logits))


RECONSTRUCTION_LOSSES = {"mean_absolute_error": F.l1_loss, "mean_squared_error": F.mse_loss}
GAN_LOSSES = {"binary_crossentropy": binary_crossentropy, "least_squares": least_squares}


def choose(name, value, allowed):
    """Returns `allowed[value]`, or raises a ValueError that lists the allowed values."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {sorted(allowed)}. Received: {value!r}")
    return allowed[value]


# Optimizers --------------------------------------------------------------------------------------


class TensorFlowAdam(torch.optim.Adam):
    """Adam with epsilon in the place where TensorFlow and Keras add it.

    Algorithm 1 of Kingma & Ba, and PyTorch, divide by `sqrt(v / c) + epsilon` with the bias
    correction `c = 1 - beta_2^t`. TensorFlow uses the faster form at the end of their section 2,
    which divides by `sqrt(v) + epsilon` and multiplies by `sqrt(c)`. This equals PyTorch's form
    with the larger `epsilon / sqrt(c)`.
    """

    def __init__(self, params, lr, betas, eps, **kwargs):
        super().__init__(params, lr=lr, betas=betas, eps=eps, **kwargs)
        self.epsilon = eps
        self.updates = 0

    def step(self):
        self.updates += 1
        for group in self.param_groups:
            correction = 1 - group["betas"][1] ** self.updates
            group["eps"] = self.epsilon / math.sqrt(correction)
        return super().step()


def update(optimizer, loss):
    """Takes one optimizer step on `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


# The training step -------------------------------------------------------------------------------


@dataclasses.dataclass
class Resynthesis:
    """The auto-encoder's outputs for a batch `x`. Without mixing, the last three are None."""

    x: torch.Tensor
    codes: torch.Tensor
    reconstruction: torch.Tensor
    mixed_codes: torch.Tensor | None = None
    mix: torch.Tensor | None = None
    coefficients: torch.Tensor | None = None

    @property
    def alpha(self):
        """The share `(N,)` of an example's own code in its mix."""
        return self.coefficients[:, 0].flatten()

    def detach(self):
        """Returns a copy without gradients."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Resynthesis(*(None if value is None else value.detach() for value in values))


class Trainer:
    """Plain eager training: updates the auto-encoder, then the discriminator, then the probe.

    A method adds its objectives, `autoencoder_losses` and `discriminator_terms`.

    Args:
        encoder, decoder, discriminator, probe: modules; the probe maps flattened codes to logits.
        k: number of examples per mix.
        lambda_: weight of the reconstruction loss.
        beta: weight of the consistency loss of mixes, a distance between `mix` and `f(g(mix))`.
        reconstruction_loss: "mean_absolute_error" or "mean_squared_error".
        gan_loss: "binary_crossentropy" or "least_squares".
        consistency_loss: name of a reconstruction loss, or None for the one that the method's
            authors use: the reconstruction loss for AMR, the mean absolute error for ACAI.
        generator_update_every: n, if the auto-encoder is updated in steps 0, n, 2n, ...
        skipped_losses: whether to compute the generator's losses in the other steps, too. A
            benchmark turns this off, because nothing learns from them.
        learning_rate, beta_1, beta_2, epsilon, l2_weight_decay: Adam's, for all three optimizers.
            The decay is added to the gradient of every parameter.
        fused: passed to `torch.optim.Adam`.
    """

    optimizer_class = torch.optim.Adam
    # Whether the method learns from mixes.
    mixes_learn = True

    def __init__(
        self,
        encoder,
        decoder,
        discriminator,
        probe,
        *,
        k=2,
        lambda_=10.0,
        beta=0.0,
        reconstruction_loss="mean_absolute_error",
        gan_loss="binary_crossentropy",
        consistency_loss=None,
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
        self.k, self.lambda_, self.beta = k, lambda_, beta
        if consistency_loss is None:
            consistency_loss = self.default_consistency_loss(reconstruction_loss)
        self.reconstruction_loss = choose(
            "reconstruction_loss", reconstruction_loss, RECONSTRUCTION_LOSSES
        )
        self.gan_loss = choose("gan_loss", gan_loss, GAN_LOSSES)
        self.consistency_loss = choose("consistency_loss", consistency_loss, RECONSTRUCTION_LOSSES)
        self.generator_update_every = generator_update_every
        self.skipped_losses = skipped_losses
        self.steps = 0

        def optimizer(*modules):
            return self.optimizer_class(
                [parameter for module in modules for parameter in module.parameters()],
                lr=learning_rate,
                betas=(beta_1, beta_2),
                eps=epsilon,
                weight_decay=l2_weight_decay,
                fused=fused,
            )

        self.generator_optimizer = optimizer(encoder, decoder)
        self.discriminator_optimizer = optimizer(discriminator)
        self.probe_optimizer = optimizer(probe)

    # A method's objectives.

    @staticmethod
    def default_consistency_loss(reconstruction_loss):
        """Returns the name of the consistency loss that the method's authors use."""
        raise NotImplementedError

    def autoencoder_losses(self, made):
        """Returns the auto-encoder's loss `gen_loss` and its unweighted terms.

        Args:
            made: a `Resynthesis`.
        """
        raise NotImplementedError

    def discriminator_terms(self, made):
        """Returns the list of terms whose sum the discriminator minimises.

        Args:
            made: a `Resynthesis` that carries no gradient.
        """
        raise NotImplementedError

    # Parts of the objectives.

    def discriminate(self, *groups):
        """Returns the logits `(N,)` of each group of images, computed in one pass."""
        return self.discriminator(torch.cat(groups)).chunk(len(groups))

    def discriminate_frozen(self, *groups):
        """Like `discriminate`, but only the images get gradients."""
        self.discriminator.requires_grad_(False)
        logits = self.discriminate(*groups)
        self.discriminator.requires_grad_(True)
        return logits

    def consistency(self, made):
        """Returns the distance of mixed codes from the codes of their decoded images.

        No gradient is stopped, so each is pulled towards the other.
        """
        return self.consistency_loss(self.encoder(made.mix), made.mixed_codes)

    # The step.

    def step(self, x, label, perms=None, coefficients=None):
        """Runs one training step.

        Args:
            x: images `(N, C, H, W)` in [-1, 1].
            label: `(N,)` integers, used only by the probe.
            perms: `(k, N)` integers.
            coefficients: `(N, k, 1 or C, 1, 1)`. AE+GAN needs neither `perms` nor coefficients. If
                they are given, the loss of mixes is reported but not minimised.

        Returns:
            A dict of detached scalars.
        """
        self.check_mixing(x, perms, coefficients)
        learns = self.steps % self.generator_update_every == 0
        self.steps += 1

        with torch.set_grad_enabled(learns):
            made = self.resynthesize(x, perms, coefficients)
            losses = {}
            if learns or self.skipped_losses:
                losses = self.autoencoder_losses(made)
        if learns:
            update(self.generator_optimizer, losses["gen_loss"])

        # The discriminator sees the images from before this update, as in the authors' code.
        # Recomputing them would cost another pass through the generator.
        made = made.detach()
        losses |= self.discriminator_step(made)
        losses |= self.probe_step(made.codes, label)
        return {name: loss.detach() for name, loss in losses.items()}

    def check_mixing(self, x, perms, coefficients):
        """Raises a ValueError unless the mixing arguments match `x` and `k`."""
        if perms is None or coefficients is None:
            if self.mixes_learn:
                raise ValueError("This method needs `perms` and `coefficients`. Received: None")
            return
        if perms.shape != (self.k, len(x)) or coefficients.shape[:2] != (len(x), self.k):
            raise ValueError(
                f"`perms` must be (k, N) and `coefficients` (N, k, ...) with k={self.k}, "
                f"N={len(x)}. Received: {tuple(perms.shape)} and {tuple(coefficients.shape)}"
            )

    def resynthesize(self, x, perms, coefficients):
        """Returns a `Resynthesis` of `x`."""
        codes = self.encoder(x)
        if perms is None:
            return Resynthesis(x, codes, self.decoder(codes))
        mixed_codes = mix_codes(codes, perms, coefficients)
        reconstruction, mix = self.decoder(torch.cat([codes, mixed_codes])).chunk(2)
        return Resynthesis(x, codes, reconstruction, mixed_codes, mix, coefficients)

    def discriminator_step(self, made):
        """Updates the discriminator; returns its loss divided by the number of terms, `d_x`."""
        terms = self.discriminator_terms(made)
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


# Methods -----------------------------------------------------------------------------------------


class AMRTrainer(Trainer):
    """Adversarial mixup resynthesis: makes reconstructions and decoded mixes look real.

    The auto-encoder minimises
    `lambda * reconstruction + gan(D(g(h)), 1) + gan(D(g(mix)), 1) + beta * consistency`
    and the discriminator `gan(D(x), 1) + gan(D(g(h)), 0) + gan(D(g(mix)), 0)`.
    """

    @staticmethod
    def default_consistency_loss(reconstruction_loss):
        return reconstruction_loss

    def autoencoder_losses(self, made):
        fakes = [made.reconstruction] if made.mix is None else [made.reconstruction, made.mix]
        logits = self.discriminate_frozen(*fakes)
        losses = {
            "recon": self.reconstruction_loss(made.reconstruction, made.x),
            "disc_g_recon": self.gan_loss(logits[0], 1.0),
            "consist": made.x.new_zeros(()),
        }
        losses["gen_loss"] = self.lambda_ * losses["recon"] + losses["disc_g_recon"]
        if made.mix is not None:
            losses["disc_g_mix"] = self.gan_loss(logits[1], 1.0)
        if self.mixes_learn:
            losses["gen_loss"] = losses["gen_loss"] + losses["disc_g_mix"]
            if self.beta > 0:
                losses["consist"] = self.consistency(made)
                losses["gen_loss"] = losses["gen_loss"] + self.beta * losses["consist"]
        return losses

    def discriminator_terms(self, made):
        fakes = [made.reconstruction, made.mix] if self.mixes_learn else [made.reconstruction]
        real, *fakes = self.discriminate(made.x, *fakes)
        return [self.gan_loss(real, 1.0), *(self.gan_loss(fake, 0.0) for fake in fakes)]


class AEGANTrainer(AMRTrainer):
    """AMR without the loss terms of mixes."""

    mixes_learn = False


class ACAITrainer(Trainer):
    """ACAI as implemented by AMR's authors: the critic predicts how much an image was mixed.

    The auto-encoder minimises `lambda * reconstruction + gan(D(g(mix)), 0) + beta * consistency`
    and the critic `gan(D(g(mix)), 2 min(alpha, 1 - alpha)) + gan(D(x), 0) + gan(D(g(h)), 0)`.
    """

    # Weight of the auto-encoder's adversarial term.
    adversarial_weight = 1.0

    @staticmethod
    def default_consistency_loss(reconstruction_loss):
        return "mean_absolute_error"

    def autoencoder_losses(self, made):
        (mix,) = self.discriminate_frozen(made.mix)
        losses = {
            "recon": self.reconstruction_loss(made.reconstruction, made.x),
            "disc_g_mix": self.gan_loss(mix, 0.0),
            # Reported even if its weight is 0, as in the authors' code.
            "consist": self.consistency(made),
        }
        losses["gen_loss"] = (
            self.lambda_ * losses["recon"] + self.adversarial_weight * losses["disc_g_mix"]
        )
        if self.beta > 0:
            losses["gen_loss"] = losses["gen_loss"] + self.beta * losses["consist"]
        return losses

    def discriminator_terms(self, made):
        real, reconstruction, mix = self.discriminate(made.x, made.reconstruction, made.mix)
        return [
            self.gan_loss(mix, 2 * torch.minimum(made.alpha, 1 - made.alpha)),
            self.gan_loss(real, 0.0),
            self.gan_loss(reconstruction, 0.0),
        ]


class OriginalACAITrainer(ACAITrainer):
    """ACAI as implemented by its own authors (Berthelot et al., 2019, and their code).

    The auto-encoder minimises `(x - g(h))^2 + adversarial_weight * D(g(mix))^2` and the critic
    `(D(g(mix)) - alpha)^2 + D(gamma x + (1 - gamma) g(h))^2`, where gamma is `critic_blend`.

    The authors mix each example with its partner in the reversed batch: `perms` is the identity and
    the reversed order. The share alpha is uniform in [0, 1] and folded to [0, 0.5].

    The arguments are those of `Trainer`, with the authors' defaults, `adversarial_weight` and
    `critic_blend`.
    """

    optimizer_class = TensorFlowAdam

    def __init__(
        self,
        *networks,
        lambda_=1.0,
        reconstruction_loss="mean_squared_error",
        gan_loss="least_squares",
        beta_1=0.9,
        beta_2=0.999,
        l2_weight_decay=0.0,
        adversarial_weight=0.5,
        critic_blend=0.2,
        **options,
    ):
        super().__init__(
            *networks,
            lambda_=lambda_,
            reconstruction_loss=reconstruction_loss,
            gan_loss=gan_loss,
            beta_1=beta_1,
            beta_2=beta_2,
            l2_weight_decay=l2_weight_decay,
            **options,
        )
        self.adversarial_weight = adversarial_weight
        self.critic_blend = critic_blend

    def discriminator_terms(self, made):
        gamma = self.critic_blend
        blend = gamma * made.x + (1 - gamma) * made.reconstruction
        mix, blend = self.discriminate(made.mix, blend)
        return [self.gan_loss(mix, made.alpha), self.gan_loss(blend, 0.0)]


METHODS = {
    "amr": AMRTrainer,
    "ae_gan": AEGANTrainer,
    "acai": ACAITrainer,
    "acai_original": OriginalACAITrainer,
}


def build_trainer(
    width=32,
    latent_width=4,
    depth=16,
    channels=1,
    latent_channels=2,
    leaky_relu_slope=None,
    instance_norm_epsilon=1e-5,
    classes=10,
    device="cpu",
    method="amr",
    **options,
):
    """Returns a method's trainer with newly initialised networks.

    Args:
        width: width of the images.
        latent_width, latent_channels: width and channels of the codes.
        depth: number of channels of the networks at full resolution.
        channels: number of channels of the images.
        leaky_relu_slope: None for the authors' value, 0.01, or 0.2 for the original ACAI.
        instance_norm_epsilon: added to the variance; not used by the original ACAI.
        classes: number of the probe's classes.
        device: device of the networks.
        method: a key of `METHODS`.
        **options: keyword arguments of the method's class.
    """
    trainer = choose("method", method, METHODS)
    shape = {
        "width": width,
        "latent_width": latent_width,
        "depth": depth,
        "channels": channels,
        "latent_channels": latent_channels,
    }
    if method == "acai_original":
        shape["leaky_relu_slope"] = 0.2 if leaky_relu_slope is None else leaky_relu_slope
        networks = [OriginalEncoder(**shape), OriginalDecoder(**shape), OriginalCritic(**shape)]
    else:
        shape["leaky_relu_slope"] = 0.01 if leaky_relu_slope is None else leaky_relu_slope
        networks = [
            Encoder(**shape, instance_norm_epsilon=instance_norm_epsilon),
            Decoder(**shape, instance_norm_epsilon=instance_norm_epsilon),
            Discriminator(**shape),
        ]
    networks.append(nn.Linear(latent_channels * latent_width**2, classes))
    return trainer(*[network.to(device) for network in networks], **options)
