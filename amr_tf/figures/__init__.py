"""Figures of trained models: grids, mixes and films, drawn without a display."""
