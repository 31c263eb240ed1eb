"""The table of commands. Nothing of a command is imported before it is called."""

from __future__ import annotations

from polyarch import late
from polyarch.cli.frame.command import Command
from polyarch.record import frozen

__all__ = ["COMMANDS", "GROUPS", "Entry", "find", "load"]


@frozen
class Entry:
    """A command's name (several words for a command of a group) and where its `Command` stands."""

    name: str
    at: str
    """`module:NAME` below `polyarch.cli`."""
    summary: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


def _entry(name: str, at: str, summary: str, *aliases: str, hidden: bool = False) -> Entry:
    return Entry(name=name, at=at, summary=summary, aliases=aliases, hidden=hidden)


GROUPS = {
    "binfmt": "Show, install and remove emulators for the whole machine",
    "dap": "Start debug adapter protocol compatible debugger",
    "history": "Commands to work on build records",
    "image": "Commands to work on images of the local store",
    "imagetools": "Commands to work on images in registry",
    "registry": "Say how registries are asked",
    "policy": "Commands for working with build policies",
    "plugin": "Make polyarch a plugin of docker's command line, or stand in for programs",
}

COMMANDS: tuple[Entry, ...] = (
    _entry("bake", "baking.bake:BAKE", "Build from a file", "f"),
    _entry("build", "building.build:BUILD", "Start a build", "b"),
    _entry("create", "builders.create:CREATE", "Create a new builder instance"),
    _entry("dap build", "debugging.dap:DAP", "Have a build debugged by an editor"),
    _entry("dap attach", "debugging.dap:ATTACH", "Lend a terminal to a debugger", hidden=True),
    _entry("debug", "debugging.debug:DEBUG", "Start debugger (experimental)"),
    _entry("du", "cache.du:DU", "Disk usage"),
    _entry("dial-stdio", "serving.serve:DIAL", "Answer a client of BuildKit's API over a pipe"),
    _entry("inspect", "builders.commands:INSPECT", "Inspect current builder instance"),
    _entry("ls", "builders.ls:LS", "List builder instances"),
    _entry("prune", "cache.prune:PRUNE", "Remove build cache"),
    _entry("policy eval", "policy.eval:EVAL", "Evaluate policy for a source"),
    _entry("policy test", "policy.test:TEST", "Run policy tests"),
    _entry("rm", "builders.rm:RM", "Remove one or more builder instances"),
    _entry("serve", "serving.serve:SERVE", "Answer clients of BuildKit's API"),
    _entry("stop", "builders.stop:STOP", "Stop builder instance (nothing to do: no daemon runs)"),
    _entry("use", "builders.commands:USE", "Set the current builder instance"),
    _entry("worker", "serving.worker:WORKER", "Carry out builds for a Dask cluster"),
    _entry("version", "version:VERSION", "Show polyarch version information"),
    _entry("why", "building.why:WHY", "Say why steps of the last build weren't cached"),
    _entry(
        "history export",
        "history.moves:EXPORT",
        "Export build records into Docker Desktop bundle",
    ),
    _entry("history import", "history.moves:IMPORT", "Import build records of another machine"),
    _entry("history inspect", "history.inspect:INSPECT", "Inspect a build record"),
    _entry(
        "history inspect attachment",
        "history.inspect:ATTACHMENT",
        "Inspect a build record attachment",
    ),
    _entry("history logs", "history.moves:LOGS", "Print the logs of a build record"),
    _entry("history ls", "history.ls:LS", "List build records"),
    _entry("history rm", "history.moves:RM", "Remove build records"),
    _entry(
        "imagetools create", "imagetools.create:CREATE", "Create a new image based on source images"
    ),
    _entry(
        "imagetools inspect",
        "imagetools.inspect:INSPECT",
        "Show details of an image in the registry",
    ),
    _entry("images", "images.images:IMAGES", "List images of the local store"),
    _entry("image prune", "images.prune:PRUNE", "Remove images that a registry has, or all"),
    _entry("join", "imagetools.join:JOIN", "Make one image of parts that were built elsewhere"),
    _entry("load", "images.archives:LOAD", "Load images from an archive or STDIN"),
    _entry("login", "images.login:LOGIN", "Sign in to a registry"),
    _entry("logout", "images.login:LOGOUT", "Sign out of a registry"),
    _entry("pull", "images.transfer:PULL", "Fetch an image from a registry"),
    _entry("push", "images.transfer:PUSH", "Upload an image to its registry"),
    _entry(
        "registry explain",
        "images.explain:EXPLAIN",
        "Say which files decide how a registry is asked for an image",
    ),
    _entry("rmi", "images.images:RMI", "Remove names of images from the local store"),
    _entry("save", "images.archives:SAVE", "Save images to an archive"),
    _entry("run", "images.run:RUN", "Run a program in an image, emulated if needed"),
    _entry("tag", "images.images:TAG", "Give an image of the local store another name"),
    _entry("sign", "images.sign:SIGN", "Sign images of registries"),
    _entry(
        "verify", "images.verify:VERIFY", "Recompute all that an image claims, and who signed it"
    ),
    _entry("binfmt", "binfmt:BINFMT", GROUPS["binfmt"]),
    _entry("binfmt install", "binfmt:INSTALL", "Register emulators with the kernel"),
    _entry(
        "binfmt status", "binfmt:STATUS", "Show what runs here and which emulators are registered"
    ),
    _entry("binfmt uninstall", "binfmt:UNINSTALL", "Remove emulators from the kernel"),
    _entry("completion", "completion:COMPLETION", "Print the completion script of a shell"),
    _entry(
        "doctor", "doctor.doctor:DOCTOR", "Say what this machine can do, and how to fix the rest"
    ),
    _entry(
        "plugin install",
        "plugin:INSTALL",
        "Install the docker CLI plugin, or a program that stands in",
    ),
    _entry("plugin ls", "plugin:LS", "List the plugins and programs that are polyarch"),
    _entry("plugin uninstall", "plugin:UNINSTALL", "Remove the plugin or program"),
)


def find(words: tuple[str, ...] | list[str]) -> tuple[Entry, int] | None:
    """Return the command that the first words name, and how many words that took."""
    for count in (3, 2, 1):
        name = " ".join(words[:count])
        for entry in COMMANDS:
            if len(words) >= count and (entry.name == name or name in entry.aliases):
                return entry, count
    return None


def load(entry: Entry) -> Command:
    """Import the module of a command and return its record."""
    command = late.load(f"cli.{entry.at}")
    assert isinstance(command, Command)
    return command
