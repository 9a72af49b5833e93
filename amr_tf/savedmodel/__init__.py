"""Exports: a folder for each version, which serves a model without this package."""
