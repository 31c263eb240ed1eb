"""Numbers from outside that are too large, or below 0: each has its range checked where it comes in.

Times beyond 64 bits of nanoseconds, ids and device numbers beyond 32 bits (CVE-2024-40635), sizes that wrap, in
contexts, archives and documents, and on the command line.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from polyarch.errors import InvalidLayer
from polyarch.layer.apply import apply, extract
from polyarch.layer.tar import CHARACTER_DEVICE, Entry, TarWriter, header
from polyarch.layer.tarread import TarReader
from tests.support.images.layouts import read_archive, validate
from tests.support.machine.programs import Person
from tests.support.network.gitweb import DATE, commit, new_repository
from tests.support.network.plants import plant_image, tar_of
from tests.support.network.registry import serving
from tests.support.network.servers import git_daemon

SECOND = 10**9
TIMES = {
    "2300": 10_413_792_000 * SECOND,
    "1900": -2_208_988_800 * SECOND,
    "just before 1970": -500,
    "2262": (1 << 63) - 1,
    "behind 2262": 1 << 63,
}
OUTPUTS = {
    "local": "out",
    "tar": "type=tar,dest=out.tar",
    "oci": "type=oci,dest=out.tar",
    "docker": "type=docker,dest=out.tar",
    "layout": "type=oci,tar=false,dest=out",
    "image": "type=image,name=app",
    "zstd": "type=oci,compression=zstd,dest=out.tar",
    "rewritten": "type=oci,rewrite-timestamp=true,source-date-epoch=7,dest=out.tar",
}


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("output", OUTPUTS)
def test_files_of_all_times_are_exported(root: Person, output: str) -> None:
    for name, time in TIMES.items():
        os.utime(root.write(f"context/{name}", name), ns=(time, time))
    root.write("Dockerfile", "FROM scratch\nCOPY context /\n")
    words = ("build", "-o", OUTPUTS[output], ".")
    root.run(*words).check()
    again = root.run(*words).check()

    assert "CACHED" in again.err
    if output == "oci":
        (image,) = validate(read_archive((root.work / "out.tar").read_bytes())).images
        found = {entry.name: entry.mtime_ns for entry in TarReader(io.BytesIO(image.layers[0]))}
        kept = {name: os.stat(root.work / "context" / name).st_mtime_ns for name in TIMES}
        assert found == {name: time // SECOND * SECOND for name, time in kept.items()}


@pytest.mark.parametrize("time", [-5, 1 << 62, (1 << 63) // SECOND + 1, 10_413_792_000])
@pytest.mark.parametrize("form", ["GNU", "PAX"])
def test_times_of_archives_are_between_1970_and_2262(tmp_path: Path, form: str, time: int) -> None:
    """As with containerd and BuildKit, which know no other ones."""
    member = tarfile.TarInfo("f")
    member.mtime = time
    data = member.tobuf(tarfile.GNU_FORMAT if form == "GNU" else tarfile.PAX_FORMAT)
    apply(io.BytesIO(data), tmp_path)

    assert (tmp_path / "f").stat().st_mtime_ns == 0


IDS: dict[int, int | None] = {
    (1 << 32) - 2: (1 << 32) - 2,
    -2: (1 << 32) - 2,
    (1 << 32) - 1: 0,
    -1: 0,
    1 << 32: None,
    1 << 40: None,
    -(1 << 31) - 1: None,
}


@pytest.mark.root
@pytest.mark.parametrize("number", IDS)
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_ids_of_archives(tmp_path: Path, field: str, number: int) -> None:
    member = tarfile.TarInfo("f")
    setattr(member, field, number)
    data = member.tobuf(tarfile.GNU_FORMAT)
    wanted = IDS[number]
    if wanted is None:
        with pytest.raises(
            InvalidLayer, match=f"'f' at byte 0: {number} is no id of a user or group"
        ):
            apply(io.BytesIO(data), tmp_path)
        return
    extract(io.BytesIO(data), tmp_path, "/")

    assert getattr(os.stat(tmp_path / "f"), f"st_{field}") == wanted


@pytest.mark.root
@pytest.mark.parametrize(("major", "minor"), [(4095, (1 << 20) - 1), (4096, 0), (0, 1 << 20)])
def test_device_numbers_of_archives(tmp_path: Path, major: int, minor: int) -> None:
    member = tarfile.TarInfo("d")
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, major, minor
    data = io.BytesIO(member.tobuf(tarfile.GNU_FORMAT))
    if major < 4096 and minor < 1 << 20:
        apply(data, tmp_path)
        status = os.stat(tmp_path / "d")
        assert (stat.S_ISCHR(status.st_mode), os.major(status.st_rdev)) == (True, major)
        assert os.minor(status.st_rdev) == minor
        return
    with pytest.raises(InvalidLayer, match="is no number of a device"):
        apply(data, tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        *("size=-1", "size=9223372036854775808", "size=1_0", "size=0x10", "size=+-1", "size= 1"),
        *("uid=4294967296", "gid=zz", "uid=\u0663", "mtime=zz", "mtime=1e9", "mtime=1.2.3"),
        *(
            "GNU.sparse.offset=zz",
            "GNU.sparse.major=1\n25 GNU.sparse.realsize=zz",
            "size=" + "9" * 999,
        ),
    ],
)
def test_records_that_hold_no_number(tmp_path: Path, record: str) -> None:
    body = _record(record.encode())
    data = header(Entry(name="x", kind="x", size=len(body))) + body.ljust(1024, b"\0")
    with pytest.raises(InvalidLayer, match=r"^can't read the entry '\w' at byte \d+: "):
        apply(
            io.BytesIO(data[: 512 + -(-len(body) // 512) * 512] + header(Entry(name="f"))), tmp_path
        )


def _record(text: bytes) -> bytes:
    size = len(text) + 3
    while len(b"%d %s\n" % (size, text)) != size:
        size += 1
    return b"%d %s\n" % (size, text)


@pytest.mark.parametrize("field", [b"8" * 11, b"-1".rjust(11), b"0o17".ljust(11), b"1_0".ljust(11)])
def test_headers_that_hold_no_number(field: bytes) -> None:
    block = bytearray(header(Entry(name="f")))
    block[124:135] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(InvalidLayer, match=r"'f' at byte 0: .* in a tar header is no number"):
        list(TarReader(io.BytesIO(bytes(block))))


@pytest.mark.parametrize(
    "value", ["253402300800", "9" * 30, "-62167219201", "1e9", "\u0663", "1.5", "0x5"]
)
@pytest.mark.parametrize("place", ["argument", "output", "Dockerfile"])
@pytest.mark.root
def test_an_epoch_has_a_date(root: Person, place: str, value: str) -> None:
    first = f"ARG SOURCE_DATE_EPOCH={value}\n" if place == "Dockerfile" else ""
    root.write("Dockerfile", f"{first}FROM scratch\nCOPY Dockerfile /\n")
    more = ["--build-arg", f"SOURCE_DATE_EPOCH={value}"] if place == "argument" else []
    output = "type=oci,dest=x" + (f",source-date-epoch={value}" if place == "output" else "")
    ended = root.run("build", *more, "-o", output, ".")

    assert ended.status == 1
    assert (
        "ERROR: failed to build: failed to solve: invalid SOURCE_DATE_EPOCH: " in ended.complaint()
        or ('invalid source-date-epoch: strconv.ParseInt: parsing "' in ended.complaint())
    )


@pytest.mark.root
@pytest.mark.parametrize("value", ["-62167219200", "-1", "0", "253402300799"])
def test_dates_of_four_digits_are_written(root: Person, value: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    words = ("--build-arg", f"SOURCE_DATE_EPOCH={value}", "-o", "type=oci,dest=out.tar", ".")
    root.run("build", *words).check()

    (image,) = validate(read_archive((root.work / "out.tar").read_bytes())).images
    assert image.config["created"] in {
        *("0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z"),
        *("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    }


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("date", ["99999999999999", "253402300800", "4294967296"])
def test_a_commit_of_the_far_future(root: Person, date: str) -> None:
    work = new_repository(root.work / "app", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    written = commit(work, "cat-file", "commit", "HEAD").replace(f"{DATE}", date)
    (work / "other").write_text(written + "\n")
    other = commit(work, "hash-object", "-t", "commit", "-w", "other")
    commit(work, "reset", "-q", "--hard", other)
    with git_daemon(root.work) as address:
        words = ("--build-arg", "SOURCE_DATE_EPOCH=context", "-o", "type=oci,dest=out.tar")
        root.run("build", *words, f"{address}/app").check()

    (image,) = validate(read_archive((root.work / "out.tar").read_bytes())).images
    assert image.config["created"][:5] in {"1970-", "2106-"}


SPECS = {
    "--mount=type=cache,uid={}": "invalid value {} for uid",
    "--mount=type=cache,gid={}": "invalid value {} for gid",
    "--mount=type=cache,mode={}": "invalid value {} for mode",
    "--mount=type=tmpfs,size={}": "invalid value for size: {}",
}


@pytest.mark.root
@pytest.mark.parametrize("value", ["99999999999999999999999999", "-1", "1e99", "\u0663"])
@pytest.mark.parametrize("spec", SPECS)
def test_numbers_of_mounts(root: Person, spec: str, value: str) -> None:
    flag = spec.format(value) + ",target=/x"
    root.write("Dockerfile", f"FROM scratch\nRUN {flag} true\n")
    ended = root.run("build", ".")

    assert (ended.status, SPECS[spec].format(value) in ended.complaint()) == (1, True)


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize(
    "flag", ["uid=4294967295", "uid=4294967294", "mode=37777777777", "mode=7777", "gid=2147483648"]
)
def test_large_numbers_of_mounts_are_no_bug(root: Person, flag: str) -> None:
    with serving() as server:
        plant_image(server, "app", tar_of([("bin/x", {}, b"#!/x\n")]))
        text = f"FROM {server.host}/app\nRUN --mount=type=cache,target=/c,{flag} x\n"
        root.write("Dockerfile", text)
        ended = root.run("build", ".")

    assert (ended.status, "this is a bug" in ended.err) == (1, False)


def test_what_is_written_holds_any_number() -> None:
    entry = Entry(name="f", uid=(1 << 32) - 2, gid=1 << 31, mtime_ns=-(1 << 70) // SECOND * SECOND)
    device = Entry(name="d", kind=CHARACTER_DEVICE, major=4095, minor=(1 << 20) - 1)
    out = io.BytesIO()
    writer = TarWriter(out)
    for each in (entry, device):
        writer.add(each)
    writer.end()

    assert list(TarReader(io.BytesIO(out.getvalue()))) == [entry, device]
