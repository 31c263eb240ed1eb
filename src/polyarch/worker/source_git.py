"""Git repositories: one commit of one, as a tree, by the `git` program.

The program gets an environment of our own: no configuration of the user or the machine, no prompt, and
passwords by environment variables, which unlike arguments nobody else sees. A repository's hooks never
run, as it is fetched into a fresh one. Only the commit itself is asked for; a server that gives no single
commits is asked for everything.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from polyarch import process
from polyarch.errors import InputError, IntegrityError, MachineError, NotFound, RemoteError
from polyarch.graph.op import GitOp
from polyarch.progress import CancelToken
from polyarch.record import field, frozen
from polyarch.registry.download import redacted
from polyarch.store.store import Store
from polyarch.store.trees import remove_tree
from polyarch.worker.secrets import Secrets

__all__ = ["GitSource", "GitTree", "set_times"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_HEX = re.compile(r"[0-9a-f]{4,64}\Z")
_INHERITED = (
    "PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
# Files of a checkout have the modes of this mask, whatever the user's own is.
_MASKED = ("sh", "-c", 'umask 022; exec "$@"', "sh", "git")


@frozen
class GitTree:
    """A commit that was checked out; `root` is what was asked for of it, `made` when it was made."""

    root: Path
    commit: str
    made: int


@frozen
class GitSource:
    """Fetches commits into the scratch folder of a store."""

    store: Store
    secrets: Secrets
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def fetch(self, op: GitOp, cancel: CancelToken) -> GitTree:
        """Fetch a commit. Raises RemoteError, NotFound, IntegrityError, InputError, MachineError."""
        if op.checksum and not _HEX.match(op.checksum):
            raise InputError(
                f"invalid checksum {op.checksum} for Git URL, expected hex commit hash"
            )
        remote = op.remote if "://" in op.remote or "@" in op.remote else f"https://{op.remote}"
        folder = self.store.temporary("git")
        folder.mkdir()
        git = _Git(folder=folder, env=self._environment(remote), cancel=cancel)
        wanted, commit = self._resolve(git, remote, op)
        if op.checksum and not commit.startswith(op.checksum):
            raise IntegrityError(f"expected checksum to match {op.checksum}, got {commit}")
        self._check_out(git, remote, wanted, commit)
        if op.submodules:
            git.run("submodule", "update", "--init", "--recursive", "--depth=1")
        made = int(git.run("show", "-s", "--format=%ct", commit).strip())
        if op.keep_git_dir:
            git.run("remote", "set-url", "origin", _without_login(remote))
            git.run("reflog", "expire", "--all", "--expire=now")
        else:
            remove_tree(folder / ".git")
        root = _subfolder(folder, op.subdir)
        if op.mtime == "commit":
            set_times(folder, made)
        return GitTree(root=root, commit=commit, made=made)

    def _resolve(self, git: _Git, remote: str, op: GitOp) -> tuple[str, str]:
        """Return what to ask the server for, and the commit that it is."""
        ref = op.ref or (op.checksum if _COMMIT.match(op.checksum) else "HEAD")
        if _COMMIT.match(ref):
            return ref, ref
        listed = git.run("ls-remote", "--", remote, ref, f"{ref}^{{}}")
        found = {name: commit for commit, _, name in _lines(listed)}
        short = ref.removeprefix("refs/")
        for name in (
            f"refs/tags/{short}^{{}}", f"{ref}^{{}}", f"refs/tags/{short}", f"refs/heads/{short}",
            f"refs/{short}", ref,
        ):  # fmt: skip
            if name in found:
                return name.removesuffix("^{}"), found[name]
        raise NotFound(
            f"repository does not contain ref {ref}",
            hint=f"git ls-remote {redacted(remote)} lists what there is",
        )

    def _check_out(self, git: _Git, remote: str, wanted: str, commit: str) -> None:
        algorithm = "sha256" if len(commit) == 64 else "sha1"
        git.run("init", "-q", f"--object-format={algorithm}")
        git.run("remote", "add", "origin", remote)
        fetch = ("fetch", "-q", "--no-tags", "--force")
        try:
            git.run(*fetch, "--depth=1", "origin", wanted)
        except RemoteError:
            everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            git.run(*fetch, "origin", *everything)
        git.run("checkout", "-q", "--detach", commit)

    def _environment(self, remote: str) -> dict[str, str]:
        env = {name: self.environ[name] for name in _INHERITED if name in self.environ}
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": "ssh -F /dev/null -o StrictHostKeyChecking=accept-new",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "HOME": "/dev/null",
        }
        if agent := self.secrets.agents.get("default", ""):
            env["SSH_AUTH_SOCK"] = agent
        settings = {"protocol.file.allow": "user", "advice.detachedHead": "false"}
        if header := self._authorization(remote):
            split = urlsplit(remote)
            base = f"{split.scheme}://{split.netloc.rpartition('@')[2]}/"
            settings[f"http.{base}.extraheader"] = f"Authorization: {header}"
        env["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env

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
class _Git:
    """The program, at work in one repository."""

    folder: Path
    env: Mapping[str, str]
    cancel: CancelToken

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints. Raises RemoteError, MachineError."""
        ended = process.run(
            (*_MASKED, *arguments), env=self.env, cwd=str(self.folder), cancel=self.cancel
        )
        if ended.status == 127:
            raise MachineError("git was not found", hint="apt install git")
        if ended.status != 0:
            lines = ended.stderr.decode(errors="replace").strip().splitlines()
            said = "; ".join(line for line in lines if line.startswith(("fatal", "error"))) or str(
                ended
            )
            raise RemoteError(f"git {arguments[0]}: {re.sub(r'//[^/@ ]*@', '//', said)}")
        return ended.stdout.decode(errors="replace")


def _lines(text: str) -> list[tuple[str, str, str]]:
    return [line.partition("\t") for line in text.splitlines() if "\t" in line]


def _without_login(remote: str) -> str:
    return re.sub(r"\A(https?://)[^/@]*@", r"\1", remote)


def _subfolder(folder: Path, subdir: str) -> Path:
    """Return a folder of the checkout. Raises InputError if there is none, or a link on the way."""
    path = folder
    for part in os.path.normpath("/" + subdir).strip("/").split("/"):
        path = path / part
        if path.is_symlink() or not path.is_dir():
            raise InputError(
                f"git subdir {subdir!r} is no folder of the repository",
                hint="symbolic links on the way to it aren't followed",
            )
    return path


def set_times(folder: Path, seconds: int) -> None:
    """Give everything in a folder, and itself, one time in seconds."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            os.utime(os.path.join(parent, name), (seconds, seconds), follow_symlinks=False)
    os.utime(folder, (seconds, seconds))
