"""What the rivals' servers share: a free port, and the line that tells the benchmark that the model can be asked."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time

# Below the ports that the system gives to outgoing links, which Ray and others would take before we listen.
PORTS = range(20_000, 30_000)


def free_port() -> int:
    """A port that nobody listens at now."""
    for port in random.sample(PORTS, 100):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise RuntimeError(f"no free port from {PORTS.start} to {PORTS.stop}")


def announce(port: int, path: str, **about: object) -> None:
    """Wait until a GET of the path is answered 200, then print the ready line with the settings that were chosen."""
    while not _answers(port, path):
        time.sleep(0.1)
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}", **about}), flush=True)


def _answers(port: int, path: str) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request("GET", path)
        return link.getresponse().status == 200
    except OSError:
        return False
    finally:
        link.close()
