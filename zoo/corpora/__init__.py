"""The built-in corpora: a plugin like any other, which nothing in the zoo imports."""
