"""The versioned registry: named models, their versions and aliases, and the files they are."""
