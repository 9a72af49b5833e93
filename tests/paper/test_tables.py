"""The paper's figures, where the paper's text is at hand."""

import pathlib
import re

import pytest

from amr_tf.paper.tables import (
    ACAI,
    AE_GAN,
    BERNOULLI_3,
    BETA_VAE,
    MIXUP_2,
    ORIGINAL_ACAI,
    TABLES,
    figure_of,
    row_of,
)
from amr_tf.runs.config import TrainingConfig

TEXT = pathlib.Path(__file__).resolve().parents[3] / "shared" / "paper"


def test_rows():
    assert row_of(TrainingConfig(method="ae_gan").resolve()) == AE_GAN
    assert row_of(TrainingConfig(method="acai").resolve()) == ACAI
    assert row_of(TrainingConfig().resolve()) == MIXUP_2
    assert row_of(TrainingConfig(method="acai_original(critic_blend=0.3)")) == ORIGINAL_ACAI
    assert row_of(TrainingConfig(method="beta_vae(kl_weight=100)")) == BETA_VAE
    mixer = "bernoulli(probability='example')"
    assert row_of(TrainingConfig(mixer=mixer, k=3)) == BERNOULLI_3


def test_a_figure_and_none():
    config = TrainingConfig(method="amr", mixer="mixup", k=3).resolve()
    assert figure_of(1, "svhn", config) == (47.34, 3.79, 10)
    assert figure_of(1, "svhn", config.replace(k=9)) is None
    assert figure_of(9, "svhn", config) is None
    assert figure_of(1, "letters", config) is None


@pytest.mark.skipif(not TEXT.is_dir(), reason="the paper's text lies beside the checkout only")
@pytest.mark.parametrize("number", TABLES)
def test_every_figure_stands_in_the_papers_table(number):
    text = "".join(path.read_text() for path in TEXT.glob("*.txt"))
    after = text[text.index(f"Table {number}: ") :]
    digits = re.sub(r"[^\d.]+", " ", after[:4500])
    for column in TABLES[number].values():
        for figure in column.values():
            assert f"{figure.mean:.2f} {figure.deviation:.2f}" in digits
