"""Policies of a build: loaded beside its Dockerfile and from flags, and asked of all that it takes from outside.

A source is asked about before it is fetched, but for a main context that is elsewhere: its policies may lie in it. What a policy
says is shown as the log of a step of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from polyarch.digest import sha256
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.errors import InputError, NotFound, PolyarchError
from polyarch.golang.strconv import find_bool
from polyarch.graph.graph import Graph
from polyarch.graph.op import GitOp, HttpOp, LocalOp
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME, BaseImage
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.policies.checking import Denied, Policies, require
from polyarch.policies.files import Directory, Places
from polyarch.policies.inputs import Env
from polyarch.policies.policy import EXEC_PROXY, Action, Decision, File, Level, Policy
from polyarch.policies.told import Source, Told, Wish
from polyarch.progress import LogEvent, Sink, StepEvent
from polyarch.record import frozen
from polyarch.request.policies import Group, groups_of
from polyarch.request.values import BuildRequest
from polyarch.text.giturl import parse_git_reference

__all__ = [
    "DEFAULT_VARIABLE",
    "Find",
    "Guard",
    "GuardedImages",
    "Log",
    "MainPlace",
    "address_source",
    "check_graph",
    "load_policies",
    "source_of",
    "unsupported_proxy",
]

DEFAULT_VARIABLE = "BUILDX_DEFAULT_POLICY"
_OWN_NAME = "buildx_default_policy.rego"
Find = Callable[[Source, Wish, HttpOp | GitOp | None], Told]


@frozen
class MainPlace:
    """Where files of policies are: the main context's directory, None if there is none; and the Dockerfile's own policy.

    `own` is what that is called, "" for none that could be there; `text` is None if it is to be looked for in the directory.
    """

    root: Path | None = None
    own: str = ""
    text: str | None = None


class Log:
    """Shows what policies say as a step, which is open while something is said."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name
        self._digest = sha256(f"{name} {time.time()!r}".encode())
        self._started = 0.0

    def begin(self) -> None:
        """Open the step."""
        self._started = time.time()
        self._sink(StepEvent(step=self._digest, name=self._name, started=self._started))

    def say(self, text: str) -> None:
        """Show a line, or several."""
        data = f"{text}\n".encode()
        self._sink(LogEvent(step=self._digest, stream=1, data=data, time=time.time()))

    def end(self, error: str = "") -> None:
        """Close the step."""
        self._sink(
            StepEvent(
                step=self._digest,
                name=self._name,
                started=self._started,
                completed=time.time(),
                error=error,
            )
        )


class Guard:
    """The policies of a build; without any, everything is allowed."""

    def __init__(self, policies: tuple[Policy, ...] = (), log: Log | None = None) -> None:
        self.policies = policies
        self.denied: list[str] = []
        self._log = log
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self.policies)

    def wants_proxy(self) -> bool:
        """Tell whether steps are to reach nothing but a proxy. Raises InputError."""
        return any(each.caps().get(EXEC_PROXY, False) for each in self.policies)

    def note(self, text: str) -> None:
        """Show a line."""
        with self._logged():
            if self._log is not None:
                self._log.say(text)

    def decide(self, source: Source, told: Told) -> Decision | Wish:
        """Return what the policies decide, or what they have to know. Raises InputError."""
        with self._logged():
            found = Policies(policies=self.policies).decide(source, told)
        if isinstance(found, Decision) and found.action == Action.DENY:
            self.denied += found.messages or [""]
            self._fail(source)
        return found

    def _fail(self, source: Source) -> None:
        """Show that a source isn't allowed, as the error of the step."""
        if self._log is not None:
            self._log.end(str(Denied(source, ())))

    def require(self, source: Source, find: Find, op: HttpOp | GitOp | None = None) -> Source:
        """Return the source that is to be used in place of one. Raises Denied, InputError, and what finding out raises."""
        if not self.policies:
            return source
        with self._logged():
            policy = Policies(policies=self.policies)
            return require(policy, source, lambda asked, wish: find(asked, wish, op))

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Have what is said shown; what asking fails with is the error of the step."""
        with self._lock:
            if self._log is None:
                yield
                return
            self._log.begin()
            error = ""
            try:
                yield
            except PolyarchError as failure:
                error = str(failure)
                raise
            finally:
                self._log.end(error)


@frozen
class GuardedImages:
    """Resolves base images that policies allow; one that they replace is another one."""

    images: BaseImages
    guard: Guard
    find: Find

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        """Return the image of a name for a platform. Raises Denied, and as what it asks."""
        if reference.startswith(LAYOUT_SCHEME):
            return self.images.resolve(reference, platform)
        name = parse_reference(reference).canonical
        source = Source(identifier=f"{IMAGE_SCHEME}{name}", platform=platform)
        found = self.guard.require(source, self.find)
        if found is source:
            return self.images.resolve(reference, platform)
        return self.images.resolve(found.identifier.removeprefix(IMAGE_SCHEME), platform)


def check_graph(graph: Graph, guard: Guard, find: Find) -> None:
    """Ask about all that a graph takes from outside, but for images, which were asked about by their names. Raises Denied."""
    asked: set[str] = set()
    for vertex in graph.vertices() if guard else ():
        op = vertex.op
        if isinstance(op, HttpOp | GitOp | LocalOp):
            source = source_of(op)
            if source.identifier not in asked:
                asked.add(source.identifier)
                guard.require(source, find, None if isinstance(op, LocalOp) else op)


def source_of(op: HttpOp | GitOp | LocalOp) -> Source:
    """Return what BuildKit calls the source that an op fetches."""
    if isinstance(op, HttpOp):
        secret = {"http.authheadersecret": op.auth_secret} if op.auth_secret else {}
        return Source(identifier=op.url, attributes=secret)
    if isinstance(op, LocalOp):
        return Source(identifier=f"local://{op.name.partition('@')[0]}")
    rest = op.remote.partition("://")[2] or op.remote
    end = f"#{op.ref}" + (f":{op.subdir}" if op.subdir else "") if op.ref or op.subdir else ""
    return Source(identifier=f"git://{rest}{end}", attributes={"git.fullurl": op.remote})


def address_source(address: str) -> Source:
    """Return what BuildKit calls the source that an address means."""
    reference = parse_git_reference(address)
    if reference is None:
        return Source(identifier=address.partition("#:")[0])
    rest, full = reference.remote.partition("://")[2] or reference.remote, reference.remote
    end = f"#{reference.ref}" if reference.ref else ""
    return Source(identifier=f"git://{rest}{end}", attributes={"git.fullurl": full})


# --- loading ---


def load_policies(
    request: BuildRequest, place: MainPlace, sink: Sink, environ: Mapping[str, str]
) -> Guard:
    """Return the policies of a build. Raises InputError for flags that contradict one another, NotFound for missing files."""
    own = Group(files=(place.own,)) if place.own else None
    groups = groups_of(own, request.policies)
    is_off = any(each.disabled for each in request.policies)
    if find_bool(environ.get(DEFAULT_VARIABLE, "")) and not is_off:
        groups = (_default(), *groups)
    if not groups:
        return Guard()
    places = Places(context=None if place.root is None else Directory(path=str(place.root)))
    loaded = [(group, files) for group in groups if (files := _files(group, places, place))]
    if not loaded:
        return Guard()
    shown = [each.name for _, files in loaded for each in files]
    log = Log(sink, f"loading policies {', '.join(shown)}")
    made = [
        Policy(files, _env(request), places.read, _logger(log, group.level))
        for group, files in loaded
    ]
    return Guard(tuple(made), log)


def _files(group: Group, places: Places, place: MainPlace) -> list[File]:
    found = []
    for name in group.files:
        if name == _OWN_NAME:
            from polyarch.policies.default import DEFAULT  # noqa: PLC0415 seldom asked for

            found.append(File(name=name, text=DEFAULT))
            continue
        if name == place.own and place.text is not None:
            found.append(File(name=name, text=place.text))
            continue
        try:
            data = places.read(name)
        except NotFound:
            if name == place.own:
                continue
            raise
        found.append(File(name=name, text=data.decode("utf-8", "replace")))
    return found


def _default() -> Group:
    return Group(files=(_OWN_NAME,))


def _env(request: BuildRequest) -> Env:
    name = request.dockerfile.rpartition("/")[2]
    return Env(
        args=request.build_args,
        labels=request.labels,
        filename=name if name not in {"", "-", "."} else "Dockerfile",
        target=request.target,
    )


def _logger(log: Log, level: int | None) -> Callable[[Level, str], None]:
    most = Level.INFO if level is None else level

    def say(of: Level, text: str) -> None:
        if of <= most:
            log.say(text)

    return say


def unsupported_proxy() -> InputError:
    """Return the error for a policy that wants what this machine's own engine can't do."""
    return InputError(
        "network proxy requested by policy is not supported by polyarch's own engine",
        hint="build with --proxy-network and without the policy's caps, or on a BuildKit daemon from 0.31 on",
    )
