"""The lab: how big models are, what they cost, and how they are compared."""
