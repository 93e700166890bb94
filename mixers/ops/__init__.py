"""Pure functions on tensors: each fast form beside its slow, obviously right reference."""
