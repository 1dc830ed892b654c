"""Who acts."""

import getpass


def current_user() -> str:
    """Return the name of who runs this process, for the registry's events."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have no name.
        return "unknown"
