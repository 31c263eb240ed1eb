"""`bake --join`: of the parts that `bake --shard` left elsewhere the image of each target, under its names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from polyarch.bakefile.config import Plan
from polyarch.bakefile.target import Target
from polyarch.cli.building.signing import signing_flag
from polyarch.cli.building.values import annotation_flag
from polyarch.cli.display.base import Display
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.golang.strconv import find_bool
from polyarch.images.join import join, open_parts
from polyarch.images.place import Seal
from polyarch.images.places import Places, open_places
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.joining import Joined
from polyarch.pipeline.sealing import opened_seal
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.outputs import is_pushed
from polyarch.request.values import Output, OutputType

__all__ = ["join_plan"]


def join_plan(plan: Plan, options: Options, context: Context, display: Display) -> int:
    """Join what was asked for; return the exit status. Raises InputError, RegistryError, NotFound, and what signers raise."""
    signing = signing_flag(options, context)
    wholes = [each for each in plan.targets.values() if not each.linked]
    if signing and not any(is_pushed(output) for each in wholes for output in _outputs(each)):
        raise InputError(
            "--sign signs what is pushed, and nothing of this bake is",
            hint="push it with --push, or sign later: polyarch sign NAME",
        )
    shards = options.values("join")
    told: dict[str, object] = {}
    with (
        cancel_on_signals() as cancel,
        open_places(context.environ, cancel) as places,
        display,
    ):
        seal = opened_seal(signing, context.environ, cancel)
        joining = _Joining(
            context=context, display=display, places=places, cancel=cancel, seal=seal
        )
        for name, target in sorted(plan.targets.items()):
            if not target.linked:
                told[name] = joining.join(name, target, shards)
    if path := options.text("metadata-file"):
        write_file(path, indented(told).decode(), make_directory=True)
    return 0


@frozen
class _Joining:
    """Joins the parts of targets."""

    context: Context
    display: Display
    places: Places
    cancel: CancelToken
    seal: Seal | None

    def join(self, name: str, target: Target, shards: Sequence[str]) -> dict[str, object]:
        """Join a target, bring it where it is to be, and return what its metadata say."""
        found = [part for each in shards for part in _find_part(each, name)]
        if not found:
            raise InputError(
                f"no shard has a part of target {name}",
                hint=f"looked for it in {', '.join(shards)}",
            )
        names = tuple(map(parse_reference, target.tags or ()))
        with open_parts(found) as parts:
            annotations = annotation_flag(target.annotations or ())
            merged, asked = join(parts, annotations, self.places)
            joined = Joined(
                merged=merged,
                asked=asked,
                names=names,
                places=self.places,
                sink=self.display,
                cancel=self.cancel,
                seal=self.seal,
            )
            self._bring(joined, target)
        return {
            "containerimage.descriptor": merged.descriptor.to_json(),
            "containerimage.digest": merged.descriptor.digest,
            **({"image.name": ",".join(each.canonical for each in names)} if names else {}),
        }

    def _bring(self, joined: Joined, target: Target) -> None:
        outputs = [each for each in _outputs(target) if each.type != OutputType.CACHEONLY]
        for output in outputs:
            if is_pushed(output):
                joined.push()
            elif output.type in {OutputType.OCI, OutputType.LOCAL}:
                _write(joined, output)
            else:
                self._keep(joined, is_loaded=output.type == OutputType.DOCKER)
        if not outputs:
            self._keep(joined, is_loaded=False)

    def _keep(self, joined: Joined, *, is_loaded: bool) -> None:
        with open_store(self.context) as store:
            if is_loaded:
                joined.load(store, self.context.environ)
            else:
                joined.keep(store)


def _outputs(target: Target) -> list[Output]:
    return [
        Output(type=each.type, attributes=each.attributes, destination=each.destination)
        for each in target.output or ()
    ]


def _write(joined: Joined, output: Output) -> None:
    is_archive = output.type == OutputType.OCI
    if is_archive and find_bool(output.attributes.get("tar", "true")) is not False:
        joined.write_file(output.destination or "-")
    else:
        joined.write_directory(Path(output.destination))


def _find_part(shard: str, name: str) -> list[str]:
    """Return where a shard has a part of a target: a directory, or a reference by digest. Raises InputError."""
    path = Path(shard)
    if path.is_dir():
        part = path / name
        return [str(part)] if part.is_dir() else []
    try:
        told = json.loads(path.read_bytes()).get(name)
        if told is None:
            return []
        repository = parse_reference(told["image.name"].split(",")[0]).repository
        return [f"{repository}@{told['containerimage.digest']}"]
    except OSError as error:
        raise InputError(
            f"can't read the shard {shard}: {error.strerror}",
            hint="name a directory that bake --shard has written, or its metadata file",
        ) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{shard} doesn't say where target {name} was pushed to",
            hint="name the metadata file of bake --shard … --push --metadata-file",
        ) from error
