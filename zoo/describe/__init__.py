"""What there is to know of members, data and plugins, as plain data that a machine can read."""
