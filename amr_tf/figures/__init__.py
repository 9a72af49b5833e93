"""Figures: grids, mixes and films of what trained models make, drawn without a display."""
