"""The solver's hands: what each op means in snapshots.

A result is a `LayerStack` (layers), or for a build context a `SourceTree` (the directory, as it lies there).
Layers of images are unpacked only when something reads the tree that they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from polyarch.digest import Digest, chain_id, sha256
from polyarch.errors import InternalError
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    DiffOp,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MergeOp,
    OutputOp,
)
from polyarch.graph.vertex import Vertex
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, cancellable
from polyarch.record import field, frozen, replace
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.solver.key import Content
from polyarch.solver.slots import SlotKind
from polyarch.store.copies import Copies
from polyarch.store.trouble import full_disk_trouble, tree_trouble
from polyarch.why.seen import Seen
from polyarch.worker.contenthash import digest_of_copy, digest_of_path
from polyarch.worker.tree import SourceTree, reading_contexts
from polyarch.worker.unread import Unread, find_difference

if TYPE_CHECKING:
    from polyarch.worker.exec import StepRunner

__all__ = ["Images", "Made", "Remote", "Result", "Worker", "content_inputs", "pass_over"]

Result = LayerStack | SourceTree


class Images(Protocol):
    """Where the layers of images come from."""

    def is_unpacked(self, stack: LayerStack) -> bool:
        """Return whether all layers that came with images are here."""

    def ensure_unpacked(self, stack: LayerStack, vertex: Vertex, cancel: CancelToken) -> None:
        """Fetch and unpack those layers of images whose snapshots aren't here.

        `vertex` is the step that it is shown under.
        """

    def is_in_reach(self, stack: LayerStack, cancel: CancelToken) -> bool:
        """Return whether the layers that came with caches are here, or where the caches said they are."""


def content_inputs(vertex: Vertex) -> frozenset[int]:
    """Return the indexes of the inputs that a step reads by content: sources of copies and of mounts."""
    op = vertex.op
    if isinstance(op, FileOp):
        copies = (action for action in op.actions if isinstance(action, CopyAction))
        return frozenset(action.input for action in copies)
    if isinstance(op, ExecOp):
        return frozenset(
            mount.input
            for mount in op.mounts
            if isinstance(mount, BindMount | CacheMount) and mount.input is not None
        )
    return frozenset()


class Remote(Protocol):
    """Where files of other machines come from."""

    def tree(self, op: HttpOp | GitOp, cancel: CancelToken) -> SourceTree:
        """Fetch what the op names."""


Made = Callable[[Vertex, Result], None]
"""Is told of the result of a step, in its thread."""


def pass_over(_vertex: Vertex, _result: Result) -> None:
    """Do nothing with a result."""


@frozen
class Worker:
    """Implements the solver's Runner.

    `contexts` are the build contexts by name; `steps` gives what runs processes, once it is needed;
    `remote` fetches what ADD names of other machines; `copies` knows the last large ones, and
    `imported_places` as much of layers that came with caches;
    `is_native` tells whether programs of a platform run here without an emulator;
    `place` is where all is written, for messages; `seen` is what steps have read by content, by vertex
    and input; `made` is told of each result as its step ends.
    """

    snapshotter: Snapshotter
    images: Images
    steps: Callable[[], StepRunner]
    contexts: Mapping[str, SourceTree]
    remote: Remote
    is_native: Callable[[Platform], bool]
    place: Path
    copies: Copies
    imported_places: Mapping[str, Mapping[int, tuple[str, ...]]] = field(default_factory=dict)
    seen: dict[tuple[Digest, int], Seen] = field(default_factory=dict, repr=False)
    made: Made = pass_over

    def source_identity(self, vertex: Vertex, /) -> str:
        """Name what a source will give: an image by its diff IDs, a context for this solve only."""
        op = vertex.op
        if isinstance(op, ImageOp):
            return f"image:{chain_id(op.diff_ids)}"
        if isinstance(op, LocalOp):
            return f"local:{op.name}:{op.place}:{id(self)}"
        if isinstance(op, HttpOp | GitOp):
            return f"remote:{vertex.digest}:{id(self)}"
        return "scratch"

    def identity(self, _vertex: Vertex, result: Result, /) -> str:
        """Name the result of a step by the layers it is made of."""
        assert isinstance(result, LayerStack)
        return result.identity

    def content_inputs(self, vertex: Vertex, /) -> frozenset[int]:
        """Copies read their sources by content, and so do mounts."""
        return content_inputs(vertex)

    def content(
        self, vertex: Vertex, index: int, source: Result, cancel: CancelToken, /
    ) -> Content:
        """Return what `vertex` reads of its input `index`; large files that it only copies aren't read."""
        contexts = reading_contexts(self.contexts.values())
        with (
            cancellable(cancel),
            tree_trouble(),
            contexts,
            self.reading(source, vertex, cancel) as tree,
        ):
            unread = Unread(str(tree.root))
            is_read = not (tree.layers and isinstance(vertex.op, FileOp))
            read = tree if is_read else replace(tree, file_digest=unread.digest)
            seen = Seen(roots=[unread.root], revision=tree.revision, unread=unread.paths)
            parts = list(self._content_parts(vertex, index, read, seen))
        self.seen[vertex.digest, index] = seen
        digest = parts[0] if len(parts) == 1 else sha256("\n".join(parts).encode())
        return Content(digest=digest, is_whole=not unread.paths)

    def is_made_of(
        self, vertex: Vertex, result: Result, inputs: Mapping[int, Result], cancel: CancelToken, /
    ) -> bool:
        """Return whether the large files that a copy has put into `result` are those of `inputs`."""
        assert isinstance(result, LayerStack)
        snapshot = result.snapshots[-1]
        places = self.copies.find_places(snapshot) or self.imported_places.get(snapshot, {})
        self.images.ensure_unpacked(LayerStack(layers=result.layers[-1:]), vertex, cancel)
        for index, source in inputs.items():
            assert isinstance(source, LayerStack)
            seen = self.seen[vertex.digest, index]
            if len(places.get(index, ())) != len(seen.unread):
                return False
            with cancellable(cancel), tree_trouble():
                different = find_difference(
                    seen.unread,
                    self._layers(source),
                    places[index],
                    tuple(map(str, reversed(self.snapshotter.shapes(snapshot)))),
                    self.snapshotter.open_file,
                )
            if different is not None:
                seen.unlike[self.store(vertex, result)] = different
                return False
        return True

    def _layers(self, stack: LayerStack) -> tuple[str, ...]:
        """Return the directories that a stack is merged from, topmost first, as `Snapshotter.shapes`."""
        return tuple(
            str(path)
            for snapshot in reversed(stack.snapshots)
            for path in reversed(self.snapshotter.shapes(snapshot))
        )

    def _content_parts(
        self, vertex: Vertex, index: int, tree: SourceTree, seen: Seen
    ) -> Iterator[Digest]:
        op = vertex.op
        if isinstance(op, FileOp):
            for action in op.actions:
                if isinstance(action, CopyAction) and action.input == index:
                    yield digest_of_copy(tree, action, seen.files.append)
        elif isinstance(op, ExecOp):
            for mount in op.mounts:
                if isinstance(mount, BindMount | CacheMount) and mount.input == index:
                    yield digest_of_path(tree, mount.source, seen.files.append)

    def run(self, vertex: Vertex, inputs: Sequence[Result], cancel: CancelToken, /) -> Result:
        """Do what the op says. Raises StoreError if the disk is full, whatever was at it."""
        contexts = reading_contexts(self.contexts.values())
        with cancellable(cancel), tree_trouble(), full_disk_trouble(self.place), contexts:
            result = self._run(vertex, inputs, cancel)
        if inputs:
            self.made(vertex, result)
        return result

    def _run(self, vertex: Vertex, inputs: Sequence[Result], cancel: CancelToken) -> Result:
        op = vertex.op
        if not inputs:
            return self._source(vertex, cancel)
        if isinstance(op, MergeOp):
            return _merged(inputs)
        base = inputs[0]
        assert isinstance(base, LayerStack)
        if isinstance(op, OutputOp):
            return base.more[op.number - 1]
        if isinstance(op, DiffOp):
            return self._difference(vertex, inputs, cancel)
        self.images.ensure_unpacked(base, vertex.inputs[0], cancel)
        if isinstance(op, ExecOp):
            return self._exec(vertex, base, inputs, cancel)
        assert isinstance(op, FileOp)
        return self._change(vertex, op, base, inputs, cancel)

    def _exec(
        self, vertex: Vertex, base: LayerStack, inputs: Sequence[Result], cancel: CancelToken
    ) -> LayerStack:
        # With the rest of what runs programs: builds that run none don't load it.
        from polyarch.worker.work import Work  # noqa: PLC0415

        work = Work(vertex=vertex, stack=base, sources=inputs, reading=self.reading, cancel=cancel)
        snapshot = self.steps().run(work)
        assert isinstance(vertex.op, ExecOp)
        more = {}
        for mount in vertex.op.mounts:
            if isinstance(mount, BindMount) and mount.output:
                below = inputs[mount.input]
                assert isinstance(below, LayerStack)
                more[mount.output] = below.with_layer(work.outputs[mount.output])
        return base.with_layer(snapshot, tuple(more[number] for number in sorted(more)))

    def _source(self, vertex: Vertex, cancel: CancelToken) -> Result:
        op = vertex.op
        if isinstance(op, ImageOp):
            stack = _image(op)
            self.images.ensure_unpacked(stack, vertex, cancel)
            return stack
        if isinstance(op, LocalOp):
            return self._context(op.name)
        if isinstance(op, HttpOp | GitOp):
            return self.remote.tree(op, cancel)
        return LayerStack()

    def _context(self, name: str) -> SourceTree:
        if name not in self.contexts:
            raise InternalError(f"the graph names the build context {name!r}, which isn't there")
        return self.contexts[name]

    def _difference(
        self, vertex: Vertex, inputs: Sequence[Result], cancel: CancelToken
    ) -> LayerStack:
        lower, upper = inputs
        assert isinstance(lower, LayerStack)
        assert isinstance(upper, LayerStack)
        rest = upper.layers[len(lower.layers) :]
        is_above = upper.snapshots[: len(lower.layers)] == lower.snapshots
        # Those of steps hold more than what has changed: directories that were only gone through.
        if is_above and all(each.blob is not None for each in rest):
            return _merged((LayerStack(), LayerStack(layers=rest)))
        # Few graphs compare anything.
        from polyarch.worker.difference import Difference  # noqa: PLC0415

        self.images.ensure_unpacked(lower, vertex.inputs[0], cancel)
        with self.reading(upper, vertex.inputs[1], cancel) as above:
            made = Difference(snapshotter=self.snapshotter, below=lower.snapshots, above=above)
            layer = LayerRef(snapshot=made.make(vertex.name), is_linked=True)
        return LayerStack(layers=(layer,))

    def _change(
        self,
        vertex: Vertex,
        op: FileOp,
        base: LayerStack,
        inputs: Sequence[Result],
        cancel: CancelToken,
    ) -> LayerStack:
        wanted = {action.input for action in op.actions if isinstance(action, CopyAction)}
        with ExitStack() as stack:
            sources = [
                stack.enter_context(self.reading(source, vertex.inputs[number], cancel))
                if number in wanted
                else None
                for number, source in enumerate(inputs)
            ]
            # What changes files is imported by builds that do: an unchanged one is done sooner.
            from polyarch.worker.change import Change  # noqa: PLC0415

            change = Change(
                snapshotter=self.snapshotter,
                copies=self.copies,
                vertex=vertex,
                actions=op.actions,
                parents=base.snapshots,
                sources=sources,
                seen=self.seen,
                cancel=cancel,
            )
            return base.with_layer(change.make())

    @contextmanager
    def reading(self, result: Result, vertex: Vertex, cancel: CancelToken) -> Iterator[SourceTree]:
        """Give a result as a tree to read from, for as long as the block lasts."""
        if isinstance(result, SourceTree):
            yield result
            return
        self.images.ensure_unpacked(result, vertex, cancel)
        with self.snapshotter.view(result.snapshots) as root:
            yield SourceTree(
                root=root, layers=self._layers(result), open_file=self.snapshotter.open_file
            )

    def store(self, _vertex: Vertex, result: Result, /) -> str:
        """Return the text by which `load` finds the result; its snapshots are on disk already."""
        assert isinstance(result, LayerStack)
        return result.to_json()

    def load(self, vertex: Vertex, stored: str, cancel: CancelToken, /) -> Result | None:
        """Return the result that `store` named so, if all of its own layers are still here.

        An image is there if its layers are unpacked already.
        """
        if isinstance(vertex.op, ImageOp):
            image = _image(vertex.op)
            return image if self.images.is_unpacked(image) else None
        if not vertex.inputs:
            return None
        try:
            tree = LayerStack.from_json(stored)
        except (ValueError, KeyError, TypeError):
            return None
        if isinstance(vertex.op, ExecOp) and len(tree.more) != vertex.op.outputs:
            return None  # a cache of other machines tells of the root alone
        own = (layer.snapshot for layer in tree.all_layers if layer.blob is None)
        is_here = all(map(self.snapshotter.exists, own)) and self.images.is_in_reach(tree, cancel)
        return tree if is_here else None

    def kind(self, vertex: Vertex, /) -> SlotKind:
        """Say which slots running the vertex takes."""
        if isinstance(vertex.op, ExecOp):
            is_native = self.is_native(vertex.op.platform)
            return SlotKind.EXEC if is_native else SlotKind.EMULATED
        return SlotKind.FILE if isinstance(vertex.op, FileOp) else SlotKind.SOURCE


def _image(op: ImageOp) -> LayerStack:
    return LayerStack.of_image(op.diff_ids, op.blobs, op.source)


def _merged(inputs: Sequence[Result]) -> LayerStack:
    """Put the layers of all inputs on top of one another.

    What a layer holds is there as it is the topmost time that it comes, and overlayfs takes none twice.
    """
    found: dict[SnapshotID, LayerRef] = {}
    for number, source in reversed(tuple(enumerate(inputs))):
        assert isinstance(source, LayerStack)
        for layer in reversed(source.layers):
            found.setdefault(layer.snapshot, replace(layer, is_linked=number > 0))
    return LayerStack(layers=tuple(reversed(found.values())))
