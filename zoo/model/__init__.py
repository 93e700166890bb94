"""What a model is made of: parts along a residual stream, and how they are built, sampled from and watched."""
