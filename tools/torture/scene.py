"""What is tormented: people with a store each, builds whose digests are known, and a registry.

Everything that is built has one right digest (`SOURCE_DATE_EPOCH`, `rewrite-timestamp`), which a store that
nobody torments has found out. `Scene.verify` is what has to hold after each event, whatever it was.
"""

from __future__ import annotations

import json
import random
import urllib.error
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.images.soundness import faults, whole_platforms
from tests.support.machine.boxes import Box, held_locks, mounts_below
from tests.support.machine.engines import ROOT, User
from tests.support.machine.programs import Ended, Person, person
from tests.support.network.servers import RealRegistry

__all__ = ["ALL", "FEW", "Build", "Lost", "Scene", "complaint"]

_NATIVE = "linux/amd64"
_BOTH = "linux/amd64,linux/arm64"
_VARIANTS = 4

_DOCKERFILE = """\
FROM {base} AS builder
WORKDIR /app
RUN set -e; i=0; while [ $i -lt 12 ]; do i=$((i+1)); mkdir -p d$i; echo $i > d$i/f; done; uname -m > who
COPY data /app/data
RUN --mount=type=cache,target=/cache sha256sum data/* > sums && cp sums /cache/ && chmod 700 d1

FROM {base}
COPY --from=builder /app /app
RUN rm -r /app/d2 && (echo said; tail -n 1 /app/sums) > /app/end
CMD ["cat", "/app/end"]
"""


class Lost(AssertionError):
    """Something that must hold after an event doesn't."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A build with one right digest: of a variant of the context, for some platforms."""

    variant: int = 0
    platforms: str = _NATIVE

    def words(self, name: str, *more: str, attributes: str = "") -> tuple[str, ...]:
        """Return the words that build it as the image `name`, and write its digest into `iid`."""
        output = f"type=image,name={name},rewrite-timestamp=true{attributes}"
        epoch = "SOURCE_DATE_EPOCH=1700000000"
        words = ("build", "--progress=plain", "--iidfile=iid", f"--platform={self.platforms}")
        variant = f"--build-context=data={self.variant}"
        return (*words, "--build-arg", epoch, variant, "-o", output, *more, ".")


ALL = tuple(Build(variant=v, platforms=p) for v in range(_VARIANTS) for p in (_NATIVE, _BOTH))
FEW = (Build(), Build(variant=1, platforms=_BOTH))


@dataclass(kw_only=True)
class Scene:
    """Where it all happens; `directory` is empty at first, and `layout` below it the base image's."""

    directory: Path
    registry: RealRegistry
    chance: random.Random
    builds: tuple[Build, ...] = ALL
    """What is built."""
    right: dict[Build, str] = field(default_factory=dict)

    @property
    def layout(self) -> Path:
        """Where the base image lies as a layout."""
        return self.directory / "layout"

    @property
    def base(self) -> str:
        """The image that all builds are from; it has all platforms."""
        return f"{self.registry.host}/library/busybox"

    def person(self, user: User, name: str, environ: dict[str, str] | None = None) -> Person:
        """Return somebody with an empty store, and the context of all builds."""
        made = person(user, self.directory / name)
        who = Person(user=user, home=made.home, environ=environ or {})
        self.furnish(who)
        return who

    def furnish(self, who: Person) -> None:
        """Write the context of all builds."""
        text = _DOCKERFILE.format(base=self.base).replace("COPY data", "COPY --from=data .")
        who.write("Dockerfile", text)
        for variant in range(_VARIANTS):
            content = random.Random(variant)
            for number in range(4):
                who.write(f"{variant}/{number}", content.randbytes(40_000).hex())

    def learn(self) -> None:
        """Find out the right digests, in a store that nobody torments, and write the layout."""
        who = self.person(ROOT, "untroubled")
        for build in self.builds:
            self.learn_from(who, build)
        who.write("Dockerfile", f"FROM {self.base}\n")
        output = f"type=oci,tar=false,dest={self.layout}"
        who.run("build", f"--platform={_BOTH}", "-o", output, ".").check()

    def learn_from(self, who: Person, build: Build) -> None:
        """Take the digest that somebody's build has now for the right one."""
        who.run(*build.words("right")).check()
        self.right[build] = (who.work / "iid").read_text()

    def build_again(self, who: Person, build: Build, *more: str) -> Ended:
        """Build without being disturbed. Raises Lost if it fails or has another digest."""
        (who.work / "iid").unlink(missing_ok=True)
        ended = who.run(*build.words("again", *more))
        self.check_digest(who, build, ended)
        return ended

    def check_digest(self, who: Person, build: Build, ended: Ended, iidfile: str = "iid") -> None:
        """Raise Lost if the build that has ended failed, or has another digest than the right one."""
        if ended.status:
            raise Lost(f"the next build failed: {ended.err}")
        found = (who.work / iidfile).read_text()
        if found != self.right[build]:
            raise Lost(f"the next build gave {found} instead of {self.right[build]}")

    def verify(self, who: Person, box: Box | None = None, *, leftovers: bool = False) -> None:
        """Raise Lost for a process, mount or lock that is left, a fault of the store, or debris.

        `leftovers` allows for what a build that failed may leave, and the next one takes up.
        """
        if box is not None:
            box.wait_until_empty()
        mounts = [place for place in mounts_below(who.home) if place != str(who.root)]
        locks = held_locks(who.root)
        problems, debris = faults(who)
        if leftovers:
            problems = [each for each in problems if not each.endswith("the next prune removes it")]
        if mounts or locks or problems or debris:
            raise Lost(json.dumps([mounts, locks, problems, debris]))

    def check_pushed(self, name: str, *, needed: bool) -> None:
        """Raise Lost if a name of the registry is ahead of its content, or isn't there though `needed`."""
        try:
            whole_platforms(self.registry, name)
        except urllib.error.HTTPError as error:
            if needed or error.code != 404 or "/manifests/latest" not in str(error.url):
                raise Lost(f"{name}: {error} of {error.url}") from error


def complaint(ended: Ended) -> str:
    """Return how a command failed. Raises Lost if that was by a bug."""
    if "this is a bug" in ended.err or "report this" in ended.err or "Traceback" in ended.err:
        raise Lost(f"an internal error: {ended.err}")
    return ended.err
