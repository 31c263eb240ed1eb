"""Where a server listens, and whom it lets in."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.errors import InputError, MachineError
from polyarch.serve.address import (
    Address,
    Certificates,
    context_of,
    default_address,
    listen,
    parse_address,
)

NOTHING = Certificates()
PAIR = Certificates(certificate="c", key="k")
ALL = Certificates(certificate="c", key="k", authority="a")


@pytest.fixture
def directory() -> Iterator[Path]:
    # The kernel takes 107 bytes for a socket's path.
    with tempfile.TemporaryDirectory(prefix="pa-", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("text", "certificates", "address"),
    [
        ("stdio", NOTHING, Address()),
        ("unix:///run/x.sock", NOTHING, Address(path="/run/x.sock")),
        ("tcp://127.0.0.1:1234", NOTHING, Address(host="127.0.0.1", port=1234)),
        ("tcp://[::1]:1234", NOTHING, Address(host="::1", port=1234)),
        ("tcp://localhost:0", PAIR, Address(host="localhost", port=0)),
        ("tcp://0.0.0.0:1234", ALL, Address(host="0.0.0.0", port=1234)),
    ],
)
def test_addresses(text: str, certificates: Certificates, address: Address) -> None:
    assert parse_address(text, certificates) == address


@pytest.mark.parametrize("text", ["", "unix://", "tcp://", "tcp://host", "tcp://h:x", "ssh://h:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="isn't an address to listen at"):
        parse_address(text, NOTHING)


def test_other_machines_come_in_with_certificates_only() -> None:
    with pytest.raises(InputError, match="anyone who reaches it may do what you may"):
        parse_address("tcp://0.0.0.0:1", NOTHING)
    with pytest.raises(InputError, match="any client would be let in"):
        parse_address("tcp://build.example:1", PAIR)
    with pytest.raises(InputError, match="both a certificate and its key"):
        parse_address("tcp://127.0.0.1:1", Certificates(certificate="c"))
    assert parse_address("tcp://[::]:1", NOTHING, is_open=True) == Address(host="::", port=1)


def test_addresses_are_shown_as_clients_write_them() -> None:
    shown = [Address(), Address(path="/x"), Address(host="h", port=1), Address(host="::1", port=2)]

    assert list(map(str, shown)) == ["stdio", "unix:///x", "tcp://h:1", "tcp://[::1]:2"]
    assert default_address({"XDG_RUNTIME_DIR": "/r"}) == "unix:///r/polyarch/buildkitd.sock"


def test_a_socket_is_its_owners_alone(directory: Path) -> None:
    path = directory / "new" / "s"

    with listen(Address(path=str(path))):
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (path, path.parent)]
        with pytest.raises(MachineError, match="somebody listens at"):
            listen(Address(path=str(path)))
    # It is there still, as after a kill.
    with listen(Address(path=str(path))), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))

    assert modes == [0o600, 0o700]


@pytest.mark.parametrize("made", ["open", "link"])
def test_a_directory_that_others_may_have_made_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    shared = directory / "polyarch-of-me"
    monkeypatch.setattr("polyarch.serve.address._shared", lambda: str(shared))
    if made == "link":
        shared.symlink_to(directory)
    else:
        shared.mkdir()
        shared.chmod(0o777)

    with pytest.raises(MachineError, match="others could put their socket there"):
        listen(Address(path=str(shared / "polyarch/s")))


def test_other_files_are_left_alone(directory: Path) -> None:
    (directory / "file").write_text("precious")

    with pytest.raises(MachineError, match="no socket"):
        listen(Address(path=str(directory / "file")))
    with pytest.raises(MachineError, match="can't listen at tcp://192"):
        listen(Address(host="192.0.2.1", port=1))
    assert (directory / "file").read_text() == "precious"


def test_certificates_that_are_none(tmp_path: Path) -> None:
    assert context_of(NOTHING) is None
    with pytest.raises(MachineError, match="the certificates can't be read"):
        context_of(Certificates(certificate=str(tmp_path / "c"), key=str(tmp_path / "k")))
