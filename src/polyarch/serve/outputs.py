"""Outputs of a client: made here, as any others are, and sent where they are wanted.

Source: BuildKit's `exporter/local`, `exporter/tar`, `exporter/oci`, and `session/filesync`.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.files import send_directory
from polyarch.errors import InputError
from polyarch.exporter.outputs import IMAGE_TYPES, is_known, names_of
from polyarch.golang.strconv import find_bool
from polyarch.progress import Sink, step
from polyarch.record import frozen
from polyarch.request.values import Output, OutputType
from polyarch.serve.asking import Client
from polyarch.serve.content import send_layout
from polyarch.serve.messages import Exported
from polyarch.store.store import Store
from polyarch.wire import field

__all__ = ["ClientOutputs"]

_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
_EXPORTER = "buildkit-attachable-exporter-id"
_ALL_PLATFORMS = "buildkit-exporter-multi-platform"
_TOLD = "exporter-md-"
_CHUNK = 1 << 20
_OF_CLIENTS = frozenset({"prefer-image-digest", "mode"})
"""Attributes that clients tell of, and carry out themselves. What nobody knows is passed over, as BuildKit does: it may be about the
image, which is read with the graph."""
_LAYOUTS = frozenset({OutputType.OCI, OutputType.DOCKER})


@frozen
class _Sent:
    """An output that is sent: the number of its exporter, and where it is made."""

    number: int
    output: Output
    path: Path


class ClientOutputs:
    """The outputs of one build; `discard` removes what was made here to be sent."""

    def __init__(self, client: Client, exporters: Sequence[Exported], store: Store) -> None:
        self._client = client
        self._store = store
        self.outputs: list[Output] = []
        self._sent: list[_Sent] = []
        for number, each in enumerate(exporters):
            attributes = {
                name: value
                for name, value in each.attributes.items()
                if name not in _OF_CLIENTS and is_known(each.type, name)
            }
            if each.type in {OutputType.IMAGE, OutputType.REGISTRY}:
                if find_bool(attributes.get("push", "")):
                    # Clients have no way to see or remove what is kept here under a name.
                    attributes.setdefault("store", "false")
                self.outputs.append(Output(type=each.type, attributes=attributes))
                continue
            path = store.temporary("output")
            output = Output(type=each.type, destination=str(path), attributes=attributes)
            self.outputs.append(output)
            self._sent.append(_Sent(number=number, output=output, path=path))

    def response(self) -> dict[str, str]:
        """Return what is told of one output: of several the last image counts, by its own names alone."""
        images = [each for each in self.outputs if each.type in IMAGE_TYPES]
        if len(images) < 2 or not (names := names_of(images[-1])):
            return {}
        return {"image.name": ",".join(map(str, names))}

    def send(self, sink: Sink, told: Mapping[str, str]) -> None:
        """Send all that isn't pushed or kept; `told` is what the client is told of images. Raises RemoteError, Cancelled, InputError."""
        for each in self._sent:
            is_layout = find_bool(each.output.attributes.get("tar", "true")) is False
            if each.output.type == OutputType.LOCAL:
                with step(sink, "sending files to client"):
                    self._client.wait(self._directory(each))
            elif each.output.type in _LAYOUTS and is_layout:
                with step(sink, "sending image layout to client"):
                    self._client.wait(send_layout(self._client.session, "export", each.path))
            else:
                with each.path.open("rb") as file, step(sink, "sending tarball to client"):
                    self._client.wait(self._file(each, file, told))

    def _metadata(self, sent: _Sent) -> list[tuple[str, str]]:
        self._check()
        return [(_EXPORTER, str(sent.number)), (_ALL_PLATFORMS, "1")]

    def _check(self) -> None:
        if not self._client.session.answers(_SEND):
            raise InputError(f"method {_SEND} not supported by the client")

    async def _directory(self, sent: _Sent) -> None:
        metadata = self._metadata(sent)
        async with self._client.session.stream(_SEND, metadata) as stream:
            await stream.send_request()
            await send_directory(stream, sent.path)
            await stream.end()

    async def _file(self, sent: _Sent, file: BinaryIO, told: Mapping[str, str]) -> None:
        metadata = self._metadata(sent)
        if sent.output.type in _LAYOUTS:
            metadata += [(f"{_TOLD}{name}", text) for name, text in told.items()]
        try:
            async with self._client.session.stream(_SEND, metadata) as stream:
                await stream.send_request()
                while data := file.read(_CHUNK):
                    await stream.send_message(field(1, data))
                await stream.end()
                async for _ in stream:
                    pass
        except GRPCError as error:
            if error.status is not Status.ALREADY_EXISTS:
                raise
            # The client wants nothing of it: it knows the digest.

    def discard(self) -> None:
        """Remove what was made to be sent."""
        for each in self._sent:
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(each.path.lstat().st_mode):
                    self._store.discard(each.path)
                else:
                    each.path.unlink()
