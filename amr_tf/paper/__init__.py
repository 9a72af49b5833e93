"""Reproduces the paper's tables: cells, their runs, and the report."""

from amr_tf.paper.cells import Cell, find_cells
from amr_tf.paper.report import write_report
from amr_tf.paper.runs import Plan, estimate_seconds, reproduce

__all__ = ["Cell", "Plan", "estimate_seconds", "find_cells", "reproduce", "write_report"]
