"""Exports models to version folders that can be served without this package."""
