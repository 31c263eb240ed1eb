"""Parts of an image that were built on several machines -> one image, as if one build had made it.

A part is what `build --shard` left: a layout in a directory or an archive, or an image at a registry. Manifests stay
what they are, attestations too, which tell of them by their digests. The index lists images first and then
what is attested of them, in the order of the parts, as an index that was made in one go does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.images.create import Asked, make
from polyarch.images.layout import LayoutAddress
from polyarch.images.merge import Merged, in_one_go
from polyarch.images.names import LayoutName, Source, parse_name
from polyarch.images.place import Place
from polyarch.images.places import Places
from polyarch.images.unpacked import unpacked
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.index import parse_index
from polyarch.oci.media import is_index
from polyarch.request.annotation import Annotation

__all__ = ["join", "open_parts"]


@contextmanager
def open_parts(texts: Iterable[str]) -> Iterator[tuple[Source, ...]]:
    """Give the parts that are named: directories, archives, and references or `oci-layout://` addresses.

    Archives are unpacked for as long as the block lasts. Raises InputError and its kin.
    """
    with ExitStack() as stack:
        yield tuple(_part(text, stack) for text in texts)


def _part(text: str, stack: ExitStack) -> Source:
    path = Path(text)
    if text.startswith(LAYOUT_SCHEME) or not path.exists():
        return Source(name=parse_name(text))
    directory = path.absolute() if path.is_dir() else stack.enter_context(unpacked(path))
    return Source(name=LayoutName(address=LayoutAddress(directory=directory)))


def join(
    parts: Sequence[Source], annotations: Iterable[Annotation], places: Places
) -> tuple[Merged, Asked]:
    """Return the image of all parts, and what was asked to make it; nothing is written.

    Raises InputError for two parts of one platform, NotFound, RegistryError.
    """
    known = [note for part in parts for note in _index_notes(part, places)]
    notes = tuple(dict.fromkeys((*known, *annotations)))
    asked = Asked(sources=tuple(parts), annotations=notes)
    merged = in_one_go(make(asked, places))
    _check_platforms(merged)
    return merged, asked


def _index_notes(part: Source, places: Places) -> list[Annotation]:
    """Return the annotations of a part's index: those of the whole, as each build was told them."""
    place: Place = places.at(part.name.place)
    root, data = place.load(part.name.target)
    if not is_index(root.media_type):
        return []
    noted = parse_index(data).annotations.items()
    return [Annotation(level="index", key=key, value=value) for key, value in noted]


def _check_platforms(merged: Merged) -> None:
    seen: dict[str, Digest] = {}
    for each in merged.images:
        platform = str(each.platform)
        if platform in seen and seen[platform] != each.digest:
            raise InputError(
                f"two parts are for {platform}: {seen[platform]} and {each.digest}",
                hint="leave one of them out; each platform is built once",
            )
        seen[platform] = each.digest
