"""`buildctl dial-stdio`, for tests: passes standard input on to a daemon's socket, and what that says to standard output.

bridge.py SOCKET                a daemon of its own
bridge.py --engine SOCKET       the BuildKit inside of a Docker engine
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def main() -> int:
    """Pass bytes on until either end closes."""
    words = [each for each in sys.argv[1:] if each not in {"--engine", "dial-stdio"}]
    daemon = socket.socket(socket.AF_UNIX)
    try:
        daemon.connect(words[0])
    except OSError as error:
        sys.stderr.write(f"error: dial unix {words[0]}: connect: {error.strerror}\n")
        return 1
    if "--engine" in sys.argv:
        daemon.sendall(_UPGRADE)
        while not (answer := daemon.recv(1)).endswith(b"\n"):
            pass
        line = b""
        while line != b"\r\n":
            line = b""
            while not line.endswith(b"\n"):
                answer = daemon.recv(1)
                line += answer

    def there() -> None:
        while data := os.read(0, 1 << 16):
            daemon.sendall(data)
        daemon.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=there, daemon=True).start()
    while data := daemon.recv(1 << 16):
        os.write(1, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
