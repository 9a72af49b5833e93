"""Searches over the flags of `amr_tf.train` with KerasTuner."""

from amr_tf.search.oracles import ORACLES
from amr_tf.search.report import (
    best_config,
    failures,
    summary_table,
    tuning_figure,
    write_results,
)
from amr_tf.search.space import SearchSpace
from amr_tf.search.tuner import RunTuner, make_tuner

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
