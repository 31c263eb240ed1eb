"""Many builds on a store with a ceiling: how large it was while they ran, and afterwards."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from polyarch.store.trees import tree_size
from tests.support.machine.programs import Person

__all__ = ["Filling", "fill"]

_CONFIG = "[worker.oci]\nmaxUsedSpace = {ceiling}\nreservedSpace = {floor}\n"
_DOCKERFILE = """\
FROM {base}
ARG NUMBER
RUN head -c {size} /dev/urandom > /data
RUN echo $NUMBER > /number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What came of it, in bytes: the most that finished work had, and what was left."""

    most: int
    left: int
    errors: tuple[str, ...]


def fill(
    who: Person, base: str, name: str, sizes: tuple[int, int], builds: tuple[int, int]
) -> Filling:
    """Push images of new random bytes under names that begin with `name`, several at a time.

    `sizes` are the ceiling and that of each layer; `builds` are how many, and how many at once.
    """
    (ceiling, size), (number, at_once) = sizes, builds
    config = who.home / "buildkitd.toml"
    config.write_text(_CONFIG.format(ceiling=ceiling, floor=ceiling // 10))
    who.run("create", "--name", "small", "--use", f"--buildkitd-config={config}").check()
    who.write("Dockerfile", _DOCKERFILE.format(base=base, size=size))
    waiting = list(range(number))
    running: list[subprocess.Popen[bytes]] = []
    errors: list[str] = []
    most = 0
    while waiting or running:
        while waiting and len(running) < at_once:
            each = waiting.pop()
            output = f"type=image,name={name}:{each},push=true,compression=uncompressed"
            words = ("build", "--no-cache", f"--build-arg=NUMBER={each}", f"--output={output}", ".")
            running.append(who.start(*words))
        most = max(most, _finished(who))
        try:
            said = running[0].communicate(timeout=0.05)[1].decode()
        except subprocess.TimeoutExpired:
            continue
        ended = running.pop(0)
        errors += [said] if ended.returncode else []
    return Filling(most=most, left=_finished(who), errors=tuple(errors))


def _finished(who: Person) -> int:
    return sum(tree_size(who.root / each) for each in ("blobs", "snapshots"))
