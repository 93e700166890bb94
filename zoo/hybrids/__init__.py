"""The arrangements of layers of production models, by name."""
