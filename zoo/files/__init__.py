"""What lies on disk: atomic writes, logs, strict JSON, a description of the machine."""
