"""What came of a build for the next steps of a pipeline: `changed=true`, in the forms of GitHub's and GitLab's."""

from __future__ import annotations

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.files import write_file
from polyarch.errors import MachineError
from polyarch.request.result import BuildResult

__all__ = ["write_changed"]

_GITHUB = "GITHUB_OUTPUT"


def write_changed(result: BuildResult, dotenv: str, context: Context) -> None:
    """Write it to the file of GitHub's runner, if there is one, and to `dotenv`, unless that is "".

    Raises MachineError.
    """
    lines = [] if result.changed is None else [f"changed={str(result.changed).lower()}"]
    if result.descriptor is not None:
        lines.append(f"digest={result.descriptor.digest}")
    text = "".join(f"{line}\n" for line in lines)
    if path := context.environ.get(_GITHUB):
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror}") from error
    if dotenv:
        write_file(dotenv, text)
