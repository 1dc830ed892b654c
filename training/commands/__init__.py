"""The commands of `training`, one file a subject."""
