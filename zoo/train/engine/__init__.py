"""What trains a model: one process, or many that torchrun started."""
