"""Readers of published face models, one module a publisher's format. Each gives a `SourceModel`; none runs code."""
