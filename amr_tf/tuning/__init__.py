"""Searches over the flags of `amr_tf.train` with KerasTuner."""

from amr_tf.tuning.oracles import ORACLES
from amr_tf.tuning.report import (
    best_config,
    failures,
    summary_table,
    tuning_figure,
    write_results,
)
from amr_tf.tuning.space import SearchSpace
from amr_tf.tuning.tuner import RunTuner, make_tuner

__all__ = [
    "ORACLES",
    "RunTuner",
    "SearchSpace",
    "best_config",
    "failures",
    "make_tuner",
    "summary_table",
    "tuning_figure",
    "write_results",
]
