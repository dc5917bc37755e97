"""The reconstruction systems: one package each, with model (inference) and training (losses, step)."""
