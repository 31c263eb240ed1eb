"""Git repositories: one commit of one, as a tree, by the `git` program.

The program gets an environment of our own: no configuration of the user or the machine, no prompt, and
passwords by environment variables, which unlike arguments nobody else sees. A repository's hooks never
run, as it is fetched into a fresh one. Only the commit itself is asked for; a server that gives no single
commits is asked for everything. git would take the header of a secret along wherever a server redirects it,
so with one it follows nothing: where a repository has moved to is found out here, and the header goes there
if that is still the same origin. Files that the repository keeps by git LFS are fetched where `git-lfs` is
installed; elsewhere the pointers to them stay, as they always do with BuildKit.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from polyarch import process
from polyarch.errors import InputError, IntegrityError, MachineError, NotFound, RemoteError
from polyarch.graph.op import GitOp
from polyarch.http.download import Getter
from polyarch.http.follow import Sender
from polyarch.http.offline import is_offline
from polyarch.http.origin import origin_of, redacted
from polyarch.http.pools import Pools
from polyarch.pattern import pattern
from polyarch.progress import CancelToken
from polyarch.record import field, frozen, replace
from polyarch.registry.hosts import load_hosts
from polyarch.store.store import Store
from polyarch.store.trees import remove_tree
from polyarch.text.epoch import has_date
from polyarch.worker.secrets import Secrets

__all__ = ["GitRef", "GitSource", "GitTree", "set_times", "without_login"]

T = TypeVar("T")

_COMMIT = pattern(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_HEX = pattern(r"[0-9a-fA-F]+\Z")
_HEAD = pattern(r"refs/heads/(\S+)")
_SHALLOW = pattern(r"--depth|shallow")
_MOVED = pattern(r"unable to access '([^']+)': The requested URL returned error: 30[12378]\b")
_MOVES = 5
_REFS = "/info/refs?service=git-upload-pack"
_SSH_COMPLAINT = pattern(r"Permission denied|Host key verification failed")
_INHERITED = (
    "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
_LARGE_FILES = {
    "filter.lfs.process": "git-lfs filter-process",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.required": "true",
    "lfs.transfer.maxretries": "2",
    # A repository may say where its large files are: on other servers, but not on this machine.
    "lfs.customtransfer.lfs-standalone-file.path": "false",
}
# Files of a checkout have the modes of this mask, whatever the user's own is.
_MASKED = ("sh", "-c", 'umask 022; exec "$@"', "sh", "git")


@frozen
class GitTree:
    """A commit that was checked out; `root` is what was asked for of it, `made` when it was made."""

    root: Path
    commit: str
    made: int


@frozen
class GitRef:
    """What an address means at its server: a ref, its object, and for an annotated tag the commit (`peeled`).

    `commit_object` and `tag_object` are the bytes of those, where they were asked for.
    """

    name: str
    digest: str
    peeled: str = ""
    commit_object: bytes = b""
    tag_object: bytes = b""


@frozen
class GitSource:
    """Fetches commits into the scratch directory of a store."""

    store: Store
    secrets: Secrets
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def fetch(self, op: GitOp, cancel: CancelToken) -> GitTree:
        """Fetch a commit. Raises RemoteError, NotFound, IntegrityError, InputError, MachineError."""
        return self._following(
            op, lambda remote, moved: self._fetch(op, remote, moved, cancel), cancel
        )

    def look(self, op: GitOp, cancel: CancelToken, *, objects: bool = False) -> GitRef:
        """Find out what an op means at its server; with `objects` what is told there of it. Raises as `fetch`."""
        return self._following(
            op, lambda remote, moved: self._look(op, remote, moved, cancel, objects=objects), cancel
        )

    def _look(
        self,
        op: GitOp,
        remote: str,
        moved: Mapping[str, str],
        cancel: CancelToken,
        *,
        objects: bool,
    ) -> GitRef:
        directory = self.store.temporary("git")
        directory.mkdir()
        git = _Git(directory=directory, env=self._environment(remote, moved), cancel=cancel)
        wanted = self._resolve(git, remote, op)
        commit = wanted.peeled or wanted.digest
        if op.checksum and not commit.startswith(op.checksum):
            _check(op.checksum, wanted, commit)
        found = GitRef(name=wanted.name, digest=wanted.digest, peeled=wanted.peeled)
        if not objects:
            return found
        _check_out(git, remote, wanted)
        return replace(
            found,
            commit_object=git.read("commit", commit),
            tag_object=git.read("tag", wanted.digest) if wanted.peeled else b"",
        )

    def _following(
        self, op: GitOp, work: Callable[[str, Mapping[str, str]], T], cancel: CancelToken
    ) -> T:
        """Do something with a repository, wherever that has moved to."""
        if op.checksum and not _HEX.match(op.checksum):
            raise InputError(
                f"invalid checksum {op.checksum} for Git URL, expected hex commit hash"
            )
        remote = op.remote if "://" in op.remote or "@" in op.remote else f"https://{op.remote}"
        if is_offline(self.environ):
            raise NotFound(
                f"the repository {redacted(remote)} isn't kept here, and nothing is asked of others (--offline)",
                hint="leave out --offline, or use a checkout as the context",
            )
        moved: dict[str, str] = {}
        while True:
            try:
                return work(remote, moved)
            except RemoteError as error:
                found = _MOVED.search(str(error))
                url = found[1].rstrip("/") if found else ""
                if not url or url in moved or len(moved) == _MOVES:
                    raise
            moved[url] = self._destination(url, cancel)

    def _destination(self, url: str, cancel: CancelToken) -> str:
        """Return where a repository has moved to."""
        pools = Pools(self.environ)
        sender = Sender(endpoint_of=load_hosts(self.environ).endpoint, pools=pools)
        getter = Getter(sender=sender, cancel=cancel)
        try:
            with getter.get(f"{url}{_REFS}", {}, self._authorization(url)) as reply:
                return reply.url.removesuffix(_REFS).rstrip("/")
        finally:
            pools.close()

    def _fetch(
        self, op: GitOp, remote: str, moved: Mapping[str, str], cancel: CancelToken
    ) -> GitTree:
        directory = self.store.temporary("git")
        directory.mkdir()
        git = _Git(directory=directory, env=self._environment(remote, moved), cancel=cancel)
        wanted = self._resolve(git, remote, op)
        _check_out(git, remote, wanted)
        commit = git.run("rev-parse", "HEAD").strip()
        _check(op.checksum, wanted, commit)
        if op.keep_git_dir:
            # Before submodules come, as theirs are made from it, and keep it.
            git.run("remote", "set-url", "--", "origin", without_login(remote))
        if op.submodules:
            git.run("submodule", "update", "--init", "--recursive", "--depth=1")
        told = int(git.run("show", "-s", "--format=%ct", commit).strip())
        made = told if has_date(told) else 0
        if op.keep_git_dir:
            git.run("reflog", "expire", "--all", "--expire=now")
            (directory / ".git/FETCH_HEAD").unlink(missing_ok=True)
            _forget_large_files(git)
        else:
            remove_tree(directory / ".git")
        root = _subdirectory(directory, op.subdir)
        if op.mtime == "commit":
            set_times(directory, made)
        return GitTree(root=root, commit=commit, made=made)

    def _resolve(self, git: _Git, remote: str, op: GitOp) -> _Wanted:
        """Find out what to ask the server for, and which object that is."""
        if op.fetch_by_commit:
            if not _COMMIT.match(op.checksum):
                raise InputError(
                    "fetch-by-commit requires a full commit hash as checksum",
                    hint="write ?checksum= and all 40 digits of the commit",
                )
            return _Wanted(name=op.checksum, digest=op.checksum)
        ref = op.ref or (op.checksum if _COMMIT.match(op.checksum) else "")
        if _COMMIT.match(ref):
            return _Wanted(name=ref, digest=ref)
        return _find(git, remote, ref or _default_branch(git, remote))

    def _environment(self, remote: str, moved: Mapping[str, str]) -> dict[str, str]:
        env = {name: self.environ[name] for name in _INHERITED if name in self.environ}
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": self._ssh_command(),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "HOME": "/dev/null",
        }
        if agent := self.secrets.agents.get("default", ""):
            env["SSH_AUTH_SOCK"] = agent
        settings = {
            "protocol.file.allow": "user",
            "advice.detachedHead": "false",
            "init.defaultBranch": "master",
        }
        if shutil.which("git-lfs", path=env.get("PATH")):
            settings |= _LARGE_FILES
        settings |= {f"url.{new}.insteadOf": old for old, new in moved.items()}
        if header := self._authorization(remote):
            for place in (_scope(remote), *_same_origin(remote, moved.values())):
                settings[f"http.{place}.extraheader"] = f"Authorization: {header}"
                settings[f"http.{place}.followRedirects"] = "false"
        env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env

    def _ssh_command(self) -> str:
        """Return how git calls ssh: keys of the agent only, and it never asks.

        A host that the user knows must have the key that they know of it; others are believed, as
        BuildKit believes all. What is learnt is not kept.
        """
        known = [str(self.store.scratch / "known_hosts")]
        if home := self.environ.get("HOME", ""):
            known.append(os.path.join(home, ".ssh/known_hosts"))
        files = " ".join(f'"{path}"' for path in known)
        options = (
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            "IdentityFile=none",
            f"UserKnownHostsFile={files}",
        )
        quoted = " ".join(f"-o {shlex.quote(option)}" for option in options)
        return f"ssh -F /dev/null {quoted}"

    def _authorization(self, remote: str) -> str:
        """Return the header that a secret gives for the repository's machine, "" for none."""
        if not remote.startswith(("http://", "https://")):
            return ""
        host = urlsplit(remote).netloc.rpartition("@")[2]
        for suffix in (f".{host}", ""):
            header = self.secrets.find(f"GIT_AUTH_HEADER{suffix}")
            if header is not None:
                return header.decode("latin-1").strip()
            token = self.secrets.find(f"GIT_AUTH_TOKEN{suffix}")
            if token is not None:
                return f"basic {base64.b64encode(b'x-access-token:' + token.strip()).decode()}"
        return ""


@frozen
class _Wanted:
    """What a server is asked for: a ref or a commit, and the object that it is there.

    `peeled` is the commit of an annotated tag, "" for everything else.
    """

    name: str
    digest: str
    peeled: str = ""


def _default_branch(git: _Git, remote: str) -> str:
    found = _HEAD.search(git.run("ls-remote", "--symref", "--", remote, "HEAD"))
    if found is None:
        raise NotFound(
            f"could not find default branch for repository: {without_login(remote)}",
            hint="say which branch, tag or commit is meant: add #REF to the address",
        )
    return f"refs/heads/{found[1]}"


def _find(git: _Git, remote: str, ref: str) -> _Wanted:
    """Look for a ref among those of the server: branches go before tags. Raises NotFound."""
    listed = git.run("ls-remote", "--", remote, ref, f"{ref}^{{}}")
    found = {name: digest for digest, _, name in _lines(listed)}
    short = ref.removeprefix("refs/")
    tag = f"refs/tags/{ref.removeprefix('refs/tags/')}"
    for name in (f"refs/{short}", f"refs/heads/{ref.removeprefix('refs/heads/')}", tag):
        if name in found:
            return _Wanted(name=name, digest=found[name], peeled=found.get(f"{name}^{{}}", ""))
    raise NotFound(
        f"repository does not contain ref {ref}",
        hint=f"git ls-remote {without_login(remote)} lists what there is; a commit is named in full",
    )


def _check_out(git: _Git, remote: str, wanted: _Wanted) -> None:
    """Fetch what is wanted and write its files. Branches and tags keep their names."""
    algorithm = "sha256" if len(wanted.digest) == 64 else "sha1"
    git.run("init", "-q", f"--object-format={algorithm}")
    git.run("remote", "add", "--", "origin", remote)
    name = wanted.name
    spec = f"+{name}:{name}" if name.startswith("refs/") else name
    fetch = ("fetch", "-q", "-u", "--no-tags", "--force")
    try:
        git.run(*fetch, "--depth=1", "origin", spec)
    except RemoteError:
        # Not every server gives a commit that no ref names.
        if not _COMMIT.match(name):
            raise
        everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        git.run(*fetch, "origin", *everything)
    try:
        git.run("checkout", "-q", "--detach", wanted.digest)
    except RemoteError as error:
        if "filter" in str(error):
            error.hint = "the server of the repository has to give its large files (git LFS), too"
            raise
        raise NotFound(
            f"the repository has no commit {wanted.digest}, or doesn't give it", hint=str(error)
        ) from error


def _forget_large_files(git: _Git) -> None:
    """Leave nothing of git LFS in a kept `.git`: the files are in the checkout, and needed but once."""
    if (git.directory / ".git/lfs").exists():
        remove_tree(git.directory / ".git/lfs")
    if "lfs.repositoryformatversion" in git.run("config", "--local", "--list", "--name-only"):
        git.run("config", "--local", "--remove-section", "lfs")


def _check(checksum: str, wanted: _Wanted, commit: str) -> None:
    """Compare with what the user expects: the commit, or the tag that leads to it."""
    is_tag = wanted.digest != commit
    if commit.startswith(checksum) or (is_tag and wanted.digest.startswith(checksum)):
        return
    found = f"{wanted.digest} or {commit}" if is_tag else commit
    raise IntegrityError(f"expected checksum to match {checksum}, got {found}")


@frozen
class _Git:
    """The program, at work in one repository."""

    directory: Path
    env: Mapping[str, str]
    cancel: CancelToken

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints. Raises RemoteError, MachineError.

        One that a server can't carry out for a shallow copy is tried again for a whole one.
        """
        ended = self._run(arguments)
        if ended.status != 0 and "--depth=1" in arguments and _SHALLOW.search(_text(ended.stderr)):
            ended = self._run(tuple(each for each in arguments if each != "--depth=1"))
        if ended.status == 127:
            raise MachineError("git was not found", hint="apt install git")
        if ended.status != 0:
            raise _git_failed(arguments[0], ended)
        return ended.stdout.decode(errors="replace")

    def read(self, kind: str, name: str) -> bytes:
        """Return the bytes of an object. Raises RemoteError."""
        ended = self._run(("cat-file", kind, name))
        if ended.status != 0:
            raise _git_failed("cat-file", ended)
        return ended.stdout

    def _run(self, arguments: tuple[str, ...]) -> process.Completed:
        return process.run(
            (*_MASKED, *arguments), env=self.env, cwd=str(self.directory), cancel=self.cancel
        )


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _git_failed(command: str, ended: process.Completed) -> RemoteError:
    lines = _text(ended.stderr).strip().splitlines()
    said = [line for line in lines if line.startswith(("fatal", "error"))]
    said += [line for line in lines if _SSH_COMPLAINT.search(line)]
    return RemoteError(
        f"git {command}: {_redacted('; '.join(dict.fromkeys(said)) or str(ended))}",
        hint=_git_hint(" ".join(lines)),
    )


def _git_hint(said: str) -> str:
    """Return what may help."""
    if "could not read Username" in said or "Authentication failed" in said:
        return "give a token: --secret id=GIT_AUTH_TOKEN,env=GIT_AUTH_TOKEN"
    if "Permission denied (publickey" in said:
        return "forward an agent that has the key: --ssh default"
    if "Host key verification failed" in said:
        return "the host has another key than your known_hosts says"
    return ""


def _redacted(text: str) -> str:
    return re.sub(r"//[^/@ ]*@", "//", text)


def _scope(remote: str) -> str:
    """Return the addresses that get the token: the repository's own; of GitHub, all."""
    for host in ("https://github.com/", "https://www.github.com/"):
        if remote.startswith(host):
            return host
    return without_login(remote)


def _same_origin(remote: str, places: Iterable[str]) -> list[str]:
    return [place for place in places if origin_of(place) == origin_of(remote)]


def _lines(text: str) -> list[tuple[str, str, str]]:
    return [line.partition("\t") for line in text.splitlines() if "\t" in line]


def without_login(remote: str) -> str:
    """Return an address without the name and password that it may hold."""
    return re.sub(r"\A(https?://)[^/@]*@", r"\1", remote)


def _subdirectory(directory: Path, subdir: str) -> Path:
    """Return a directory of the checkout. Raises InputError if there is none, or a link on the way."""
    path = directory
    for part in os.path.normpath("/" + subdir).strip("/").split("/"):
        path = path / part
        if path.is_symlink() or not path.is_dir():
            raise InputError(
                f"git subdir {subdir!r} is no directory of the repository",
                hint="symbolic links on the way to it aren't followed",
            )
    return path


def set_times(directory: Path, seconds: int) -> None:
    """Give everything in a directory, and itself, one time in seconds."""
    for parent, directories, files in os.walk(directory, topdown=False):
        for name in (*files, *directories):
            os.utime(os.path.join(parent, name), (seconds, seconds), follow_symlinks=False)
    os.utime(directory, (seconds, seconds))
