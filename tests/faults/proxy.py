"""An S3 server on this machine, and a proxy before it that does to requests what a network and a busy service do."""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

KINDS = "slow", "refused", "lost", "cut answer", "cut upload", "busy", "stale"
"""Delayed; dropped before it is read; done without an answer; done with half an answer; half of it passed on; answered
with 503; a listing as it was some seconds ago."""
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
LISTING = "<ListBucketResult><Name>{}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount><IsTruncated>false</IsTruncated>"
OBJECT = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>"
MOST_TRIES = 12  # of one request, the last of which passes unless all are to fail


@contextlib.contextmanager
def bucket(name: str) -> Iterator[tuple[str, int]]:
    """Host and port of an S3 server with a bucket, whose variables are in the environment."""
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in variables(host, port).items():
            patch.setenv(key, value)
        connection = http.client.HTTPConnection(host, port)
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200
        yield host, port
    server.stop()


def variables(host: str, port: int) -> dict[str, str]:
    """Of the environment, with which a client finds the server."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **keys}


class Faults:
    """What is done to which requests.

    A request's fate depends on the seed, its method, its path and how often it was made alone.

    Attributes:
        chances: of each kind of fault, out of one.
        stale_seconds: age of a stale listing.
        done: how often each was done.
        bytes: of the answers to requests for objects.
    """

    def __init__(self, target: tuple[str, int], chances: Mapping[str, float], seed: int = 0):
        self.target, self.chances, self.seed, self.stale_seconds = target, dict(chances), seed, 3.0
        self.done, self.asked, self.bytes = Counter[str](), Counter[str](), 0
        self._tries = Counter[str]()
        self._objects: dict[str, list[tuple[float, int | None]]] = {}  # since when, and how large; None: it is gone
        self._lock = threading.Lock()

    def fate(self, method: str, path: str) -> str:
        with self._lock:
            self.asked[method] += 1
            self._tries[f"{method} {path}"] += 1
            count = self._tries[f"{method} {path}"]
        chance = random.Random(f"{self.seed} {method} {path} {count}").random()
        for kind, share in self.chances.items():
            if chance < share and (share == 1 or count % MOST_TRIES):
                fits = {"cut upload": method == "PUT", "stale": method == "GET" and "list-type=2" in path}
                return kind if fits.get(kind, True) else ""
            chance -= share
        return ""

    def note(self, kind: str) -> None:
        with self._lock:
            self.done[kind] += 1

    def changed(self, method: str, path: str, body: bytes, status: int) -> None:
        """Keep what is there, for listings of earlier times."""
        if status >= 300 or method not in ("PUT", "DELETE"):
            return
        key = urllib.parse.unquote(path.partition("?")[0]).lstrip("/").partition("/")[2]
        with self._lock:
            self._objects.setdefault(key, []).append((time.monotonic(), len(body) if method == "PUT" else None))

    def listing(self, path: str) -> bytes:
        """As it was some seconds ago."""
        url = urllib.parse.urlsplit(path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        prefix, then = asked.get("prefix", ""), time.monotonic() - self.stale_seconds
        with self._lock:
            states = {key: [size for at, size in found if at < then] for key, found in self._objects.items()}
        there = {key: sizes[-1] for key, sizes in states.items() if sizes and sizes[-1] is not None}
        below = {key[len(prefix) :]: size for key, size in sorted(there.items()) if key.startswith(prefix)}
        folders = {part.split("/")[0] for part in below if "/" in part} if asked.get("delimiter") else set()
        files = {part: size for part, size in below.items() if not folders or "/" not in part}
        parts = [OBJECT.format(prefix + part, size) for part, size in files.items()]
        parts += [f"<CommonPrefixes><Prefix>{prefix}{part}/</Prefix></CommonPrefixes>" for part in sorted(folders)]
        head = LISTING.format(url.path.strip("/"), prefix, len(parts))
        return f"{head}{''.join(parts)}</ListBucketResult>".encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def _pass(self) -> None:
        faults, method = self.faults, self.command
        fate = faults.fate(method, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fate:
            faults.note(fate)
        if fate == "slow":
            time.sleep(random.Random(self.path).uniform(0.1, 2.0))
        if fate == "refused":
            self.close_connection = True
            return
        if fate == "busy":
            self._answer(503, {"Content-Type": "application/xml"}, BUSY)
            return
        if fate == "stale":
            self._answer(200, {"Content-Type": "application/xml"}, faults.listing(self.path))
            return
        if fate == "cut upload":
            self._half(body)
            return
        status, headers, content = self._asked(body)
        faults.changed(method, self.path, body, status)
        if fate == "lost":
            self.close_connection = True
            return
        self._answer(status, headers, content, cut=fate == "cut answer")

    def _asked(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(*self.faults.target, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            connection.putheader(key, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.headers.items()), content

    def _half(self, body: bytes) -> None:
        """Pass on half of an upload, and end both connections."""
        connection = http.client.HTTPConnection(*self.faults.target, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            connection.putheader(key, value)
        connection.endheaders(body[: len(body) // 2])
        connection.close()
        self.close_connection = True

    def _answer(self, status: int, headers: Mapping[str, str], content: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        length = headers.get("Content-Length", str(len(content)))
        left_out = "content-length", "transfer-encoding", "connection"
        for key, value in headers.items():
            if key.lower() not in left_out:
                self.send_header(key, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.faults.bytes += len(content) if self.command == "GET" and "list-type" not in self.path else 0
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815


class _Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, *args: object) -> None:
        """A client that went away."""


@contextlib.contextmanager
def between(target: tuple[str, int], chances: Mapping[str, float], seed: int = 0) -> Iterator[Faults]:
    """Clients that are started now meet these faults; the environment says where the proxy is."""
    faults = Faults(target, chances, seed)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"faults": faults}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        _forget_clients()
        try:
            yield faults
        finally:
            server.shutdown()
            server.server_close()
            _forget_clients()


def _forget_clients() -> None:
    """Those of this process, which know the server that there was."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
