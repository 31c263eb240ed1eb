"""The rows of the table of emulated steps: what a step does, and on which base image."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INSTALLED", "PACKAGES", "ROWS", "Row"]

INSTALLED = (
    "ca-certificates",
    "cron",
    "less",
    "logrotate",
    "nano",
    "netbase",
    "procps",
    "rsync",
    "sudo",
    "ucf",
)
"""Ten packages with maintainer scripts."""
PACKAGES = {
    "compilers": ("gcc", "libc6-dev", "make", "python3-pip", "xz-utils"),
    "go": ("golang-go",),
}
"""What base images have besides a minimal Debian's packages."""

_SOURCE = (
    "mkdir /c && cd /c && i=0 && while [ $i -lt 12 ]; do"
    ' printf "#include <stdio.h>\\nint f$i(int x) { return x + $i; }\\n" > f$i.c; i=$((i+1)); done'
    ' && printf "int main(void) { return 0; }\\n" > main.c'
    ' && printf "OBJECTS := \\$(patsubst %%.c,%%.o,\\$(wildcard *.c))\\nall: program\\n'
    'program: \\$(OBJECTS)\\n\\t\\$(CC) -o \\$@ \\$^\\n" > Makefile'
)
_GO = (
    "mkdir /g && cd /g && printf 'module example.org/g\n\ngo 1.19\n' > go.mod"
    " && printf 'package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1) }\n' > main.go"
    # Debian's compiled standard library is of no use then: the packages are compiled, too.
    " && HOME=/root CGO_ENABLED=0 go build -trimpath -o /out ."
)
_WHEELS = (
    "mkdir -p /p/one && cd /p && printf 'def one():\\n    return 1\\n' > one/__init__.py"
    ' && printf \'[project]\\nname = "one"\\nversion = "1"\\n\' > pyproject.toml'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A step: its name in the table, the base image that it's for, and its script."""

    name: str
    base: str
    script: str


ROWS = (
    Row(
        name="configure-like",
        base="debian",
        script='i=0; while [ $i -lt 60 ]; do echo "int f$i;" > /tmp/c; grep -q f$i /tmp/c; sed s/f/g/ /tmp/c > /tmp/d;'
        " expr $i + 1 > /dev/null; rm /tmp/c; i=$((i+1)); done",
    ),
    Row(
        name="200 forks",
        base="debian",
        script="i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done",
    ),
    Row(
        name="shell loop",
        base="debian",
        script="i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done",
    ),
    Row(
        name="sort",
        base="debian",
        script="tr -c a-z '\\n' < /data/big | head -n 600000 | LC_ALL=C sort > /out",
    ),
    Row(name="tar", base="debian", script="tar --sort=name -C / -czf /out usr/share data"),
    Row(name="gzip", base="debian", script="gzip -nc /data/big > /out"),
    Row(name="xz", base="compilers", script="xz -1 -T1 -c /data/big > /out"),
    Row(name="sha256", base="debian", script="sha256sum /data/big > /out"),
    Row(
        name="apt-get install",
        base="debian",
        script="apt-get update -qq && DEBIAN_FRONTEND=noninteractive"
        f" apt-get install -qq -y --no-install-recommends {' '.join(INSTALLED)} > /dev/null",
    ),
    Row(name="go build", base="go", script=_GO),
    Row(name="make", base="compilers", script=f"{_SOURCE} && make -s"),
    Row(
        name="pip install",
        base="compilers",
        script=f"{_WHEELS} && pip install -q --no-index --no-build-isolation --break-system-packages /p",
    ),
    Row(
        name="debootstrap",
        base="first-stage",
        script="/debootstrap/debootstrap --second-stage > /dev/null",
    ),
)
