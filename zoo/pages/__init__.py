"""Pages and pictures that a user opens and sends around."""
