"""Photographs, manifests and HDF5 shards: what is on disk and how it is read."""
