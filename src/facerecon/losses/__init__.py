"""Losses: pure functions of tensors with a stated reduction."""
