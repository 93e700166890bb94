"""The built-in optimizers: subclasses of `torch.optim.Optimizer`, whose keyword parameters are their options."""
