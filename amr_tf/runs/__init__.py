"""Training runs: their settings, folder, checkpoints and trackers."""
