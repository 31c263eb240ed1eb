"""Builders of other machines, of which none has to be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.builders.saved import SavedBuilders
from tests.support.machine.commands import Printed, call


def run(home: Path, *words: str) -> Printed:
    return call(*words, environ={"HOME": str(home), "POLYARCH_ROOT": str(home / "store")})


@pytest.mark.parametrize(
    ("driver", "address"), [("dask", "tls://scheduler.example:8786"), ("remote", "tcp://b:1234")]
)
def test_certificates_are_found_from_any_directory(
    driver: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = "cacert=tls/ca.pem,cert=tls/c.pem,key=/k.pem"
    made = run(
        tmp_path, "create", f"--driver={driver}", "--name=b", f"--driver-opt={options}", address
    )

    builder = SavedBuilders({"HOME": str(tmp_path)}).find("b")

    assert (made.status, made.err) == (0, "")
    assert builder is not None
    assert dict(builder.nodes[0].driver_opts) == {
        "cacert": f"{tmp_path}/tls/ca.pem",
        "cert": f"{tmp_path}/tls/c.pem",
        "key": "/k.pem",
    }


def test_who_looks_for_a_builder_in_the_list_finds_its_whole_name(tmp_path: Path) -> None:
    name = "a-builder-with-a-name-that-is-long-enough"
    address = "tcp://some-machine.far-away.example:1234"
    run(tmp_path, "create", "--driver=remote", f"--name={name}", address)

    listed = run(tmp_path, "ls").out.splitlines()

    assert [line.split()[0] for line in listed if line.startswith(name)] == [name]
    assert any(f"\\_ {name}0 " in line for line in listed)


def test_the_list_says_how_to_get_what_speaks_with_builders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "create", "--driver=remote", "--name=b", "tcp://b.example:1234")
    monkeypatch.setattr("polyarch.buildkit.needs.is_there", lambda _name: False)

    listed = run(tmp_path, "ls")

    assert "which isn't installed: pip install 'polyarch[buildkit]'" in listed.err


def test_a_daemon_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyarch.buildkit.nodes._SECONDS", 0.0)
    address = f"unix://{tmp_path}/none.sock"

    made = run(tmp_path, "create", "--driver=remote", "--name=b", "--bootstrap", address)
    listed = run(tmp_path, "ls", "--format={{.Name}} {{.Status}}")
    again = run(tmp_path, "inspect", "--bootstrap", "b")

    assert made.status == again.status == 1
    assert "[internal] waiting for connection" in made.err
    assert made.err.splitlines()[-1] == (
        f"ERROR: the builder at {address} can't be reached: [Errno 2] No such file or directory, "
        "and has been waited for 0 seconds"
    )
    assert "b0 inactive" in listed.out
