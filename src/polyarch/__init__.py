"""Build container images for many CPU architectures, on one machine, without root or a daemon.

    import polyarch

    result = polyarch.build(".", tags=["registry.example/you/app"], push=True,
                            platforms=["linux/amd64", "linux/arm64"])
    print(result.digest)

The path of a build, in the order of the packages that carry it::

    text --parse--> Dockerfile --lower--> Graph --solve--> layers --assemble--> Image
                                                                                  |
                registry <--push-- ImageIndex <--image_index-- one Image per platform

`polyarch.pipeline.build` states it in full. Programs build with `build`, or with a `Builder` for several
builds, or with `bake` from a `BakeFile`; `BuildRequest` and `BuildResult` say what goes in and what comes out. `list_images`, `pull`, `push` and
`merge` are for images that there are.
"""

# Type checkers take this for typing's. Nothing is imported before a name is asked for: the command line
# starts here, too, and what is asked of it most often needs none of the program.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from polyarch import errors
    from polyarch.api.baking import BakeOptions, bake, bake_async
    from polyarch.api.builds import Builder, build, build_async
    from polyarch.api.images import (
        list_images,
        merge,
        merge_async,
        pull,
        pull_async,
        push,
        push_async,
    )
    from polyarch.api.watching import Progress
    from polyarch.bakefile.target import Target
    from polyarch.bakefile.value import BakeFile
    from polyarch.digest import Digest
    from polyarch.images.local import StoredImage
    from polyarch.images.merge import Merged
    from polyarch.oci.descriptor import Descriptor
    from polyarch.oci.reference import Reference
    from polyarch.platforms import Platform
    from polyarch.progress import (
        CancelToken,
        Event,
        LogEvent,
        Sink,
        StatusEvent,
        StepEvent,
        WarningEvent,
    )
    from polyarch.request.annotation import Annotation
    from polyarch.request.attestation import Attestation
    from polyarch.request.baked import BakeResult
    from polyarch.request.emulated import EmulatedStep
    from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
    from polyarch.request.limits import Resources, Ulimit
    from polyarch.request.make import make_request
    from polyarch.request.options import BuildOptions
    from polyarch.request.result import BuildResult, CacheUse, StepTime
    from polyarch.request.signing import Signing
    from polyarch.request.values import BuildRequest, CacheEntry, Output, OutputType, Secret

__version__ = "0.1.0"

__all__ = [
    "Annotation",
    "Attestation",
    "BakeFile",
    "BakeOptions",
    "BakeResult",
    "BuildOptions",
    "BuildRequest",
    "BuildResult",
    "Builder",
    "CacheEntry",
    "CacheUse",
    "CancelToken",
    "Cause",
    "CauseKind",
    "Descriptor",
    "Digest",
    "EmulatedStep",
    "Event",
    "Explanation",
    "LogEvent",
    "Merged",
    "Outcome",
    "Output",
    "OutputType",
    "Platform",
    "Progress",
    "Reference",
    "Resources",
    "Secret",
    "Signing",
    "Sink",
    "StatusEvent",
    "StepEvent",
    "StepTime",
    "StoredImage",
    "Target",
    "Ulimit",
    "WarningEvent",
    "bake",
    "bake_async",
    "build",
    "build_async",
    "errors",
    "list_images",
    "make_request",
    "merge",
    "merge_async",
    "pull",
    "pull_async",
    "push",
    "push_async",
]

_MODULES = {
    "api.baking": ("BakeOptions", "bake", "bake_async"),
    "api.builds": ("Builder", "build", "build_async"),
    "api.images": (
        "list_images",
        "merge",
        "merge_async",
        "pull",
        "pull_async",
        "push",
        "push_async",
    ),
    "api.watching": ("Progress",),
    "bakefile.target": ("Target",),
    "bakefile.value": ("BakeFile",),
    "digest": ("Digest",),
    "images.local": ("StoredImage",),
    "images.merge": ("Merged",),
    "oci.descriptor": ("Descriptor",),
    "oci.reference": ("Reference",),
    "platforms": ("Platform",),
    "progress": (
        "CancelToken",
        "Event",
        "LogEvent",
        "Sink",
        "StatusEvent",
        "StepEvent",
        "WarningEvent",
    ),
    "request.annotation": ("Annotation",),
    "request.attestation": ("Attestation",),
    "request.baked": ("BakeResult",),
    "request.emulated": ("EmulatedStep",),
    "request.explanation": ("Cause", "CauseKind", "Explanation", "Outcome"),
    "request.limits": ("Resources", "Ulimit"),
    "request.make": ("make_request",),
    "request.options": ("BuildOptions",),
    "request.result": ("BuildResult", "CacheUse", "StepTime"),
    "request.signing": ("Signing",),
    "request.values": ("BuildRequest", "CacheEntry", "Output", "OutputType", "Secret"),
}


if not TYPE_CHECKING:  # or type checkers would believe in any name

    def __getattr__(name: str) -> object:
        if name == "errors":
            return __import__("polyarch.errors", fromlist=["errors"])
        for module, names in _MODULES.items():
            if name in names:
                value = getattr(__import__(f"polyarch.{module}", fromlist=[name]), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'polyarch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
