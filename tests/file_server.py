"""A real HTTP server on this machine that serves one file, as well or as badly as a test asks for."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between a test and its server, and an error, not a look-up, for any other host."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    look_up = socket.getaddrinfo

    def local(host: Any, *rest: Any, **more: Any) -> Any:
        assert host == "127.0.0.1", f"a test asks for {host}"
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local)


@dataclass
class Site:
    """What is served, how, and who asked. Lists have an entry a request; without one, it goes well."""

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    describes_parts: bool = True  # validators in a 206
    length: bool = True
    type: str = "application/octet-stream"
    statuses: list[int] = field(default_factory=list)  # of answers without the file
    sends: list[int] = field(default_factory=list)  # bytes after which the connection ends
    moved: str | None = None  # where requests that are not below /moved are sent
    holds_at: int | None = None  # bytes of the file after which the server waits
    go_on: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, str]] = field(default_factory=list)  # headers of each request
    url: str = ""

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]


@contextmanager
def serving(content: bytes, **how: Any) -> Iterator[Site]:
    """A site at `site.url` + "/NAME"."""
    site = Site(content, **how)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(dict(self.headers))
            if site.moved and not self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", site.moved)
                self.end_headers()
            elif site.statuses and (status := site.statuses.pop(0)) != 200:
                self.send_error(status)
            else:
                self.serve()

        def serve(self) -> None:
            start, total = 0, len(site.content)
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            condition = self.headers.get("If-Range")
            same = not site.heeds_if_range or condition is None or condition in (site.etag, site.modified)
            partial = site.ranges and asked is not None and same
            if partial and asked:
                start = int(asked[1])
            if partial and start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.end_headers()
                return
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            for name, value in (("ETag", site.etag), ("Last-Modified", site.modified)):
                if value and (site.describes_parts or not partial):
                    self.send_header(name, value)
            self.send_header("Content-Type", site.type)
            if site.length:
                self.send_header("Content-Length", str(total - start))
            self.end_headers()
            body = site.content[start:]
            if site.holds_at is not None:
                early = max(site.holds_at - start, 0)
                self.wfile.write(body[:early])
                body = body[early:]
                site.go_on.wait(300)
            self.wfile.write(body[: site.sends.pop(0)] if site.sends else body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:  # clients that go away are what these tests are about
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.go_on.set()
            server.shutdown()
            thread.join()
