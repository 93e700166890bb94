"""The built-in tokenizers: a plugin like any other, which nothing in the zoo imports."""
