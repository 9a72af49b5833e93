"""Evaluation: metrics and figures of trained models."""
