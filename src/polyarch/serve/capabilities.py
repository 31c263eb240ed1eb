"""What clients are told that there is, by BuildKit's names.

Source: BuildKit's `frontend/gateway/pb/caps.go` and `solver/pb/caps.go`.
"""

from __future__ import annotations

__all__ = ["FRONTEND_CAPABILITIES", "LLB_CAPABILITIES"]

# fmt: off
FRONTEND_CAPABILITIES = (
    "solve.base", "resolveimage", "resolveimage.resolvemode", "readfile", "return", "returnmap", "readdir", "statfile",
    "importcaches", "proto.refarray", "reference.output", "frontend.inputs", "gateway.solve.metadata", "frontend.caps",
    "gateway.exec", "gateway.exec.extrahosts", "gateway.exec.secretenv", "gateway.exec.signals", "gateway.exec.filesystem",
    "source.metaresolver", "source.metaresolver.http.checksumrequest", "gateway.solve.evaluate", "gateway.evaluate", "gateway.warnings", "reference.attestations",
)
LLB_CAPABILITIES = (
    "source.image", "source.image.resolvemode", "source.image.layerlimit", "source.image.checksum", "source.local", "source.local.unique", "source.local.sessionid",
    "source.local.includepatterns", "source.local.followpaths", "source.local.excludepatterns",
    "source.local.sharedkeyhint", "source.local.differ", "source.git", "source.git.keepgitdir", "source.git.fullurl",
    "source.git.httpauth", "source.git.knownsshhosts", "source.git.mountsshsock", "source.git.subdir",
    "source.git.checksum", "source.git.skipsubmodules", "source.git.mtime", "source.git.fetchbycommit", "source.http",
    "source.http.checksum", "source.http.auth", "source.http.header", "source.http.perm", "soruce.http.uidgid", "source.ocilayout", "source.buildop.llbfilename",
    "exec.meta.base", "exec.meta.cgroup.parent", "exec.meta.network", "exec.meta.proxyenv", "exec.meta.security",
    "exec.meta.setsdefaultpath", "exec.meta.ulimit", "exec.meta.cdi", "exec.meta.removemountstubs.recursive",
    "exec.meta.linux.resources", "exec.mount.bind", "exec.mount.bind.readwrite-nooutput", "exec.mount.cache",
    "exec.mount.cache.sharing", "exec.mount.selector", "exec.mount.tmpfs", "exec.mount.tmpfs.size",
    "exec.mount.secret", "exec.mount.ssh", "exec.mount.cache.content", "exec.cgroup", "exec.secretenv", "file.base",
    "exec.validexitcode", "file.rm.wildcard", "file.rm.nofollowsymlink", "file.symlink.create", "file.copy.includeexcludepatterns", "file.copy.requiredpaths",
    "file.copy.alwaysreplaceexistingdestpaths", "file.copy.modestring", "constraints", "platform", "meta.ignorecache",
    "meta.description", "meta.exportcache", "cache.gha", "cache.s3", "cache.azblob", "mergeop", "diffop",
    "passthroughop",
    "exporter.image.annotations", "exporter.image.attestations", "exporter.sourcedateepoch", "exporter.multiple",
    "gc.freespacefilter",
)
# fmt: on
