"""Metrics of trained models: probes, image quality, interpolations, disentanglement."""
