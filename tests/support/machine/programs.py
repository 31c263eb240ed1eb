"""The whole program as people start it: by root or an ordinary user, with a directory and a store of its own."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.machine.engines import User, interpreter, module_path

__all__ = ["Ended", "Person", "person"]

_ABOVE = re.compile(
    r"((?:^\S+:\d+\n-{20}\n(?:[ \d]*\|.*\n)+-{20}\n)?)((?:^(?:hint: |Usage: )(?:(?!#\d).*\n)*)?)\Z",
    re.MULTILINE,
)
_STEP_TIME = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended, and what it printed."""

    status: int
    out: str
    err: str

    def check(self) -> Ended:
        """Return it. Raises AssertionError if it failed."""
        assert self.status == 0, self.err
        return self

    def complaint(self) -> str:
        """Return the end of what it printed, as one reads it: the excerpt, the error, the hint or usage.

        The program prints the error last.
        """
        above, line, error = f"\n{self.err}".rpartition("\nERROR: ")
        assert line, self.err
        found = _ABOVE.search(f"{above}\n")
        assert found
        usage = "\n" if found[2].startswith("Usage") else ""
        return found[1] + f"ERROR: {error}" + usage + found[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Someone at a shell: `home` holds their store and settings, `work` is where they stand."""

    user: User
    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """The words before every command, which lead to where they are."""

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def root(self) -> Path:
        """The directory of their store."""
        return self.home / "store"

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file below `work`, as theirs."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        for each in (path, *path.parents):
            if each.is_relative_to(self.work):
                os.chown(each, self.user.uid, self.user.gid)
        return path

    def command(self, *words: str) -> list[str]:
        """Return the command line of polyarch as this person."""
        return [*self.become(), interpreter(self.user), "-B", "-m", "polyarch", *words]

    def become(self) -> list[str]:
        """Return the words before a command that make it this person's."""
        ids = [f"--reuid={self.user.uid}", f"--regid={self.user.gid}", "--init-groups"]
        return [*self.prefix, *(["setpriv", *ids, "--"] if self.user.uid else [])]

    def environment(self) -> dict[str, str]:
        """Return all variables that the program gets."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "USER": self.user.name,
            "POLYARCH_ROOT": str(self.root),
            "PYTHONPATH": module_path(),
            "LANG": "C.UTF-8",
            # Most tests look at what an image is made of; what is said about it has tests of its own.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
            **self.environ,
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start polyarch in a process group of its own, and don't wait."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment(),
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str, seconds: float = _STEP_TIME, stdin: bytes = b"") -> Ended:
        """Run polyarch to its end."""
        return self.run_other(*self.command(*words), seconds=seconds, stdin=stdin)

    def run_other(self, *words: str, seconds: float = _STEP_TIME, stdin: bytes = b"") -> Ended:
        """Run another program in the same surroundings."""
        ended = subprocess.run(
            words,
            env=self.environment(),
            cwd=self.work,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        out, err = (each.decode(errors="replace") for each in (ended.stdout, ended.stderr))
        assert "Traceback (most recent call last)" not in err or "--debug" in words, err
        return Ended(status=ended.returncode, out=out, err=err)


def person(user: User, home: Path) -> Person:
    """Make the directories of a person, theirs and reachable."""
    found = Person(user=user, home=home)
    for directory in (home, found.work):
        directory.mkdir(parents=True, exist_ok=True)
        os.chown(directory, user.uid, user.gid)
    for directory in home.parents:
        if (
            directory.is_relative_to(tempfile.gettempdir())
            and directory.stat().st_uid == os.geteuid()
        ):
            directory.chmod(directory.stat().st_mode | 0o055)
    return found
