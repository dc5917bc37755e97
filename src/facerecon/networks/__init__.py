"""Neural networks and their weights."""

CARRIED = "carried"
"""In place of a weights file: the weights that the package carries."""
