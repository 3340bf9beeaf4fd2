"""Firefox without a window, driven by its own remote protocol, Marionette.

Messages are ``LENGTH:[type, number, command, parameters]`` over TCP (Mozilla's documentation of
the Marionette protocol, version 3).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

COMMAND = shutil.which("firefox") or shutil.which("firefox-esr")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Firefox:
    """A browser with a profile of its own in `folder`. Raises RuntimeError where it says no."""

    def __init__(self, folder: Path, timeout: float = 60):
        assert COMMAND is not None
        folder.mkdir(exist_ok=True)
        port = _free_port()
        (folder / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
        self.process = subprocess.Popen(
            [COMMAND, "--headless", "--marionette", "--no-remote", "--profile", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        self.socket = self._connected(port, time.monotonic() + timeout)
        self.socket.settimeout(timeout)
        self._number = 0
        self._read()  # its greeting
        self.do("WebDriver:NewSession", capabilities={})

    def _connected(self, port: int, end: float) -> socket.socket:
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 5)
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.process.kill()
                    raise
                time.sleep(0.2)

    def _read(self) -> Any:
        size = b""
        while not size.endswith(b":"):
            size += self.socket.recv(1)
        message = b""
        while len(message) < int(size[:-1]):
            message += self.socket.recv(1 << 16)
        return json.loads(message)

    def do(self, command: str, **parameters: Any) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self._read()
        if error is not None:
            raise RuntimeError(f"{command}: {error}")
        return result

    def script(self, text: str) -> Any:
        """What a function's body returns in the page; a promise is waited for."""
        return self.do("WebDriver:ExecuteScript", script=text, args=[])["value"]

    def open(self, url: str) -> None:
        self.do("WebDriver:Navigate", url="about:blank")  # a new fragment alone loads nothing
        self.do("WebDriver:Navigate", url=url)

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
