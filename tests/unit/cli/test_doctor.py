from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.cli.command import Context
from polyarch.cli.doctor_machine import credentials, disk, emulators, kernel, subordinate_ids
from polyarch.cli.doctor_report import Check, Grade, Report
from polyarch.cli.doctor_store import look_at_store
from polyarch.digest import sha256
from polyarch.errors import StoreError
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.solver.records import Records
from polyarch.store.store import Store

GOOD = Check(name="kernel", grade=Grade.OK, text="Linux 6")
POOR = Check(name="overlayfs", grade=Grade.WARN, text="copies", mend="sudo modprobe overlay")
BAD = Check(name="runtime", grade=Grade.FAIL, text="none works", mend="sudo apt-get install runc")


def context(environ: Mapping[str, str]) -> Context:
    stream = io.StringIO()
    return Context(program="polyarch", environ=environ, stdin=stream, stdout=stream, stderr=stream)


def test_text() -> None:
    assert Report(checks=(GOOD, POOR, BAD), is_sound=True).text() == (
        "[ok]   kernel     Linux 6\n"
        "[warn] overlayfs  copies\n"
        "                  -> sudo modprobe overlay\n"
        "[fail] runtime    none works\n"
        "                  -> sudo apt-get install runc\n"
        "\n"
        "not all right: runtime\n"
    )


@pytest.mark.parametrize(
    ("checks", "healthy", "verdict"),
    [
        ((GOOD,), True, "all right"),
        ((GOOD, POOR), True, "all right, but for: overlayfs"),
        ((BAD, BAD, POOR), False, "not all right: runtime"),
    ],
)
def test_verdict(checks: tuple[Check, ...], healthy: bool, verdict: str) -> None:
    report = Report(checks=checks, is_sound=None)

    assert report.is_healthy is healthy
    assert report.text().splitlines()[-1] == verdict


def test_json() -> None:
    assert json.loads(Report(checks=(POOR,), is_sound=False).json()) == {
        "healthy": True,
        "sound": False,
        "checks": [
            {
                "name": "overlayfs",
                "status": "warn",
                "text": "copies",
                "mend": "sudo modprobe overlay",
            }
        ],
    }


# --- the machine ---


def test_kernel() -> None:
    found = kernel()

    assert (found.name, os.uname().release in found.text) == ("kernel", True)


def test_nobody_has_subordinate_ids() -> None:
    found = subordinate_ids(names=("4242424242", "no-such-user"))

    assert found.grade is Grade.WARN
    assert found.mend.endswith(" no-such-user")


@pytest.mark.parametrize(
    ("config", "grade", "text"),
    [
        (None, Grade.OK, "none: there is no "),
        ({"auths": {"a": {}, "b": {}}}, Grade.OK, "2 registries signed in to"),
        ({"credsStore": "there"}, Grade.OK, "0 registries signed in to"),
        ({"credHelpers": {"x": "away"}}, Grade.WARN, "names the program docker-credential-away"),
        ("{", Grade.WARN, "can't be used"),
        ([], Grade.WARN, "can't be used"),
    ],
)
def test_credentials(config: object, grade: Grade, text: str, tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-there"
    helper.touch(mode=0o755)
    if config is not None:
        written = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "config.json").write_text(written)
    found = credentials(context({"DOCKER_CONFIG": str(tmp_path), "PATH": str(tmp_path)}))

    assert (found.grade, text in found.text, bool(found.mend)) == (grade, True, grade is Grade.WARN)


def test_disk(tmp_path: Path) -> None:
    found = disk(context({"POLYARCH_ROOT": str(tmp_path / "not/yet")}))

    assert found.text.endswith(f"free at {tmp_path}/not/yet")
    assert not (tmp_path / "not").exists()


def test_architectures_without_an_emulator(tmp_path: Path) -> None:
    found = list(emulators(context({"POLYARCH_ROOT": str(tmp_path), "PATH": "/nowhere"})))

    natively = [check.name for check in found if check.text == "runs natively"]
    assert f"linux/{'amd64' if os.uname().machine == 'x86_64' else 'arm64'}" in natively
    for check in found:
        assert (check.grade is Grade.WARN) == bool(check.mend) == check.text.startswith("no static")


# --- the store ---


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, works=False)


def test_a_sound_store_with_leftovers(store: Store) -> None:
    (store.snapshots_folder / "stray/fs").mkdir(parents=True)
    records = Records(store.database)
    record = records.make(
        identity="i",
        result='[{"snapshot":"step-gone"}]',
        step="s",
        ingredients=Ingredients(op=sha256(b""), inputs=()),
    )
    records.save([CacheKey("key")], record)
    seen = look_at_store(store, ["1-dead"], deep=False, mend=False)
    mended = look_at_store(store, [], deep=True, mend=True)

    assert seen.is_sound
    assert [(check.grade, check.text.partition("; ")[2]) for check in seen.checks] == [
        (
            Grade.OK,
            "3 things that killed builds have left are harmless, and go by themselves",
        )
    ]
    assert mended.checks[0].text == f"{store.root} is sound (every blob was read); 2 repaired"
    assert (records.results(), os.listdir(store.snapshots_folder)) == ((), [])


def test_faults_and_their_repair(store: Store) -> None:
    for number in range(12):
        digest = store.blobs.put(b"%d" % number)
        store.blobs.path(digest).write_bytes(b"damaged")
    shallow = look_at_store(store, [], deep=False, mend=False)
    deep = look_at_store(store, [], deep=True, mend=False)
    mended = look_at_store(store, [], deep=True, mend=True)

    assert (shallow.is_sound, deep.is_sound, mended.is_sound) == (True, False, True)
    assert [check.grade for check in deep.checks] == [Grade.FAIL] * 11
    assert deep.checks[-1].text == "2 more faults"
    assert {check.mend for check in deep.checks} == {"polyarch doctor --repair"}
    assert "12 repaired" in mended.checks[0].text


def test_nothing_is_repaired_while_others_work(store: Store, tmp_path: Path) -> None:
    store.refs.set("x", json.dumps({"digest": sha256(b"x")}))
    with Store(tmp_path), pytest.raises(StoreError, match="while others work on it"):
        look_at_store(store, [], deep=False, mend=True)

    assert store.refs.find("x") is not None


def test_a_damaged_database(store: Store) -> None:
    store.refs.set("x", "{}")
    store.database.close()
    store.database.path.write_bytes(b"no database" * 1000)
    for name in ("state.db-wal", "state.db-shm"):
        (store.root / name).unlink(missing_ok=True)
    store.database.reset()
    seen = look_at_store(store, [], deep=False, mend=False)
    mended = look_at_store(store, [], deep=False, mend=True)

    assert (seen.is_sound, mended.is_sound) == (False, True)
