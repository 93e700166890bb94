"""Data of any size: found as files, read in blocks, encoded by several processes, and mapped from shards on disk."""
