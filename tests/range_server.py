"""An HTTP server of a folder, with ranges and, to be tried, without, late, cut off or failing at first.

`python tests/range_server.py FOLDER LATENCY` says its port on standard output.
"""

from __future__ import annotations

import http.server
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Server(http.server.ThreadingHTTPServer):
    """latency: seconds before each answer. ranges: whether they are served. failures: answers that are 503 first.
    cut: bytes that are missing at the end of each range. lists: whether a folder's files are listed."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, *, latency: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.latency = folder, latency
        self.ranges, self.lists, self.failures, self.cut = True, True, 0, 0
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        server = self.server
        time.sleep(server.latency)
        server.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        path = server.folder / self.path.lstrip("/")
        if server.failures:
            server.failures -= 1
            self._answer(503, b"busy")
        elif path.is_dir() and server.lists:
            names = [f'<a href="{name.name}">{name.name}</a>' for name in sorted(path.iterdir())]
            self._answer(200, "\n".join(names).encode(), {"Content-Type": "text/html"})
        elif not path.is_file():
            self._answer(404, b"no such file")
        else:
            self._file(path)

    do_HEAD = do_GET

    def _file(self, path: Path) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        size = path.stat().st_size
        if asked is None or not self.server.ranges:
            self._answer(200, path.read_bytes())
            return
        start, end = int(asked[1]), min(int(asked[2]) + 1, size)
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(end - start)
        self._answer(206, data[: len(data) - self.server.cut], {"Content-Range": f"bytes {start}-{end - 1}/{size}"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


if __name__ == "__main__":
    serving = Server(Path(sys.argv[1]), latency=float(sys.argv[2]))
    print(serving.url, flush=True)
    sys.stdin.read()
