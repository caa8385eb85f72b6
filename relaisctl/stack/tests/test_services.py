"""How a service is asked whether it is ready: over real HTTP."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from relaisctl.stack.services import check_ready


class Answer(BaseHTTPRequestHandler):
    """Ready at /good/..., and not at /bad/..., saying why."""

    def do_GET(self) -> None:
        good = self.path == "/good/health/ready"
        self.send_response(200 if good else 503)
        self.end_headers()
        self.wfile.write(b"" if good else b"Kafka: no broker")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's own output is enough."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_ready_whatever_the_proxy_settings(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    check_ready(f"{address}/good")


def test_a_service_that_is_not_ready_says_why(address: str) -> None:
    with pytest.raises(ConnectionError, match="/health/ready answers 503: Kafka: no broker"):
        check_ready(f"{address}/bad")
