"""One Dockerfile, three platforms, one name: every command of the main job, on this machine.

Where Docker Hub can't be reached, its two images are replaced by stand-ins that come from a registry
here, set up as a mirror; the Dockerfile stays as it is. All state lies in a directory that is removed at
the end, whatever the end is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.interrupts import hold_interrupts, take_interrupts
from demo.shell import CommandFailed, Shell, say
from demo.standins import PLATFORMS
from demo.walkthrough import GREETINGS, walk
from tools.registry import real_registry

_SOURCE = Path(__file__).absolute().parent / "hello-arch"
_HUB = "https://registry-1.docker.io/v2/"
_PATIENCE = 3.0


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--online", action="store_true", help="use Docker Hub's images")
    images.add_argument("--offline", action="store_true", help="use stand-ins for them")
    options = parser.parse_args()
    take_interrupts()
    online = options.online or not (options.offline or not _hub_answers())
    try:
        with _scratch() as scratch, real_registry(scratch / "registry") as registry:
            return _demo(scratch, registry.host, online=online)
    except CommandFailed as error:
        print(f"demo: {error}", file=sys.stderr)
        if online:
            print("hint: DEMO_FLAGS=--offline works without Docker Hub", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130


def _demo(scratch: Path, host: str, *, online: bool) -> int:
    say(f"The registry is {host}; all state lies in {scratch}, and is removed at the end.\n")
    shutil.copytree(_SOURCE, scratch / "hello-arch")
    mirror = "" if online else f'[registry."docker.io"]\nmirrors = ["{host}"]\n'
    shell, again = (_shell(scratch, scratch / name, mirror) for name in ("home", "home-again"))
    handlers = _handlers()
    if online:
        say("Docker Hub answers: golang:alpine and alpine are its images.\n")
    else:
        _bring_in_standins(shell, scratch / "standins", host)
    shell.run("cat", "Dockerfile")
    greetings = walk(shell, ("polyarch",), f"{host}/you/hello-arch")

    say("The same again as a plugin of docker's client: a new home, an empty store, no engine.\n")
    again.run("polyarch", "plugin", "install", "--as", "buildx")
    greetings += walk(again, ("docker", "buildx"), f"{host}/you/hello-again")

    if _handlers() != handlers:
        raise CommandFailed(f"the machine's own emulators changed: {handlers} to {_handlers()}")
    say("Each platform's image, by the digest that imagetools inspect printed:\n")
    for platform, reference, greeting in greetings:
        name, _, digest = reference.partition("@")
        say(f"{name.partition('/')[2]:22}  {digest[:19]}…  {platform:12}  {greeting}")
    if [(platform, text) for platform, _, text in greetings] != 2 * list(GREETINGS.items()):
        raise CommandFailed("these aren't the greetings of the three platforms, twice")
    return 0


def _bring_in_standins(shell: Shell, directory: Path, host: str) -> None:
    """Make the stand-ins and push them to the registry that is set up as Docker Hub's mirror."""
    say("Docker Hub isn't used: golang:alpine and alpine are stand-ins, made of Debian's packages")
    say("for amd64, arm64 and armhf (fetched once, and unpacked; nothing of them is run).\n")
    _make_standins(directory)
    shell.run("sh", "-c", "cat $XDG_CONFIG_HOME/polyarch/registries.toml")
    maker = Shell(directory, shell.environ)
    for context, name in (("alpine", "alpine"), ("golang", "golang:alpine")):
        words = ("-t", f"{host}/library/{name}", f"--platform={PLATFORMS}", "--push", context)
        maker.run("polyarch", "build", *words)


def _make_standins(directory: Path) -> None:
    """Make them in a process that can be ended with all that it started, apt and its downloads."""
    words = [sys.executable, "-m", "demo.standins", str(directory)]
    maker = None
    try:
        with hold_interrupts():
            maker = subprocess.Popen(words, start_new_session=True)
        status = maker.wait()
    except BaseException:
        if maker is not None:
            os.killpg(maker.pid, signal.SIGKILL)
            maker.wait()
        raise
    if status:
        raise CommandFailed("the stand-ins can't be made: Debian's packages are missing")


def _shell(scratch: Path, home: Path, mirror: str) -> Shell:
    """Return a shell beside the sources that has a home, a store and settings of its own."""
    settings = home / ".config/polyarch/registries.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(mirror)
    own = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_DATA_HOME": home / ".local/share",
        "POLYARCH_ROOT": home / "store",
        "DOCKER_CONFIG": home / ".docker",
        # Nobody listens there: docker's client is all that is used of docker.
        "DOCKER_HOST": f"unix://{home}/no-engine.sock",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
    }
    kept = {name: value for name, value in os.environ.items() if not _is_a_setting(name)}
    return Shell(
        scratch / "hello-arch", {**kept, **{key: str(value) for key, value in own.items()}}
    )


def _is_a_setting(name: str) -> bool:
    return name.startswith(("BUILDX_", "BUILDKIT_", "DOCKER_", "POLYARCH_"))


@contextmanager
def _scratch() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="polyarch-demo-"))
    try:
        yield directory
    finally:
        with hold_interrupts():
            # In a session of its own a second Ctrl-C doesn't reach it.
            words = [sys.executable, "-m", "tools.remove", str(directory)]
            subprocess.run(words, check=True, start_new_session=True)


def _handlers() -> list[str]:
    """Return the names of the emulators that are registered for the whole machine."""
    try:
        return sorted(os.listdir("/proc/sys/fs/binfmt_misc"))
    except OSError:
        return []


def _hub_answers() -> bool:
    """Ask Docker Hub; a name server that says nothing is given up, too."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(_HUB, timeout=_PATIENCE):
                answered.set()
        except urllib.error.HTTPError as error:
            if error.code == 401:  # it wants a token, as it does of everyone
                answered.set()
        except OSError:
            pass

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(_PATIENCE)
    return answered.is_set()


if __name__ == "__main__":
    sys.exit(main())
