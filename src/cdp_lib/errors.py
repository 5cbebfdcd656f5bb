"""The one exception a person is meant to read."""


class CdpError(Exception):
    """Something outside the code is wrong: what, where and what to do, in one line."""

    def __init__(self, message: str) -> None:
        """Keep the message on one line, whatever a driver or a server put into it."""
        super().__init__(" ".join(message.split()))
