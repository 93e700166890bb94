"""What whole language models cost, and how much of the machine they use."""
