"""The built-in channel mixers: a plugin like any other, which nothing in the zoo imports."""
