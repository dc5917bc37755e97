"""The auxiliary networks' training: what each learns from synthetic photographs."""
