"""The built-in tasks: a plugin like any other, found through its entry point."""
