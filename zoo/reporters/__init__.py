"""The built-in reporters: a plugin like any other, which nothing in the zoo imports."""
