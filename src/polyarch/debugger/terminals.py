"""Terminals of other programs, which these lend: an editor opens one, and a program in it hands it over by a socket.

The lender sends its standard input and output as descriptors, and then a byte whenever its window has another size. It
keeps the terminal raw until the socket is closed. So keys, colours and sizes are those of the terminal itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import tempfile
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from polyarch.debugger.walker import Pause
from polyarch.errors import InputError
from polyarch.request.talk import Talk

__all__ = ["Lent", "Terminals", "lend_terminal"]

_HELLO, _RESIZED = b"1", b"w"
_USUAL_SIZE = (24, 80)


class Lent:
    """A terminal that was lent."""

    def __init__(self, connection: socket.socket, keys: int, screen: int) -> None:
        self._connection = connection
        self._screen = screen
        self._masters: list[int] = []
        size = os.get_terminal_size(screen)[::-1] if os.isatty(screen) else _USUAL_SIZE
        self.talk = Talk(stdin=keys, terminal=size, on_terminal=self._masters.append)

    def write(self, _stream: int, data: bytes) -> None:
        """Show something."""
        with contextlib.suppress(OSError):  # a window that was closed
            while data:
                data = data[os.write(self._screen, data) :]

    def say(self, line: str) -> None:
        """Show a line of our own."""
        self.write(1, line.encode(errors="replace") + b"\r\n")

    def on_gone(self, gone: Callable[[], None]) -> None:
        """Have something called when the lender has ended; from now on sizes are passed on."""

        def watch() -> None:
            with contextlib.suppress(OSError):
                while self._connection.recv(1):
                    self._resize()
            gone()

        threading.Thread(target=watch, name="terminal-size", daemon=True).start()

    def _resize(self) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(self._screen, termios.TIOCGWINSZ, bytes(8))
            for master in self._masters:
                fcntl.ioctl(master, termios.TIOCSWINSZ, size)


class Terminals:
    """Addresses at which terminals are lent."""

    def listen(self, use: Callable[[Lent], None], pause: Pause) -> str:
        """Return the address of a socket; `use` is called, in a thread, with the terminal that is lent there.

        The build doesn't go on before it has returned.
        """
        directory = tempfile.mkdtemp(prefix="polyarch-debug-")
        address = os.path.join(directory, "s.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(address)
            listener.listen(1)
        except OSError as error:
            listener.close()
            shutil.rmtree(directory, ignore_errors=True)
            raise InputError(f"can't listen at {address}: {error.strerror or error}") from error

        def serve() -> None:
            try:
                connection = _accepted(listener)
            finally:
                listener.close()
                shutil.rmtree(directory, ignore_errors=True)
            if connection is not None:
                with connection:
                    _use(connection, use)

        def give_up() -> None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)

        thread = threading.Thread(target=serve, name="terminal", daemon=True)
        pause.work.append(thread)
        pause.ended.on_cancel(give_up)
        thread.start()
        return address


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except OSError:
        return None  # nobody came before the build went on


def _use(connection: socket.socket, use: Callable[[Lent], None]) -> None:
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    try:
        if len(descriptors) == 2:
            use(Lent(connection, *descriptors))
    finally:
        for each in descriptors:
            os.close(each)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def lend_terminal(address: str, keys: int, screen: int) -> None:
    """Lend a terminal to whoever listens at an address, until that's done with it. Raises InputError if nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
        except OSError as error:
            raise InputError(
                f"no debugger listens at {address}: {error.strerror or error}",
                hint="the build has gone on; type exec again where it stops next",
            ) from error
        with _raw(keys), _telling_of_sizes(connection):
            socket.send_fds(connection, [_HELLO], [keys, screen])
            with contextlib.suppress(OSError):
                while connection.recv(1):
                    pass


@contextmanager
def _raw(keys: int) -> Iterator[None]:
    if not os.isatty(keys):
        yield
        return
    before = termios.tcgetattr(keys)
    tty.setraw(keys)
    try:
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


@contextmanager
def _telling_of_sizes(connection: socket.socket) -> Iterator[None]:
    def tell(number: int, frame: FrameType | None) -> None:
        del number, frame
        with contextlib.suppress(OSError):
            connection.send(_RESIZED)

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
