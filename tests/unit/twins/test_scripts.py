"""Scripts that perl's twin runs on machines of 32 bits."""

from __future__ import annotations

from pathlib import Path

from polyarch.twins.scripts import find_scripts, runs_some_scripts


def test_those_that_a_root_has_are_found_with_their_sizes(tmp_path: Path) -> None:
    for path in ("usr/sbin/adduser", "usr/bin/other", "usr/share/elsewhere"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(7))
    (tmp_path / "usr/sbin/deluser").symlink_to("/usr/share/elsewhere")

    assert find_scripts(tmp_path) == {"/usr/sbin/adduser": 7}


def test_only_perl_is_trusted_with_some() -> None:
    assert runs_some_scripts("/usr/bin/perl")
    assert not runs_some_scripts("/usr/bin/bash")
