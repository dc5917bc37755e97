"""Accuracy of the auxiliary networks on synthetic photographs of people they have not seen, by groups."""

NETWORKS = ("landmarks", "parsing", "recognition", "detector")
"""What can be measured, in the order it is printed."""

IDENTITIES = 500
"""People in the gallery of recognition, unless told otherwise."""
