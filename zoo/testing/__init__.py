"""The laws that every mixer keeps, and how they are checked."""
