"""A model hub with one repository at one commit, as far as its own client reads files from it."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPOSITORY, COMMIT = "org/name", "ab" * 20


@contextmanager
def hub_server(contents: dict[str, bytes]) -> Iterator[str]:
    """Its URL, while the block lasts. `contents`: by path."""

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
                self.tell({"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": []})
            elif path.startswith(f"/api/models/{REPOSITORY}/tree/{COMMIT}"):
                below = path.removeprefix(f"/api/models/{REPOSITORY}/tree/{COMMIT}").strip("/")
                self.tell([entry(name) for name in contents if not below or name.startswith(f"{below}/")])
            elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/") and path.split("/", 5)[5] in contents:
                self.give(contents[path.split("/", 5)[5]])
            else:
                self.refuse("RepoNotFound" if REPOSITORY not in path or COMMIT not in path else "EntryNotFound")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
            self.tell([entry(name) for name in contents if name in asked])

        def tell(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def give(self, content: bytes) -> None:
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Accept-Ranges": "bytes"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked is None:
                return self.send(200, content, headers)
            begin, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            return self.send(206, content[begin : end + 1], headers | {"Content-Range": f"bytes {begin}-{end}/{len(content)}"})

        def refuse(self, code: str) -> None:
            self.send(404, b"", {"X-Error-Code": code})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    def entry(name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(contents[name]), "oid": hashlib.sha1(contents[name]).hexdigest()}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
