"""Every registered method keeps the contract, with its own defaults."""

import sys

import pytest

from amr_tf.models import METHODS
from amr_tf.testing import MethodContract


class TestAMR(MethodContract):
    method = "amr"


class TestAEGAN(MethodContract):
    method = "ae_gan"


class TestPixelMixup(MethodContract):
    method = "pixel_mixup"


class TestSupervisedAMR(MethodContract):
    method = "supervised_amr"


class TestACAI(MethodContract):
    method = "acai"


class TestOriginalACAI(MethodContract):
    method = "acai_original"


class TestGAIA(MethodContract):
    method = "gaia"


class TestVAE(MethodContract):
    method = "vae"


class TestBetaVAE(MethodContract):
    method = "beta_vae"
    # Its divergence weighs the same whatever the size, the cross-entropy grows with the pixels: of
    # 8x8 images nothing is worth encoding (Higgins et al. 2017 normalise beta by the pixels).
    image_size, epochs = 32, 5


def test_no_method_is_left_out():
    here = vars(sys.modules[__name__]).values()
    tested = {one.method for one in here if isinstance(one, type) and hasattr(one, "method")}
    assert tested == set(METHODS.names())


@pytest.mark.parametrize("case", ["dead", "only decays"])
def test_the_contract_sees_a_dead_method(case):
    """What OriginalACAI was: unnormalised networks with an initialiser that lets signals vanish."""
    import keras

    from amr_tf.models import OriginalACAI
    from amr_tf.networks import PortNormal
    from amr_tf.networks.architectures import ARCHITECTURES, Networks
    from amr_tf.networks.convolutional import build_decoder, build_discriminator, build_encoder

    @ARCHITECTURES.register("vanishing", replace=True)
    def vanishing(image_shape, *, encoder_outputs=1, critic="logits", num_classes=None):
        settings = {"normalization": None, "kernel_initializer": PortNormal}
        parts = [
            build(image_shape, **settings)
            for build in (build_encoder, build_decoder, build_discriminator)
        ]
        return Networks(*parts)

    @METHODS.register("dead_acai", replace=True)
    @keras.saving.register_keras_serializable(package="tests")
    class DeadACAI(OriginalACAI):
        @classmethod
        def create(cls, image_shape, architecture="vanishing", **kwargs):
            return super().create(image_shape, architecture, **kwargs)

    try:
        contract = type("TestDead", (MethodContract,), {"method": "dead_acai", "epochs": 1})()
        with pytest.raises(AssertionError):
            if case == "dead":
                contract.test_is_alive_at_the_start()
            else:
                contract.test_every_kernel_learns_from_the_images()
    finally:
        del METHODS._entries["dead_acai"], ARCHITECTURES._entries["vanishing"]
