"""Files of build contexts -> directories: the engine reads those, for as long as the build lasts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from polyarch.errors import InputError
from polyarch.record import replace
from polyarch.request.values import BuildRequest, ContextFile

__all__ = ["written_contexts"]


@contextmanager
def written_contexts(request: BuildRequest) -> Iterator[BuildRequest]:
    """Give the request with directories in the place of files; they are gone after the block.

    Raises InputError for a file that can't be read, or two names that can't both be files.
    """
    if not request.context_files:
        yield request
        return
    with ExitStack() as stack:
        directories = {
            name: stack.enter_context(tempfile.TemporaryDirectory(prefix="polyarch-context-"))
            for name in request.context_files
        }
        for name, files in request.context_files.items():
            _write(Path(directories[name]), files)
        main = directories.pop("", request.context)
        contexts = {**request.build_contexts, **directories}
        yield replace(request, context=main, build_contexts=contexts, context_files={})


def _write(directory: Path, files: Sequence[ContextFile]) -> None:
    for each in files:
        path = directory / each.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if each.data is None:
                shutil.copyfile(each.path, path)
                shutil.copymode(each.path, path)
            else:
                path.write_bytes(each.data)
                path.chmod(0o644)
        except OSError as error:
            raise InputError(
                f"can't put {each.name} into a build context: {error.strerror} ({error.filename})"
            ) from error
