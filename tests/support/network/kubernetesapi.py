"""An API server of Kubernetes, with a cluster that is in memory: real HTTP and WebSockets over TLS, and real programs in its pods.

What is sent is compared with the API's schemas, as the models of Kubernetes' own client library have them. A Deployment or StatefulSet has
its pods at once; what runs in them when somebody asks for `buildctl` is a program of the test's.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web

from tests.support.network.certificates import make_client_certificate
from tests.support.network.schemas import problems

__all__ = ["FakeCluster", "fake_cluster", "kubeconfig"]

TOKEN = "a-token-of-the-tests"
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_V5 = "v5.channel.k8s.io"
_KINDS = {
    "deployments": "V1Deployment",
    "statefulsets": "V1StatefulSet",
    "configmaps": "V1ConfigMap",
}
_CHUNK = 1 << 15


@dataclass(kw_only=True)
class FakeCluster:
    """What a cluster has, by kind and then by namespace and name, and what it was asked. `program` is started for an exec.

    `forbidden` are verbs and resources that nobody may use, `waiting` is the reason why no pod becomes ready, `notes` are
    the messages of events about pods. `state` is what pods are like instead, as the API has it, and `printed` what their containers printed;
    `troubles` are what the next attempts to enter a pod are answered with. All of it answers as Kubernetes 1.36 does.
    """

    directory: Path
    program: tuple[str, ...] = ("cat",)
    protocols: tuple[str, ...] = (_V5, "v4.channel.k8s.io")
    forbidden: set[str] = field(default_factory=set)
    waiting: str = ""
    notes: tuple[str, ...] = ()
    state: dict[str, Any] | None = None
    printed: str = ""
    troubles: list[tuple[int, str]] = field(default_factory=list)
    objects: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in (*_KINDS, "pods", "persistentvolumeclaims")}
    )
    asked: list[str] = field(default_factory=list)
    execs: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    server: str = ""
    loop: asyncio.AbstractEventLoop | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    running: int = 0

    def names(self, kind: str) -> list[str]:
        """Return the names of what there is of a kind."""
        return sorted(name.partition("/")[2] for name in self.objects[kind])

    @property
    def is_empty(self) -> bool:
        return not any(self.objects.values())

    def become_ready(self) -> None:
        """Let all pods be ready."""
        self.waiting = ""
        for kind in ("deployments", "statefulsets"):
            for found in self.objects[kind].values():
                _run_pods(self, found)

    def wait_for_programs(self) -> None:
        """Wait until no program runs in any pod."""
        with self.changed:
            self.changed.wait_for(lambda: not self.running)

    def count(self, more: int) -> None:
        with self.changed:
            self.running += more
            self.changed.notify_all()

    def kill(self) -> None:
        """End the programs in all pods, as a pod's end does."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()


def _run_pods(cluster: FakeCluster, workload: dict[str, Any]) -> None:
    """Make the pods of a Deployment or StatefulSet, as its controller does."""
    meta, spec = workload["metadata"], workload["spec"]
    is_set = "serviceName" in spec
    for number in range(spec.get("replicas", 1)):
        name = f"{meta['name']}-{number}" if is_set else f"{meta['name']}-7c9b8f6d5-{number}"
        for claim in spec.get("volumeClaimTemplates", ()):
            title = f"{claim['metadata']['name']}-{name}"
            cluster.objects["persistentvolumeclaims"][f"{meta['namespace']}/{title}"] = {
                **claim,
                "metadata": {"name": title, "labels": spec["selector"]["matchLabels"]},
            }
        state = {"waiting": {"reason": cluster.waiting, "message": "back-off pulling"}}
        if not cluster.waiting:
            state = {"running": {}}
        cluster.objects["pods"][f"{meta['namespace']}/{name}"] = {
            "metadata": {"name": name, **spec["template"]["metadata"]},
            "spec": spec["template"]["spec"],
            "status": cluster.state
            or {
                "phase": "Pending" if cluster.waiting else "Running",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "False" if cluster.waiting else "True"},
                ],
                "containerStatuses": [_container_status(state, ready=not cluster.waiting)],
            },
        }
    ready = 0 if cluster.waiting or cluster.state else spec.get("replicas", 1)
    workload["status"] = {"readyReplicas": ready, "replicas": spec.get("replicas", 1)}


def _container_status(state: Mapping[str, Any], *, ready: bool) -> dict[str, Any]:
    return {
        "name": "buildkitd", "image": "i", "imageID": "", "ready": ready, "restartCount": 0, "state": state
    }  # fmt: skip


def _status(code: int, reason: str, message: str) -> web.Response:
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return web.json_response({**document, "reason": reason, "code": code}, status=code)


def _forbidden(request: web.Request, kind: str, name: str, what: str) -> web.Response:
    """Return the answer to who may not do something."""
    verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update"}
    group = "apps" if request.path.startswith("/apis/apps/") else ""
    whole = f"{kind}.{group}" if group else kind
    return _status(
        403,
        "Forbidden",
        f"{whole}{f' {json.dumps(name)}' if name else ''} is forbidden: "
        f'User "tests" cannot {verb.get(request.method, "delete")} resource "{what}" '
        f'in API group "{group}" in the namespace "{request.match_info["namespace"]}"',
    )


class _Server:
    """The API, for one cluster."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.transports: set[asyncio.Transport] = set()
        self.app = web.Application(middlewares=[self._admit])
        for group in ("api/v1", "apis/apps/v1"):
            path = f"/{group}/namespaces/{{namespace}}/{{kind}}"
            self.app.router.add_get(path, self._list)
            self.app.router.add_post(path, self._create)
            self.app.router.add_delete(path, self._delete_all)
            self.app.router.add_get(f"{path}/{{name}}", self._read)
            self.app.router.add_put(f"{path}/{{name}}", self._replace)
            self.app.router.add_delete(f"{path}/{{name}}", self._delete)
            self.app.router.add_get(f"{path}/{{name}}/exec", self._exec)
            self.app.router.add_get(f"{path}/{{name}}/log", self._log)

    @web.middleware
    async def _admit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Ask who it is, and whether that may be done."""
        assert request.transport is not None
        self.transports.add(request.transport)
        certificate = request.transport.get_extra_info("peercert")
        if not certificate and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        kind, name = request.match_info.get("kind", ""), request.match_info.get("name", "")
        part = request.path.rpartition("/")[2]
        what = f"{kind}/{part}" if part in {"exec", "log"} else kind
        self.cluster.asked.append(f"{request.method} {what}")
        if self.cluster.asked[-1] in self.cluster.forbidden:
            return _forbidden(request, kind, name, what)
        if part == "exec" and "POST pods/exec" in self.cluster.forbidden:
            # WebSockets begin with GET, but need the right to create.
            return _status(403, "Forbidden", f'pods "{name}" is forbidden: ')
        response: web.StreamResponse = await handler(request)
        return response

    # --- objects ---

    def _objects(self, request: web.Request) -> dict[str, dict[str, Any]]:
        return self.cluster.objects[request.match_info["kind"]]

    @staticmethod
    def _key(request: web.Request) -> str:
        return f"{request.match_info['namespace']}/{request.match_info['name']}"

    def _chosen(self, request: web.Request) -> dict[str, dict[str, Any]]:
        wanted = dict(
            each.split("=") for each in request.query.get("labelSelector", "").split(",") if each
        )
        prefix = f"{request.match_info['namespace']}/"
        return {
            key: each
            for key, each in self._objects(request).items()
            if key.startswith(prefix)
            and wanted.items() <= each["metadata"].get("labels", {}).items()
        }

    async def _list(self, request: web.Request) -> web.Response:
        if request.match_info["kind"] == "events":
            name = request.query["fieldSelector"].partition("=")[2]
            items = [
                {
                    "metadata": {"name": "e"},
                    "involvedObject": {"name": name},
                    "type": "Warning",
                    "reason": "Failed",
                    "message": message,
                }
                for message in self.cluster.notes
            ]
            return web.json_response({"items": items})
        return web.json_response({"items": list(self._chosen(request).values())})

    async def _create(self, request: web.Request) -> web.Response:
        kind, document = request.match_info["kind"], await request.json()
        found = problems(document, _KINDS[kind])
        if found or document["metadata"].get("namespace") != request.match_info["namespace"]:
            return _status(422, "Invalid", f"{kind} is invalid: {found}")
        key = f"{document['metadata']['namespace']}/{document['metadata']['name']}"
        if key in self._objects(request):
            return _status(409, "AlreadyExists", f'{kind} "{key}" already exists')
        self._objects(request)[key] = document
        if kind != "configmaps":
            _run_pods(self.cluster, document)
        return web.json_response(document, status=201)

    async def _read(self, request: web.Request) -> web.Response:
        found = self._objects(request).get(self._key(request))
        return web.json_response(found) if found is not None else self._missing(request)

    async def _replace(self, request: web.Request) -> web.Response:
        self._objects(request)[self._key(request)] = document = await request.json()
        return web.json_response(document)

    async def _delete(self, request: web.Request) -> web.Response:
        found = self._objects(request).pop(self._key(request), None)
        if found is None:
            return self._missing(request)
        labels = found["metadata"].get("labels", {})
        if request.match_info["kind"] != "configmaps":
            pods = self.cluster.objects["pods"]
            for key in [key for key, pod in pods.items() if pod["metadata"]["labels"] == labels]:
                del pods[key]
        return web.json_response({"kind": "Status", "status": "Success"})

    async def _delete_all(self, request: web.Request) -> web.Response:
        for key in self._chosen(request):
            del self._objects(request)[key]
        return web.json_response({"kind": "Status", "status": "Success"})

    @staticmethod
    def _missing(request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        return _status(404, "NotFound", f'{kind} "{name}" not found')

    # --- programs ---

    async def _log(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        ended = self.cluster.objects["pods"][self._key(request)]["status"]["containerStatuses"]
        if "previous" in request.query and not any("lastState" in each for each in ended):
            text = f'previous terminated container "buildkitd" in pod "{name}" not found'
            return _status(400, "BadRequest", text)
        return web.Response(text=self.cluster.printed)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        if self._key(request) not in self.cluster.objects["pods"]:
            return self._missing(request)
        if self.cluster.troubles:
            code, message = self.cluster.troubles.pop(0)
            return _status(code, "InternalError", message)
        # Who asked may be gone again before the program runs.
        self.cluster.count(1)
        try:
            return await self._run(request)
        finally:
            self.cluster.count(-1)

    async def _run(self, request: web.Request) -> web.StreamResponse:
        far = web.WebSocketResponse(protocols=self.cluster.protocols, max_msg_size=1 << 20)
        await far.prepare(request)
        words = tuple(request.query.getall("command"))
        self.cluster.execs.append((request.match_info["name"], words))
        process = await asyncio.create_subprocess_exec(
            *self.cluster.program, *words[1:], stdin=-1, stdout=-1, stderr=-1
        )
        self.cluster.processes.append(process)
        feeding = asyncio.create_task(_feed(far, process))
        outputs = ((_STDOUT, process.stdout), (_STDERR, process.stderr))
        try:
            await asyncio.gather(*(_pass_on(far, *each) for each in outputs))
            await process.wait()
            await far.send_bytes(bytes((_STATUS,)) + _ended(process.returncode or 0))
        except ConnectionError:
            pass  # who asked is gone
        finally:
            feeding.cancel()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await far.close()
        return far


def _ended(status: int) -> bytes:
    if not status:
        return json.dumps({"status": "Success"}).encode()
    code = status if status > 0 else 128 - status
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return json.dumps(
        {
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
            "details": {"causes": causes},
        }
    ).encode()


async def _feed(far: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
    """Give a program what comes; where the connection ends, or its standard input does, that ends too."""
    assert process.stdin is not None
    with suppress(ConnectionError):
        async for message in far:
            assert message.type is WSMsgType.BINARY
            if message.data[:1] == bytes((_STDIN,)):
                process.stdin.write(message.data[1:])
                await process.stdin.drain()
            elif message.data == bytes((_CLOSE, _STDIN)) and far.ws_protocol == _V5:
                break
    process.stdin.close()


async def _pass_on(
    far: web.WebSocketResponse, number: int, output: asyncio.StreamReader | None
) -> None:
    assert output is not None
    while data := await output.read(_CHUNK):
        await far.send_bytes(bytes((number,)) + data)


@asynccontextmanager
async def _listening(cluster: FakeCluster, context: ssl.SSLContext) -> AsyncIterator[int]:
    server = _Server(cluster)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        cluster.kill()
        await runner.cleanup()
        # Clients keep connections, and needn't take leave of TLS.
        for each in server.transports:
            each.abort()
        await asyncio.sleep(0)


@contextmanager
def fake_cluster(directory: Path) -> Iterator[FakeCluster]:
    """Run a cluster's API server for the time of the block; its certificates are in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    context = make_client_certificate(directory)
    cluster = FakeCluster(directory=directory)
    ready = threading.Event()
    stopped = asyncio.Event()

    async def serve() -> None:
        async with _listening(cluster, context) as port:
            cluster.server = f"https://127.0.0.1:{port}"
            cluster.loop = asyncio.get_running_loop()
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="cluster")
    thread.start()
    try:
        ready.wait()
        yield cluster
    finally:
        assert cluster.loop is not None
        cluster.loop.call_soon_threadsafe(stopped.set)
        thread.join()


def kubeconfig(cluster: FakeCluster, path: Path, *, user: str = "certificate") -> Path:
    """Write a kubeconfig with the contexts `certificate`, `files`, `token` and `stranger`, of which `user` is the current one."""

    def data(name: str) -> str:
        return b64encode((cluster.directory / name).read_bytes()).decode()

    users: dict[str, dict[str, str]] = {
        "certificate": {
            "client-certificate-data": data("client.crt"),
            "client-key-data": data("client.key"),
        },
        "files": {
            "client-certificate": str(cluster.directory / "client.crt"),
            "client-key": str(cluster.directory / "client.key"),
        },
        "token": {"token": TOKEN},
        "stranger": {"token": "wrong"},
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": cluster.server, "certificate-authority-data": data("ca.crt")},
            }
        ],
        "users": [{"name": name, "user": found} for name, found in users.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": name, "namespace": "builds"}}
            for name in users
        ],
        "current-context": user,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path
