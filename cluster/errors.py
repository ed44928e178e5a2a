"""The one expected failure of the launcher."""

__all__ = ["StartError"]


class StartError(Exception):
    """The cluster cannot start; the message tells a person what is wrong and what to do."""
