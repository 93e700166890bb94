"""Settings, the training loop, checkpoints and the run directory."""
