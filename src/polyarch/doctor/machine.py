"""What this machine allows, looked at where the command is called: one thing for each check."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from polyarch.doctor.check import Check, Grade
from polyarch.emulation.binfmt import HANDLERS
from polyarch.emulation.facts import Facts
from polyarch.emulation.kept import emulator_image
from polyarch.emulation.probe import RunsHow, runnable
from polyarch.emulation.qemu import find_emulator
from polyarch.golang.units import human_size
from polyarch.namespaces.subids import find_id_trouble
from polyarch.namespaces.userns import (
    needs_user_namespace,
    parse_subids,
    subid_names,
)
from polyarch.paths import docker_config_directory
from polyarch.record import replace

__all__ = [
    "credentials",
    "disk",
    "emulators",
    "kernel",
    "subordinate_ids",
    "unprivileged_names",
]

_LEAST_KERNEL = (5, 11)
_PRIVATE_KERNEL = (6, 7)
_SCARCE = 2_000_000_000
_TOO_SCARCE = 100_000_000
_EMULATOR_PACKAGE = "sudo apt-get install qemu-user-static"


def kernel() -> Check:
    """Look at the kernel's version."""
    name = os.uname()
    numbers = re.match(r"(\d+)\.(\d+)", name.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    text = f"Linux {name.release} on {name.machine}"
    if version < _LEAST_KERNEL:
        return Check(
            name="kernel",
            grade=Grade.WARN,
            text=f"{text}: before 5.11 ordinary users can't mount overlays, so files are copied",
            fix="upgrade the kernel, or build as root",
        )
    if version < _PRIVATE_KERNEL:
        text += " (before 6.7, emulators must be registered for the whole machine)"
    return Check(name="kernel", grade=Grade.OK, text=text)


def subordinate_ids(*, names: tuple[str, ...]) -> Check:
    """Look at the ids that an ordinary user, called by any of `names`, may give away."""
    title = "user ids"
    trouble = find_id_trouble(names)
    if trouble is not None:
        return Check(name=title, grade=Grade.WARN, text=trouble.text, fix=trouble.fix)
    count = sum(each.count for each in parse_subids(_read("/etc/subuid"), names))
    return Check(name=title, grade=Grade.OK, text=f"{count} subordinate ids")


def credentials(environ: Mapping[str, str]) -> Check:
    """Look whether Docker's configuration, and the programs that it names, are there."""
    title = "credentials"
    path = docker_config_directory(environ) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        helpers = [config.get("credsStore"), *config.get("credHelpers", {}).values()]
    except FileNotFoundError:
        return Check(name=title, grade=Grade.OK, text=f"none: there is no {path}")
    except (OSError, ValueError, AttributeError) as error:
        return Check(
            name=title, grade=Grade.WARN, text=f"{path} can't be used: {error}", fix=f"fix {path}"
        )
    directories = environ.get("PATH", os.defpath).split(":")
    for helper in sorted({f"docker-credential-{each}" for each in helpers if each}):
        if not any(
            os.access(os.path.join(directory, helper), os.X_OK) for directory in directories
        ):
            return Check(
                name=title,
                grade=Grade.WARN,
                text=f"{path} names the program {helper}, which isn't on PATH",
                fix=f"install {helper}, or take it out of {path}",
            )
    known = len(config.get("auths") or {})
    return Check(name=title, grade=Grade.OK, text=f"{path}, {known} registries signed in to")


def disk(root: Path) -> Check:
    """Look at the space where the store is, or would be."""
    place = next(each for each in (root, *root.parents) if os.path.exists(each))
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    text = f"{human_size(free)} free at {root}"
    if not os.access(
        place, os.W_OK | os.X_OK
    ):  # also where a directory on the way may not be entered
        return Check(
            name="disk",
            grade=Grade.FAIL,
            text=f"{place} can't be written",
            fix="export POLYARCH_ROOT=$HOME/.local/share/polyarch",
        )
    if status.f_files and not status.f_favail:
        free, text = 0, f"no inodes left at {root}"
    grade = Grade.FAIL if free < _TOO_SCARCE else Grade.WARN if free < _SCARCE else Grade.OK
    return Check(
        name="disk",
        grade=grade,
        text=text,
        fix="" if grade is Grade.OK else "polyarch prune --all",
    )


def emulators(root: Path, environ: Mapping[str, str]) -> Iterator[Check]:
    """Look which architectures' programs run here, and how; what is known of that is below `root`."""
    facts = Facts(root)
    running = {each.architecture: each.how for each in runnable(facts, environ)}
    for handler in HANDLERS:
        architecture = handler.architecture
        emulator = find_emulator(architecture, facts, environ)
        match running.get(architecture):
            case RunsHow.NATIVE:
                yield _architecture(architecture, "natively")
            case RunsHow.HANDLER:
                yield _architecture(architecture, "by a handler of the whole machine")
            case RunsHow.EMULATOR if emulator is not None:
                version = ".".join(map(str, emulator.version))
                yield _architecture(architecture, f"emulated by {emulator.path}, QEMU {version}")
            case _:
                image = "" if emulator is not None else emulator_image(environ)
                check = _not_running(architecture, handler.qemu, has_emulator=emulator is not None)
                fetched = f": builds that need one fetch it from {image}" if image else ""
                yield replace(check, text=check.text + fetched)


def _not_running(architecture: str, qemu: str, *, has_emulator: bool) -> Check:
    text, fix = f"no static qemu-{qemu} was found", _EMULATOR_PACKAGE
    if has_emulator:
        text = f"qemu-{qemu} is here, but builds can't register it for themselves"
        fix = f"sudo polyarch binfmt install {architecture}"
    return Check(name=f"linux/{architecture}", grade=Grade.WARN, text=text, fix=fix)


def _architecture(architecture: str, how: str) -> Check:
    return Check(name=f"linux/{architecture}", grade=Grade.OK, text=f"runs {how}")


def unprivileged_names() -> tuple[str, ...]:
    """Return what /etc/subuid may call the caller, the name last; nothing for who needs no such ids."""
    if os.geteuid() == 0 or not needs_user_namespace():
        return ()
    return subid_names(os.geteuid())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
