"""A forwarder that cuts and slows connections when told to, by as much of toxiproxy's HTTP API as sarama's tests speak.

One proxy, `kafka1`, forwards; `kafka2` to `kafka5` exist only by name. Known toxics: latency, reset_peer, timeout.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAMES = [f"kafka{number}" for number in range(1, 6)]
# Makes `close` send a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


class Proxy:
    """One proxy: where it listens, whether it does, and what it does to connections."""

    def __init__(self, name: str, listen: str = "", upstream: str = "") -> None:
        self.name = name
        self.listen = listen
        self.upstream = upstream
        self.enabled = True
        self.toxics: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._sockets: set[socket.socket] = set()

    def view(self) -> dict[str, Any]:
        toxics = list(self.toxics.values())
        return {"name": self.name, "listen": self.listen, "upstream": self.upstream, "enabled": self.enabled, "toxics": toxics}

    def enable(self, enabled: bool) -> None:
        """Opens the port, or closes it together with every connection."""
        self.enabled = enabled
        if not self.listen:
            return
        if enabled and self._listener is None:
            self._listener = socket.create_server(_address(self.listen))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        elif not enabled and self._listener is not None:
            # Closing alone would not wake the thread that waits for connections.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            with self._lock:
                sockets = list(self._sockets)
            for one in sockets:
                _end(one)

    def _toxic(self, kind: str) -> dict[str, Any] | None:
        return next((toxic for toxic in list(self.toxics.values()) if toxic["type"] == kind), None)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(_address(self.upstream))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets.update((client, server))
            for pair in (client, server), (server, client):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._toxic("reset_peer"):
                    for one in source, target:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    break
                if self._toxic("timeout"):
                    continue  # nothing gets through any more
                if latency := self._toxic("latency"):
                    time.sleep(latency["attributes"].get("latency", 0) / 1000)
                target.sendall(data)
        for one in source, target:
            _end(one)
        with self._lock:
            self._sockets.difference_update((source, target))


def _end(one: socket.socket) -> None:
    """Wakes whoever reads it, and closes it."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class Forwarder:
    """The proxies, and the HTTP server that changes them. `control` is its address."""

    def __init__(self, listen: str, upstream: str) -> None:
        self.proxies = {name: Proxy(name) for name in NAMES}
        if listen:
            self.proxies[NAMES[0]] = Proxy(NAMES[0], listen, upstream)
        proxies = self.proxies

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                status, answer = _route(proxies, self.command, self.path.strip("/").split("/"), body)
                data = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.control = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Forwarder:
        for proxy in self.proxies.values():
            proxy.enable(True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        for proxy in self.proxies.values():
            proxy.enable(False)


def _route(proxies: dict[str, Proxy], method: str, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
    match method, path:
        case "POST", ["reset"]:
            for proxy in proxies.values():
                proxy.toxics.clear()
                proxy.enable(True)
            return 204, None
        case "GET", ["proxies"]:
            return 200, {name: proxy.view() for name, proxy in proxies.items()}
        case _, ["proxies", name, *rest] if name in proxies:
            return _route_proxy(proxies[name], method, rest, body)
    return 404, {"error": "not found", "status": 404}


def _route_proxy(proxy: Proxy, method: str, path: list[str], body: dict[str, Any]) -> tuple[int, Any]:
    match method, path:
        case "GET", []:
            return 200, proxy.view()
        case "POST" | "PATCH", []:
            if "enabled" in body and body["enabled"] != proxy.enabled:
                proxy.enable(body["enabled"])
            return 200, proxy.view()
        case "POST", ["toxics"]:
            toxic = {"stream": "downstream", "toxicity": 1, "attributes": {}}
            toxic |= {key: value for key, value in body.items() if value}
            name = str(body.get("name") or f"{body['type']}_{toxic['stream']}")
            proxy.toxics[name] = toxic | {"name": name}
            return 200, proxy.toxics[name]
        case "DELETE", ["toxics", gone] if gone in proxy.toxics:
            del proxy.toxics[gone]
            return 204, None
    return 404, {"error": "not found", "status": 404}
