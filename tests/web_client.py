"""A server on loopback and who asks it, for tests: HTTP as it is, with the standard library."""

import contextlib
import dataclasses
import http.client
import json
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.web import running
from tfhub_transfer.web.app import About, application
from tfhub_transfer.web.servable import Servable


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """As a text."""
        return self.body.decode()

    def json(self) -> Any:
        """As what its JSON says."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """Why there is no answer."""
        found = self.json()
        assert [*found] == ["error"], found
        return str(found["error"])


@dataclasses.dataclass(frozen=True)
class Client:
    """Who asks one server, over a connection of its own each time."""

    address: str

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a request as it is."""
        place = urllib.parse.urlsplit(self.address).netloc
        with contextlib.closing(http.client.HTTPConnection(place, timeout=120)) as line:
            given = {} if headers is None else dict(headers)
            line.request(method, path, body, given)
            got = line.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read())

    def get(self, path: str, **headers: str) -> Answer:
        """Reads what is there."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        """Sends a value as JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask("POST", path, body, headers)


@contextlib.contextmanager
def client(
    served: ServedModel | Servable, about: About | None = None, **given: Any
) -> Iterator[Client]:
    """Serves a model, called `m`, while the body runs."""
    servable = served if isinstance(served, Servable) else Servable(served, "m")
    app = application(servable, about or About(), **given)
    listening = running.listen("127.0.0.1", 0)
    with running.answering(app, listening, 20):
        yield Client(running.address_of(listening))
