"""The lab: what is measured of mixers and of trained models."""
