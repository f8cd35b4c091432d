"""The doors: TF Serving's REST, what is told of the server, the page. Bounded, whatever comes."""

import asyncio
import contextlib
import dataclasses
import functools
import ipaddress
import json
import sys
import time
import traceback
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.web import rest, tables
from tfhub_transfer.web.batching import Batcher, Bounds
from tfhub_transfer.web.metrics import CONTENT_TYPE, Metrics
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.servable import Servable

_Door: TypeAlias = Callable[[Request], Awaitable[Response]]
_Made = TypeVar("_Made")
_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# The page needs its own files alone; whatever a text or a label holds, it runs nothing.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_NOBODY = 499
# Answers of more rows are written beside what else goes on.
_FEW_ROWS = 64
# Bodies that are too long are read on to so many times the limit.
_PASSED_OVER = 4


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        body: Bytes.
        rows: Texts.
        seconds: From its first byte to its answer.
    """

    body: int = 16 << 20
    rows: int = 10_000
    seconds: float = 60.0


@dataclasses.dataclass(frozen=True)
class About:
    """What the page is to know beside the model.

    Attributes:
        examples: Texts to try, by the signature that answers them.
        columns: What columns were called in training, by `text` and `text_pair`, by signature.
        hosts: What the server may be called; anything if there are none.
    """

    examples: Mapping[str, list[list[str]]] = dataclasses.field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    hosts: frozenset[str] = frozenset()


def hosts_of(host: str) -> frozenset[str]:
    """What a server may be called that listens on an address: of loopback, names of this machine.

    A page elsewhere could give a name of its own this machine's address, and read answers.

    Args:
        host: The address.
    """
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(host).is_loopback:
            return frozenset()
        return frozenset({"localhost", "127.0.0.1", "::1", host})
    return frozenset({"localhost", "127.0.0.1", "::1"}) if host == "localhost" else frozenset()


def application(
    servable: Servable, about: About, limits: Limits | None = None, bounds: Bounds | None = None
) -> Starlette:
    """What answers HTTP for one model.

    Args:
        servable: The model.
        about: What the page is to know.
        limits: What one request may cost.
        bounds: How much is answered at once.
    """
    doors = _Doors(servable, about, limits or Limits(), bounds or Bounds())

    @contextlib.asynccontextmanager
    async def alive(app: Starlette) -> AsyncIterator[None]:
        async with doors.batcher.working():
            yield

    any_method = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes = [
        Route("/v1/{path:path}", doors.guarded(doors.model, None), methods=any_method),
        Route("/healthz", doors.guarded(doors.health, "health")),
        Route("/metrics", doors.guarded(doors.numbers, "metrics")),
        Route("/about.json", doors.guarded(doors.told, "page")),
        Route("/rows", doors.guarded(doors.rows, "page"), methods=["POST"]),
        *(Route(path, doors.guarded(doors.file, "page")) for path in _FILES),
        Route("/{path:path}", doors.guarded(_missing, "other"), methods=any_method),
    ]
    return Starlette(routes=routes, lifespan=alive)


class _Doors:
    """What each path does."""

    def __init__(self, servable: Servable, about: About, limits: Limits, bounds: Bounds) -> None:
        self._servable, self._about, self._limits = servable, about, limits
        self.batcher = Batcher(servable.answer, bounds, lambda *told: self._metrics.batch(*told))
        self._metrics = Metrics(lambda: self.batcher.waiting)

    def guarded(self, door: _Door, verb: str | None) -> _Door:
        """A door whose errors are answers, and which counts.

        Args:
            door: What makes the answer.
            verb: What its requests are counted as; what the path says if not given.
        """

        @functools.wraps(door)
        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            try:
                _require_home(request, self._about.hosts)
                response = await door(request)
            except Refusal as refusal:
                response = _refused(refusal)
            except InputError as error:
                response = _refused(Refusal(400, str(error)))
            except ClientDisconnect:
                response = Response(status_code=_NOBODY)
            except Exception as error:  # a bug: whoever runs the server needs the traceback
                traceback.print_exc(file=sys.stderr)
                response = _refused(Refusal(500, one_line(f"{type(error).__name__}: {error}", 300)))
            spent = time.perf_counter() - began
            counted = str(verb or getattr(request.state, "verb", "other"))
            self._metrics.answered(counted, response.status_code, spent)
            return response

        return answer

    async def model(self, request: Request) -> Response:
        """TF Serving's own."""
        # As it was written: a name may hold any sign.
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        target = rest.target(request.method, path)
        request.state.verb = target.verb
        self._servable.require(target)
        if target.verb == "status":
            return _json(_written(self._servable.status()))
        if target.verb == "metadata":
            return _json(_written(self._servable.metadata()))
        deadline = time.monotonic() + self._limits.seconds
        body = await self._body(request, deadline)
        signature = self._servable.signature
        if target.verb == "predict":
            read = functools.partial(rest.predict_request, signature_of=signature)
        else:
            read = functools.partial(
                rest.examples_request, verb=target.verb, signature_of=signature
            )
        asked = await _aside(lambda: read(rest.document(body)), len(body) > _FEW_ROWS << 10)
        if asked.rows > self._limits.rows:
            raise Refusal(
                413,
                f"A request may hold {self._limits.rows} rows; send several. Received: "
                f"{asked.rows}",
            )
        outputs = await self._answers(request, asked, deadline)
        write = {
            "predict": lambda: rest.predict_body(outputs, asked.by_row),
            "classify": lambda: rest.classify_body(outputs),
            "regress": lambda: rest.regress_body(outputs),
        }[target.verb]
        return _json(await _aside(write, asked.rows > _FEW_ROWS))

    async def _body(self, request: Request, deadline: float) -> bytes:
        """The whole body, if it is short enough and comes soon enough."""
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Refusal(415, "Expected a body as it is, without Content-Encoding")
        most = self._limits.body
        told = request.headers.get("content-length", "")
        too_long = Refusal(
            413,
            f"A body may hold {most} bytes; send several requests. Received: more",
            {"Connection": "close"},
        )
        is_long = told.isdecimal() and (len(told) > 18 or int(told) > most)
        if is_long and "expect" in request.headers:  # of it nothing has been sent yet
            raise too_long
        held, length = bytearray(), 0
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                async for chunk in request.stream():
                    length += len(chunk)
                    # Whoever is cut off while sending may never read the answer.
                    if length > _PASSED_OVER * most:
                        break
                    if length <= most and not is_long:
                        held += chunk
        except TimeoutError as error:
            seconds = f"{self._limits.seconds:g} seconds"
            raise Refusal(
                408, f"The body didn't come within {seconds}", {"Connection": "close"}
            ) from error
        if is_long or length > most:
            raise too_long
        return bytes(held)

    async def _answers(self, request: Request, asked: rest.Asked, deadline: float) -> rest.Outputs:
        """The model's answers, for as long as somebody waits for them."""
        answer = asyncio.ensure_future(self.batcher.ask(asked.signature, asked.inputs, asked.rows))
        # Nothing comes behind the body but the news that the client has gone.
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait(
                (answer, gone),
                timeout=deadline - time.monotonic(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                return answer.result()
            if gone.done():
                raise ClientDisconnect
            raise Refusal(504, f"The answer took more than {self._limits.seconds:g} seconds")
        finally:
            answer.cancel()
            gone.cancel()

    async def health(self, request: Request) -> Response:
        """Whether the server is there."""
        return Response("ok\n", media_type="text/plain")

    async def numbers(self, request: Request) -> Response:
        """Prometheus' numbers."""
        return Response(self._metrics.written(), headers={"Content-Type": CONTENT_TYPE})

    async def told(self, request: Request) -> Response:
        """What the page is to know."""
        tasks = [
            {**task, "examples": self._about.examples.get(task["signature"], [])}
            for task in self._servable.tasks()
        ]
        told = {"name": self._servable.name, "version": self._servable.version, "tasks": tasks}
        limits = {"body": self._limits.body, "rows": self._limits.rows, "files": tables.SUFFIXES}
        return _json(_written({**told, **limits}))

    async def rows(self, request: Request) -> Response:
        """The rows of a file that was dropped on the page."""
        signature = self._servable.signature(request.query_params.get("signature", ""))
        body = await self._body(request, time.monotonic() + self._limits.seconds)
        known = self._about.columns.get(signature.name, {})
        name = request.query_params.get("name", "")
        read = functools.partial(
            tables.read, body, name, [*signature.inputs], known, self._limits.rows
        )
        return _json(_written(await asyncio.to_thread(read)))

    async def file(self, request: Request) -> Response:
        """The page, or a part of it."""
        name, kind = _FILES[request.url.path]
        headers = {**_HEADERS, "Content-Type": kind}
        return Response((_PAGE / name).read_bytes(), headers=headers)


async def _missing(request: Request) -> Response:
    raise Refusal(
        404, f"Not found: {one_line(request.url.path, 100)}; the model is under /v1/models"
    )


async def _aside(make: Callable[[], _Made], long: bool) -> _Made:
    """What is made, in another thread if it takes long."""
    return await asyncio.to_thread(make) if long else make()


def _require_home(request: Request, hosts: frozenset[str]) -> None:
    """Refuses what another site's page asks through the browser of somebody who has access."""
    host = request.headers.get("host", "")
    # HTTP/1.0 may do without a name; browsers never do.
    if hosts and "host" in request.headers and _named(host) not in hosts:
        raise Refusal(403, f"This server isn't called {one_line(host, 100)!r}")
    origin = request.headers.get("origin")
    if origin is not None and urllib.parse.urlsplit(origin).netloc.lower() != host.lower():
        raise Refusal(403, f"Pages of {one_line(origin, 100)!r} may not ask this server")


def _named(host: str) -> str | None:
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _refused(refusal: Refusal) -> Response:
    headers = {**_HEADERS, **refusal.headers}
    return _json(rest.error(refusal.message), refusal.status, headers)


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] = _HEADERS) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
