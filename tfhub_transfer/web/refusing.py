"""What isn't answered, and how HTTP says so."""

from collections.abc import Mapping


class Refusal(Exception):
    """A request that gets an error for an answer.

    Args:
        status: HTTP's code: 400 for what the client can mend in it, 404, 413, 503, 504 ...
        message: Why, in one line.
        headers: What else to tell, such as `Retry-After`.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})
