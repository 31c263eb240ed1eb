from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.worker.users import Account, Owner, account, owner

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\nbad line\nodd:x:none:7\n"
)
GROUP = "root:x:0:\nstaff:x:50:bob,eve\nbob:x:1001:\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "uid", "gid"),
    [
        ("55", 55, 55),
        ("1:2", 1, 2),
        ("bob", 1000, 1001),
        ("bob:staff", 1000, 50),
        ("bob:9", 1000, 9),
        ("bob:", 1000, 0),
        ("bob:nogrp", 1000, 1001),
        (":staff", 0, 50),
        ("nosuch", 0, 0),
        ("nosuch:nogrp", 0, 0),
        ("1:nogrp", 1, 1),
        ("1:2:3", 1, 1),
        ("7:", 7, 0),
        ("root:root", 0, 0),
        ("+5:-2", 5, 4294967294),
        ("-1", 0, 0),
        ("2147483648", 0, 0),
        ("bad line", 0, 0),
        ("odd", 0, 7),
        ("9" * 5000, 0, 0),
        ("0" * 5000 + "7", 7, 7),
    ],
)
def test_owner(root: Path, text: str, uid: int, gid: int) -> None:
    assert owner(root, text) == Owner(uid=uid, gid=gid)


def test_root_is_0_whatever_the_image_says(root: Path) -> None:
    (root / "etc/passwd").write_text("root:x:5:6::/:/bin/sh\n")
    assert owner(root, "root") == Owner(uid=0, gid=0)


def test_databases_may_be_links(root: Path) -> None:
    (root / "usr").mkdir()
    (root / "etc/passwd").rename(root / "usr/passwd")
    (root / "etc/passwd").symlink_to("/usr/passwd")
    assert owner(root, "bob") == Owner(uid=1000, gid=1001)


def test_owner_without_databases(tmp_path: Path) -> None:
    assert owner(tmp_path, "bob:staff") == Owner(uid=0, gid=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Account(uid=0, gid=0, home="/root")),
        ("bob", Account(uid=1000, gid=1001, groups=(50,), home="/home/bob")),
        ("1000", Account(uid=1000, gid=1001, groups=(50,), home="/home/bob")),
        ("bob:root", Account(uid=1000, gid=0, home="/home/bob")),
        ("7", Account(uid=7, gid=0)),
        ("7:8", Account(uid=7, gid=8)),
    ],
)
def test_account(root: Path, text: str, expected: Account) -> None:
    assert account(root, text) == expected


def test_account_of_unknown_names(root: Path) -> None:
    with pytest.raises(InputError, match="unable to find user eve: no matching entries"):
        account(root, "eve")
    with pytest.raises(InputError, match="unable to find group nogrp: no matching entries"):
        account(root, "bob:nogrp")


def test_account_of_endless_numbers(root: Path) -> None:
    with pytest.raises(InputError, match=r"uids and gids must be in range 0-2147483647"):
        account(root, "9" * 5000)
