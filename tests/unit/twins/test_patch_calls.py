"""perl with modules from elsewhere: this machine's perl, as it calls dlopen like any other."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import zlib as zlib_module
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.libraries import NativeLibraries
from polyarch.twins.patch_calls import clear_before, load_below, round_numbers
from polyarch.twins.patch_refusals import add_refusal

PERL = Path("/usr/bin/perl")
SCRIPT = (
    'use List::Util "sum"; print sum(1 .. 10); open my $maps, "/proc/self/maps"; print <$maps>;'
)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def patched(directory: Path) -> Path:
    modules = directory / "x"
    program = ElfFile(PERL.read_bytes(), "perl")
    extended = Extended(program.data)
    refusal = add_refusal(extended, str(directory / "mark"))
    load_below(extended, program, str(modules), refusal)
    path = directory / "perl"
    path.write_bytes(extended.finish())
    path.chmod(0o755)
    return path


def module() -> Path:
    shown = subprocess.run([PERL, "-e", SCRIPT], check=True, capture_output=True, text=True).stdout
    return Path(next(line.split()[-1] for line in shown.splitlines() if "List/Util" in line))


def test_a_module_is_loaded_from_below_the_directory(short: Path) -> None:
    perl, wanted = patched(short), module()
    place = short / "x" / wanted.relative_to("/")
    place.parent.mkdir(parents=True)
    shutil.copy(wanted, place)

    ended = subprocess.run([perl, "-e", SCRIPT], check=True, capture_output=True, text=True)

    assert ended.stdout.startswith("55")
    assert f"{place}\n" in ended.stdout
    assert f" {wanted}\n" not in ended.stdout


def test_a_module_that_isnt_there_ends_the_program(short: Path) -> None:
    script = f"eval {{ {SCRIPT} }}; print 1"

    ended = subprocess.run([patched(short), "-e", script], capture_output=True, check=False)

    assert ended.returncode == 126
    assert ended.stdout == b""
    assert ended.stderr == b"polyarch: this has no native twin, its step needs emulation\n"


def test_one_that_is_named_from_the_working_directory_ends_it_too(short: Path) -> None:
    script = 'require DynaLoader; DynaLoader::dl_load_file("./perl"); print 1'

    ended = subprocess.run([patched(short), "-e", script], cwd=short, check=False)

    assert ended.returncode == 126


def test_what_is_nowhere_is_an_error_of_the_loader(short: Path) -> None:
    script = (
        'require DynaLoader; DynaLoader::dl_load_file("/none.so") or print DynaLoader::dl_error()'
    )

    ended = subprocess.run([patched(short), "-e", script], capture_output=True, check=True)

    assert b"/none.so: cannot open shared object file" in ended.stdout


def test_a_program_that_loads_nothing() -> None:
    program = ElfFile(Path("/usr/bin/env").read_bytes(), "env")

    with pytest.raises(MachineError, match="env doesn't import dlopen"):
        load_below(Extended(program.data), program, "/x", 0)


def test_a_directory_has_a_short_path() -> None:
    program = ElfFile(PERL.read_bytes(), "perl")

    with pytest.raises(MachineError, match="too long a path"):
        load_below(Extended(program.data), program, "/" + "x" * 64, 0)


def zlib() -> ElfFile:
    return NativeLibraries(Path("/")).get("libz.so.1").file


def test_a_function_finds_cleared_what_it_fills(tmp_path: Path) -> None:
    library = zlib()
    extended = Extended(library.data)
    clear_before(extended, library, "zlibVersion")
    path = tmp_path / "patched"
    path.write_bytes(extended.finish())
    record = ctypes.create_string_buffer(b"x" * 32, 32)
    function = ctypes.CDLL(str(path)).zlibVersion
    function.restype = ctypes.c_char_p

    version = function(record)

    assert version.decode() == zlib_module.ZLIB_RUNTIME_VERSION
    assert record.raw == bytes(24) + b"x" * 8


def test_a_function_that_isnt_there_clears_nothing() -> None:
    library = zlib()

    with pytest.raises(MachineError, match="doesn't export zlibNothing"):
        clear_before(Extended(library.data), library, "zlibNothing")


@pytest.mark.parametrize(
    ("number", "shown"),
    [("1.2345", "1.234"), ("1.0005", "1.000"), ("2.5", "2.500"), ("nan", "nan")],
)
def test_numbers_of_a_machine_that_has_no_longer_ones(
    tmp_path: Path, number: str, shown: str
) -> None:
    program = ElfFile(Path("/bin/bash").read_bytes(), "bash")
    extended = Extended(program.data)
    round_numbers(extended, program)
    path = tmp_path / "bash"
    path.write_bytes(extended.finish())
    path.chmod(0o755)
    words = [str(path), "-c", f"printf %.3f {number}"]

    ended = subprocess.run(words, check=True, capture_output=True, text=True)

    assert ended.stdout == shown


def test_a_program_that_reads_no_numbers_stays_as_it_was() -> None:
    program = ElfFile(Path("/usr/bin/env").read_bytes(), "env")
    extended = Extended(program.data)
    round_numbers(extended, program)

    assert extended.data == program.data
