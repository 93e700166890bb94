"""The built-in executors: a plugin like any other, which nothing in the zoo imports."""
