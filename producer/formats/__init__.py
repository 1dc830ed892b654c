"""The formats of sources: what they begin with, and how their rows are read."""
