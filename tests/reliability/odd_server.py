"""A server on loopback that answers whatever a function says, and remembers what it was asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["OddServer", "completion"]


class OddServer:
    """Answers each POST as told, from `with` to its end.

    Args:
        answer: Takes a request's headers, with its path and query as `:path`, and its body; returns status, headers and body.

    Attributes:
        requests: Headers and body of every request, GET ones too.
    """

    def __init__(self, answer):
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # head and body in one piece: apart, they would take 40 ms

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                sent = {**self.headers, ":path": self.path}
                outer.requests.append((sent, body))
                status, headers, said = answer(sent, body)
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
                self.wfile.flush()

            do_GET = do_POST  # noqa: N815 - as http.server names it

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def completion(text, **more):
    """Return a chat completion that says this, as bytes."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | more
    return json.dumps({"model": "odd", "choices": [choice]}).encode()
