"""Rows for people to look at in the tool that they have, and their answers back as corrections."""
