"""A new distribution of a plugin, written from templates: one for each kind of member, and one for each other file."""
