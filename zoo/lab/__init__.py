"""The lab: how big models are, and how they are compared."""
