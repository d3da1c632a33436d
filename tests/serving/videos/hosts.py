"""A host that videos are fetched from, with everything that such a host may do."""

import contextlib
import gzip
import http.server
import threading
import time


def _handler(film):
    class Handler(http.server.BaseHTTPRequestHandler):
        asked = []

        def do_GET(self):
            self.asked.append(self.path)
            with contextlib.suppress(OSError):
                getattr(self, self.path.partition("?")[0].strip("/"), self.gone)()

        def film(self):
            self._begin(200, {"content-length": str(len(film))})
            self.wfile.write(film)

        def redirect(self):
            self._begin(302, {"location": self.path.partition("?to=")[2]})

        def endless(self):
            self._begin(200, {})
            while True:
                self.wfile.write(bytes(1 << 16))

        def slow(self):
            self._begin(200, {})
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

        def packed(self):
            self._begin(200, {"content-encoding": "gzip"})
            self.wfile.write(gzip.compress(bytes(50_000_000)))

        def gone(self):
            self._begin(404, {})

        def _begin(self, status, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def host(film):
    """Its name and port, and the paths that it was asked for; ``/film`` is a video, the rest is trouble."""
    handler = _handler(film)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
