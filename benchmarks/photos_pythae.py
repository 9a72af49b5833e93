"""Trains one of pythae's models for `photos.py`, in an environment that has pythae and torch.

    python benchmarks/photos_pythae.py PICTURES.npz MODEL OUT.npz MINUTES STEPS CLOCK

The networks are pythae's residual ones for CelebA (64 pixels) or CIFAR (32 pixels). The optimizer
is Adam, as in pythae's trainers, and codes have a twelfth of the image's numbers. VAEGAN gets a
smaller discriminator, because pythae's for CelebA has 11 million parameters and takes most of a
step.
"""

import sys

import numpy as np
import torch
from pythae.models import AE, RAE_L2, VAE, VAEGAN, AEConfig, RAE_L2_Config, VAEConfig, VAEGANConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDiscriminator
from pythae.models.nn.benchmarks import celeba, cifar
from torch import nn

from photo_clocks import CLOCKS

BATCH, RATE = 64, 1e-3
NETWORKS = {  # Encoder, encoder of a VAE, decoder.
    64: (
        celeba.Encoder_ResNet_AE_CELEBA,
        celeba.Encoder_ResNet_VAE_CELEBA,
        celeba.Decoder_ResNet_AE_CELEBA,
    ),
    32: (
        cifar.Encoder_ResNet_AE_CIFAR,
        cifar.Encoder_ResNet_VAE_CIFAR,
        cifar.Decoder_ResNet_AE_CIFAR,
    ),
}


class SmallDiscriminator(BaseDiscriminator):
    """Four convolutions of stride 2 and the sigmoid of a logit, with VAEGAN's interface."""

    def __init__(self, image_size):
        super().__init__()
        layers, before = [], 3
        for channels in (32, 64, 128, 128):
            layers.append(nn.Sequential(nn.Conv2d(before, channels, 4, 2, 1), nn.LeakyReLU(0.2)))
            before = channels
        layers.append(
            nn.Sequential(nn.Flatten(), nn.Linear(128 * (image_size // 16) ** 2, 1), nn.Sigmoid())
        )
        self.layers = nn.ModuleList(layers)
        self.depth = len(layers)

    def forward(self, x, output_layer_levels=None):
        output = ModelOutput()
        for level, layer in enumerate(self.layers, 1):
            x = layer(x)
            if output_layer_levels is not None and level in output_layer_levels:
                output[f"embedding_layer_{level}"] = x
        output["embedding"] = x
        return output


def build(name, image_size):
    """Returns a model by name, and the optimizers of its losses."""
    shape = {"input_dim": (3, image_size, image_size), "latent_dim": image_size**2 // 4}
    encoder, vae_encoder, decoder = NETWORKS[image_size]
    plain = {"ae": (AE, AEConfig), "rae": (RAE_L2, RAE_L2_Config)}
    if name in plain:
        kind, config = plain[name]
        networks = encoder, decoder
    else:
        kind, config = {"vae": (VAE, VAEConfig), "vaegan": (VAEGAN, VAEGANConfig)}[name]
        networks = vae_encoder, decoder
    further = {"reconstruction_layer": 3} if name == "vaegan" else {}
    config = config(**shape, **further)
    parts = {"encoder": networks[0](config), "decoder": networks[1](config)}
    if name == "vaegan":
        parts["discriminator"] = SmallDiscriminator(image_size)
    model = kind(config, **parts)
    groups = [getattr(model, part).parameters() for part in parts]
    if name in ("ae", "vae"):
        groups = [model.parameters()]
    return model, [torch.optim.Adam(group, lr=RATE) for group in groups]


def step(name, model, optimizers, images):
    """Runs one training step as pythae's trainers do."""
    output = model({"data": images})
    if name in ("ae", "vae"):
        losses = [output.loss]
        due = [True]
    else:
        players = ("encoder", "decoder", "discriminator")[: len(optimizers)]
        losses = [output[f"{player}_loss"] for player in players]
        due = [name == "rae" or output[f"update_{player}"] for player in players]
    gradients = []
    for optimizer, loss, wanted in zip(optimizers, losses, due):
        if wanted:
            own = [p for group in optimizer.param_groups for p in group["params"]]
            found = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
            gradients.append((optimizer, own, found))
    for optimizer, own, found in gradients:
        for parameter, gradient in zip(own, found):
            parameter.grad = gradient
        optimizer.step()


@torch.no_grad()
def in_batches(function, array):
    parts = [function(torch.tensor(array[i : i + 128])) for i in range(0, len(array), 128)]
    return torch.cat(parts).numpy()


def main(pictures, name, out, minutes, steps, clock):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = np.load(pictures)
    train, held_out = (np.moveaxis(data[key] / 2 + 0.5, -1, 1) for key in ("train", "held_out"))
    model, optimizers = build(name, train.shape[-1])
    model.train()
    start, made = None, 0
    while made < steps and (start is None or clock() - start < 60 * minutes):
        batch = train[rng.integers(0, len(train), BATCH)]
        flipped = rng.random(BATCH) < 0.5
        batch[flipped] = batch[flipped, ..., ::-1]
        step(name, model, optimizers, torch.tensor(batch))
        start, made = start or clock(), made + 1
    seconds = clock() - start
    model.eval()
    codes = [in_batches(lambda x: model.encoder(x).embedding, each) for each in (train, held_out)]

    def decode(given):
        images = in_batches(lambda z: model.decoder(z).reconstruction, given.astype("float32"))
        return np.clip(np.moveaxis(images, 1, -1) * 2 - 1, -1, 1)

    parents = codes[1][data["partners"]]
    results = {f"mixes_k{k}": decode(parents[:k].mean(axis=0)) for k in (2, 3)}
    if name in ("vae", "vaegan"):
        results["samples"] = decode(rng.normal(size=codes[1].shape))
    np.savez(
        out,
        reconstructions=decode(codes[1]),
        train_codes=codes[0],
        held_out_codes=codes[1],
        steps=made,
        seconds=round(seconds),
        **results,
    )


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]), int(sys.argv[5]), CLOCKS[sys.argv[6]])
