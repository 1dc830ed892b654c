"""Measurements: each prints what it compares, from one run on one machine."""
