"""The exception for errors that a person can fix."""


class CdpError(Exception):
    """Error with a cause outside the code. The message says in one line what happened, where, and what to do."""

    def __init__(self, message: str) -> None:
        """Collapse the message to one line, because messages of drivers and servers may have several lines."""
        super().__init__(" ".join(message.split()))
