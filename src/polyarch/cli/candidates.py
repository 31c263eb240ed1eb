"""What words of a command line can be, looked up on this machine: builders, images, steps, emulators."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from polyarch.builders.saved import SavedBuilders
from polyarch.cli.frame.flags import Completes
from polyarch.emulation.binfmt import HANDLERS, BinfmtMount
from polyarch.oci.reference import parse
from polyarch.paths import docker_config_directory, state_directory
from polyarch.store.store import Store
from polyarch.why.history import History

__all__ = ["KINDS", "last_steps"]


def _builders(environ: Mapping[str, str]) -> list[str]:

    return [builder.name for builder in SavedBuilders(environ).all()]


def _images(environ: Mapping[str, str]) -> list[str]:
    root = state_directory(environ)
    if not (root / "version").exists():
        return []
    with Store(root, works=False) as store:
        return [parse(ref.name).familiar for ref in store.refs.all()]


def last_steps(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the lines of the last build's steps; a number behind `#` would begin a comment."""
    root = state_directory(environ)
    if not (root / "version").exists():
        return []
    with Store(root, works=False) as store:
        builds = History(store.database).builds()
    steps = builds[0].steps if builds else ()
    return list({str(step.line): step.text_of_instruction() for step in steps}.items())


def _architectures(_environ: Mapping[str, str]) -> list[str]:
    return ["all", *(handler.architecture for handler in HANDLERS)]


def _emulators(_environ: Mapping[str, str]) -> list[str]:
    return list(BinfmtMount().names())


def _credentials(environ: Mapping[str, str]) -> list[str]:
    """Return the registries that Docker's configuration knows a user for."""
    config = json.loads((docker_config_directory(environ) / "config.json").read_text())
    return sorted({*config.get("auths", {}), *config.get("credHelpers", {})})


KINDS: Mapping[Completes, Callable[[Mapping[str, str]], list[str]]] = {
    "builders": _builders,
    "images": _images,
    "architectures": _architectures,
    "emulators": _emulators,
    "registries": _credentials,
    "shells": lambda _: ["bash", "zsh", "fish"],
}
"""What gives the candidates of a kind, by the name that flags and commands have for it."""
