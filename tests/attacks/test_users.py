"""Images that lend root's id to others: a number is that id, never a name, and never one that wraps.

`USER 1234` beside an entry called 1234 (CVE-2016-3697 of runc), and ids that are 0 in 32 bits (CVE-2024-40635
of containerd), in USER, `--user`, `--chown`, group parts, `/etc/group` and HOME.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.worker.users import Account, Owner, account, owner
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

PASSWD = """root:x:0:0:root:/root:/bin/sh
1234:x:0:0::/root:/bin/sh
+7:x:0:0::/root:/bin/sh
wraps:x:4294967296:0::/:/bin/sh
below:x:-1:0::/:/bin/sh
groupwraps:x:5:4294967296::/:/bin/sh
bob:x:1000:1000::/home/bob:/bin/sh
member:x:1001:1001::/home/member:/bin/sh
"""
GROUP = "root:x:0:\n1234:x:0:\n55:x:0:bob\nwraps:x:4294967296:member\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1234", Account(uid=1234, gid=0)),
        ("01234", Account(uid=1234, gid=0)),
        ("+7", Account(uid=7, gid=0)),
        ("1234:1234", Account(uid=1234, gid=1234)),
        ("bob:1234", Account(uid=1000, gid=1234, home="/home/bob")),
        ("bob", Account(uid=1000, gid=1000, groups=(0,), home="/home/bob")),
        ("1000", Account(uid=1000, gid=1000, groups=(0,), home="/home/bob")),
        ("2147483647:2147483647", Account(uid=2147483647, gid=2147483647)),
    ],
)
def test_a_number_is_that_id(tree: Path, text: str, expected: Account) -> None:
    assert account(tree, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("-1", "4294967295", "4294967296", "2147483648", "9" * 5000, "0" * 5000 + "4294967296"),
        *("0:-1", "0:4294967296", "bob:2147483648", "wraps", "below", "groupwraps", "bob:wraps"),
        *("0:wraps", "member", "1001"),
    ],
)
def test_what_would_wrap_is_refused(tree: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"uids and gids must be in range 0-2147483647$"):
        account(tree, text)


@pytest.mark.parametrize("text", ["1234", "1234:1234", "1234:55"])
def test_chown_takes_numbers_for_ids(tree: Path, text: str) -> None:
    assert owner(tree, text) == Owner(uid=1234, gid=int(text.rpartition(":")[2]))


@pytest.mark.parametrize("text", ["wraps", "below", "groupwraps", "bob:wraps"])
def test_chown_refuses_entries_that_would_wrap(tree: Path, text: str) -> None:
    with pytest.raises(InputError, match="uids and gids must be in range"):
        owner(tree, text)


@pytest.mark.runtime
@pytest.mark.root
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_a_step_and_a_program_get_the_id(
    who: Person, registry: RealRegistry, platform: str
) -> None:
    base = f"{registry.host}/library/busybox"
    who.write("passwd", "1234:x:0:0::/root:/bin/sh\n")
    who.write("group", "1234:x:0:\n")
    asked = "RUN id -u >>/tmp/ids; id -g >>/tmp/ids; id -G >>/tmp/ids; echo $HOME >>/tmp/ids"
    lines = (f"FROM {base}", "COPY passwd group /etc/", "USER 1234:1234", asked)
    who.write("Dockerfile", "\n".join(lines))
    who.run("build", "--platform", platform, "-o", "out", ".").check()
    assert (who.work / "out/tmp/ids").read_text() == "1234\n1234\n1234\n/\n"


@pytest.mark.runtime
@pytest.mark.root
def test_run_takes_a_number_for_an_id(root: Person, registry: RealRegistry) -> None:
    root.write("passwd", "1234:x:0:0::/root:/bin/sh\n")
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\nCOPY passwd /etc/passwd\n")
    root.run("build", "-t", "mine", ".").check()

    assert root.run("run", "--user=1234", "mine", "id", "-u").check().out == "1234\n"
    refused = root.run("run", "--user=4294967296", "mine", "id", "-u")
    assert "uids and gids must be in range 0-2147483647" in refused.err
