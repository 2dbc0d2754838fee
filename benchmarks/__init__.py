"""Measure what calls of the library cost: see README.md in this folder."""
