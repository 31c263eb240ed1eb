"""Which runtime: the first that is found to work here, of our sandbox, crun and runc.

Believe execution: a runtime works if it runs a tiny static program in an empty root. What was found is
kept, until the kernel or the program changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from polyarch.emulation.facts import Facts, stamp
from polyarch.emulation.probe import native_architecture, probe_program
from polyarch.errors import InputError, NoRuntime, PolyarchError
from polyarch.late import load
from polyarch.progress import CancelToken
from polyarch.runtime.base import Runtime
from polyarch.runtime.sandbox.sandbox import Sandbox
from polyarch.runtime.sandbox.spawner import Spawner
from polyarch.runtime.step import Host, Step
from polyarch.syscalls import capget

__all__ = ["choose_runtime", "find_host"]

_PROVEN = 65
_CAP_SYS_CHROOT = 18
_NAMES = ("sandbox", "crun", "runc")
_CHROOT = "chroot"
"""What is left where there are no namespaces, and of no use elsewhere."""
_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian has runc, and an ordinary user's PATH has not."""


def find_host(
    *, rootless: bool, mapped_ids: int, refused: str = "", lift: str = "", covered: bool = False
) -> Host:
    """Look at what the engine's surroundings allow. To be called in the engine.

    `refused` is why it has no namespaces, if it has none, and `lift` what to do about it; `covered` says that parts of /proc are covered.
    """
    effective, _, _ = capget()
    return Host(
        rootless=rootless,
        mapped_ids=mapped_ids,
        cgroup2=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        capabilities=effective,
        refused=refused,
        lift=lift,
        is_covered=covered,
    )


def _names(prefer: str | None, host: Host) -> tuple[str, ...]:
    """Return the runtimes to try, in their order. Raises InputError for one that can't be meant."""
    if prefer not in {None, "", "auto", _CHROOT, *_NAMES}:
        raise InputError(
            f"POLYARCH_RUNTIME={prefer}: no such runtime",
            hint="use auto, sandbox, crun, runc or chroot",
        )
    if prefer == _CHROOT and not host.refused:
        raise InputError(
            "POLYARCH_RUNTIME=chroot is for where the kernel refuses namespaces, which it doesn't here",
            hint="unset it, or try auto",
        )
    return (prefer,) if prefer and prefer != "auto" else _NAMES


def choose_runtime(
    prefer: str | None,
    *,
    host: Host,
    spawner: Spawner,
    facts: Facts,
    temporary: Callable[[], Path],
    environ: Mapping[str, str] = os.environ,
) -> Runtime:
    """Return a runtime that works; `prefer` is sandbox, crun, runc, chroot or auto (also None, empty).

    `temporary` names a place for trying them that is removed, with all in it, if this process is killed.
    Raises InputError for an unknown name and NoRuntime, with all that was tried, if nothing works.
    """
    names = _names(prefer, host)
    if _CHROOT in names or (host.refused and names is _NAMES):
        return _chroot(host, spawner)
    tried = []
    for name in names:
        path = "" if name == "sandbox" else _find(name, environ)
        if name != "sandbox" and not path:
            tried.append(f"{name}: not installed")
            continue
        runtime = Sandbox(host, spawner) if name == "sandbox" else _oci_runtime(path, host)
        key = _key(runtime, path, host)
        trouble = _trouble(runtime, key, facts, temporary)
        if not trouble:
            return runtime
        tried.append(f"{name}: {trouble}")
    raise NoRuntime(
        "no container runtime works here (" + "; ".join(tried) + ")",
        hint=_fix(prefer),
    )


def _chroot(host: Host, spawner: Spawner) -> Runtime:
    """Return the runtime that needs no namespaces. Raises NoRuntime where it can't be."""
    if os.geteuid() or not host.capabilities >> _CAP_SYS_CHROOT & 1:
        raise NoRuntime(
            f"RUN can't be done here: {host.refused or 'this is no root'}, and without namespaces it takes root "
            "with the capability SYS_CHROOT",
            hint="COPY, ADD and all that is about an image's configuration work; for RUN run polyarch as root of "
            f"its container, or get namespaces: {host.lift or 'polyarch doctor says how'}",
        )
    made = load("runtime.chroot:ChrootRuntime")
    assert callable(made)
    runtime: Runtime = made(host, spawner)
    return runtime


def _oci_runtime(path: str, host: Host) -> Runtime:
    # Our own is the first choice: where that works, which is mostly so, this saves 3 ms.
    made = load("runtime.runc:OciRuntime")
    assert callable(made)
    runtime: Runtime = made(path, host)
    return runtime


def _fix(prefer: str | None) -> str:
    if prefer and prefer != "auto":
        return f"POLYARCH_RUNTIME={prefer} allows no other one; unset it, or try auto"
    return (
        "install the package runc, or crun; POLYARCH_RUNTIME=sandbox, crun or runc picks one "
        "and 'polyarch doctor' shows what the machine lacks"
    )


def _find(name: str, environ: Mapping[str, str]) -> str:
    for directory in (*environ.get("PATH", os.defpath).split(":"), *_DIRECTORIES):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    return ""


def _key(runtime: Runtime, path: str, host: Host) -> str:
    return f"runtime {runtime.name} {stamp(path)} {host.rootless} {host.mapped_ids} {os.getuid()}"


def _trouble(runtime: Runtime, key: str, facts: Facts, temporary: Callable[[], Path]) -> str:
    """Return why a runtime doesn't work, or an empty text; only success is remembered."""
    said: list[str] = []

    def works() -> bool:
        said.append(_try(runtime, temporary()))
        return not said[-1]

    if facts.get(key, works, keep=bool):
        return ""
    return said[-1]


def _try(runtime: Runtime, directory: Path) -> str:
    """Run the probe in an empty root below `directory`; return what went wrong, or an empty text."""
    rootfs = directory / "rootfs"
    rootfs.mkdir(parents=True)
    probe = rootfs / "probe"
    probe.write_bytes(probe_program(native_architecture()))
    probe.chmod(0o755)
    printed: list[bytes] = []
    step = Step(argv=("/probe",), rootfs=str(rootfs))
    try:
        ended = runtime.run(
            step,
            directory=directory,
            on_output=lambda _stream, data: printed.append(data),
            cancel=CancelToken(),
        )
    except PolyarchError as error:
        return str(error)
    if ended.status >= _PROVEN:
        return ""
    return ended.refused or b"".join(printed).decode(errors="replace").strip() or "it ran nothing"
