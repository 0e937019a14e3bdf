"""A web server on this machine that breaks off, forgets ranges or refuses, as it is told."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files`; the next requests are answered as `plan` says, then whole.

    "cut N": N bytes of what was asked for, then the connection ends; "whole": all of the file, whatever was asked
    for; "whole N": as that, but N bytes; "silent" or "silent N": without saying how much comes; a number: that status.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.plan, self.requests = {}, [], []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        word, _, count = (self.server.plan.pop(0) if self.server.plan else "cut").partition(" ")
        body = self.server.files[self.path]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and word != "whole" else 0
        if word.isdigit():
            self.send_error(int(word))
        elif start and start >= len(body):
            self.answer(416, f"bytes */{len(body)}", 0)
        else:
            length = None if word == "silent" else len(body) - start
            self.answer(206 if start else 200, f"bytes {start}-{len(body) - 1}/{len(body)}" if start else None, length)
            self.wfile.write(body[start:][: int(count) if count else None])

    def answer(self, status, content_range, length):
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    """A running server."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
