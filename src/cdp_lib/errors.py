"""The exception for errors that a person can fix."""

from cdp_lib.redaction import redact


class CdpError(Exception):
    """Error with a cause outside the code. The message says in one line what happened, where, and what to do."""

    def __init__(self, message: str) -> None:
        """Make the message safe to show, because it may quote a driver, a server or a file.

        The message becomes one line. Secrets are removed, and characters that control a terminal become escapes.
        """
        line = redact(" ".join(message.split()))
        super().__init__("".join(char if char.isprintable() else _escape(char) for char in line))


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
