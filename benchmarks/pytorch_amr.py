"""Adversarial mixup resynthesis (AMR) and ACAI in plain PyTorch, independent of `amr_tf`.

It serves two purposes: `record_golden.py` replays and records training steps with it, so that the
TensorFlow package is tested against something that shares no code with it; and the benchmarks use
it as the opponent. Nothing here imports `amr_tf`, Keras or TensorFlow.

Everything is in PyTorch's own layout: images and codes `(N, C, H, W)`.

    trainer = build_trainer(width=32, depth=16, channels=1, latent_channels=2, lambda_=10.0)
    losses = trainer.step(x, label, perms, coefficients)

Each method is one class, which holds its objectives and nothing else: `AMRTrainer`, `AEGANTrainer`,
`ACAITrainer` (as AMR's authors compare with it) and `OriginalACAITrainer` (Berthelot et al., 2019).
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

    The padded 1x1 convolution makes `width + 2`; the two extra pixels vanish in the poolings'
    rounding down only if there are at least two of these (34 -> 17 -> 8 -> 4, but 10 -> 5).
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


# Networks of the original ACAI -------------------------------------------------------------------


def original_convolution(inputs, outputs, size=3):
    """A "same" convolution with the initialiser of Berthelot et al.'s code and zero bias."""
    convolution = nn.Conv2d(inputs, outputs, size, padding="same")
    nn.init.normal_(convolution.weight, std=original_kernel_std(convolution.weight))
    nn.init.zeros_(convolution.bias)
    return convolution


def original_kernel_std(weight, slope=0.2):
    """1 / sqrt((1 + slope^2) * fan_in), where fan_in is in * height * width, or in if dense."""
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
    """Images `(N, channels, width, width)` -> scores `(N,)`, the mean over an encoder's map."""

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
        perms: `(k, N)` integers; row `i` names each example's `i`-th parent. Row 0 is the identity.
        coefficients: `(N, k, 1 or C, 1, 1)`, summing to one over `k`.

    Returns:
        `(N, C, H, W)`: the sum over `i` of `coefficients[:, i] * codes[perms[i]]`.
    """
    return (coefficients * codes[perms.T]).sum(dim=1)


def as_target(target, logits):
    """A number or a tensor `(N,)` as a tensor like `logits`."""
    if isinstance(target, torch.Tensor):
        return target.to(logits.dtype).expand_as(logits)
    return torch.full_like(logits, target)  # Not a copy from the host, which no graph can hold.


def binary_crossentropy(logits, target):
    """Mean binary cross-entropy of `logits` `(N,)` against targets in [0, 1]."""
    return F.binary_cross_entropy_with_logits(logits, as_target(target, logits))


def least_squares(logits, target):
    """Mean of `(logits - target)^2`, without the factor 1/2 that some authors use."""
    return F.mse_loss(logits, as_target(target, logits))


RECONSTRUCTION_LOSSES = {"mean_absolute_error": F.l1_loss, "mean_squared_error": F.mse_loss}
GAN_LOSSES = {"binary_crossentropy": binary_crossentropy, "least_squares": least_squares}


def choose(name, value, allowed):
    """Returns `allowed[value]`, or says what was allowed."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {sorted(allowed)}. Received: {value!r}")
    return allowed[value]


# Optimizers --------------------------------------------------------------------------------------


class TensorFlowAdam(torch.optim.Adam):
    """Adam with epsilon where TensorFlow and Keras put it.

    Kingma & Ba's algorithm 1, and PyTorch, divide by `sqrt(v / c) + epsilon` with the bias
    correction `c = 1 - beta_2^t`. The faster form at the end of their section 2, TensorFlow's,
    divides by `sqrt(v) + epsilon` and multiplies by `sqrt(c)`. That is the same as PyTorch's with
    the larger `epsilon / sqrt(c)`.
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
    """One optimizer step down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


# The training step -------------------------------------------------------------------------------


@dataclasses.dataclass
class Resynthesis:
    """What the auto-encoder makes of a batch `x`. Without mixing the last three are None."""

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
        """The same without gradients."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Resynthesis(*(None if value is None else value.detach() for value in values))


class Trainer:
    """Plain eager training: the auto-encoder's update, the discriminator's, then the probe's.

    A method adds its objectives, `autoencoder_losses` and `discriminator_terms`.

    Args:
        encoder, decoder, discriminator, probe: modules; the probe maps flattened codes to logits.
        k: how many examples are mixed.
        lambda_: weight of the reconstruction.
        beta: weight of the consistency of mixes, a distance of `mix` and `f(g(mix))`.
        reconstruction_loss: "mean_absolute_error" or "mean_squared_error".
        gan_loss: "binary_crossentropy" or "least_squares".
        consistency_loss: a name of a reconstruction loss, or None for what the method's authors
            use: the reconstruction loss itself for AMR, the mean absolute difference for ACAI.
        generator_update_every: the auto-encoder learns on steps 0, n, 2n, ...
        skipped_losses: whether the generator's losses are computed on the other steps as well.
            A benchmark turns it off, as nothing learns from them.
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
        """Returns the auto-encoder's loss `gen_loss` and its terms, unweighted.

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

    # What they are made of.

    def discriminate(self, *groups):
        """Returns the logits `(N,)` of each group of images, from one pass."""
        return self.discriminator(torch.cat(groups)).chunk(len(groups))

    def discriminate_frozen(self, *groups):
        """As `discriminate`, but gradients reach the images only."""
        self.discriminator.requires_grad_(False)
        logits = self.discriminate(*groups)
        self.discriminator.requires_grad_(True)
        return logits

    def consistency(self, made):
        """How far mixes are from what the encoder makes of them once they are decoded.

        No gradient is stopped: f is pulled towards the mix and the mix towards f.
        """
        return self.consistency_loss(self.encoder(made.mix), made.mixed_codes)

    # The step.

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
            made = self.resynthesize(x, perms, coefficients)
            losses = {}
            if learns or self.skipped_losses:
                losses = self.autoencoder_losses(made)
        if learns:
            update(self.generator_optimizer, losses["gen_loss"])

        # These images precede the update just above, as in the authors' code: making them again
        # would cost another pass through the generator.
        made = made.detach()
        losses |= self.discriminator_step(made)
        losses |= self.probe_step(made.codes, label)
        return {name: loss.detach() for name, loss in losses.items()}

    def check_mixing(self, x, perms, coefficients):
        """Raises where the mixing arguments do not fit `x` and `k`."""
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
        """Updates the discriminator; returns its loss `d_x`, divided by the number of terms."""
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
    """Adversarial mixup resynthesis: reconstructions and decoded mixes shall look real.

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
    """AMR without the terms of mixes."""

    mixes_learn = False


class ACAITrainer(Trainer):
    """ACAI as AMR's authors compare with it: the critic predicts how much an image was mixed.

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
            # Reported even where it has no weight, as in the authors' code.
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
    """ACAI as its own authors have it (Berthelot et al., 2019, and their code).

    The auto-encoder minimises `(x - g(h))^2 + adversarial_weight * D(g(mix))^2` and the critic
    `(D(g(mix)) - alpha)^2 + D(gamma x + (1 - gamma) g(h))^2`, where gamma is `critic_blend`.

    The authors mix an example with its partner in the reversed batch: `perms` is the identity and
    the reversed order. Its share alpha is uniform in [0, 1], folded to [0, 0.5].

    Arguments as for `Trainer`, with the authors' defaults, and `adversarial_weight` and
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
    """Returns a method's trainer with fresh networks.

    Args:
        width: of the images.
        latent_width, latent_channels: of the codes.
        depth: channels of the networks at full resolution.
        channels: of the images.
        leaky_relu_slope: None for the authors', 0.01, or 0.2 for the original ACAI.
        instance_norm_epsilon: added to the variance; the original ACAI normalises nothing.
        classes: the probe's.
        device: where the networks are.
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
