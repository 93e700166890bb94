"""Where parts come from: kinds, hooks, the registry, options, and the language that writes stacks down."""
