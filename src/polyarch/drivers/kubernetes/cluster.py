"""What the API server of a cluster is asked, in one namespace. All of it raises MachineError and RemoteError."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes import client
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream
from urllib3.util.ssl_ import create_urllib3_context
from websocket import WebSocketBadStatusException

from polyarch.drivers.kubernetes.manifest import Manifest
from polyarch.drivers.kubernetes.settings import ClusterSettings
from polyarch.errors import MachineError, PolyarchError, RemoteError
from polyarch.http.tls import tolerate
from polyarch.record import frozen

__all__ = ["Cluster", "open_cluster"]

_SECONDS = 30
_LINES = 3
_UNKNOWN, _MISSING, _TAKEN = 400, 404, 409
_RIGHTS = "docs/guides/builders.md has the rights that a builder's user needs"


@frozen
class Cluster:
    """A namespace of a cluster."""

    api: Any
    """The library's ApiClient."""
    namespace: str

    # --- what there is ---

    def workload(self, manifest: Manifest) -> Any | None:
        """Return the Deployment or StatefulSet as it is, None if there is none."""
        with self._told():
            return _ask(self._apps(manifest, "read"), *self._of(manifest), unless=_MISSING)

    def pods(self, manifest: Manifest) -> list[Any]:
        """Return the pods, by their names, those that are being ended left out."""
        with self._told():
            found = _ask(
                self._core.list_namespaced_pod, self.namespace, label_selector=manifest.selector
            )
        alive = [pod for pod in found.items if pod.metadata.deletion_timestamp is None]
        return sorted(alive, key=lambda pod: str(pod.metadata.name))

    def events(self, name: str) -> list[Any]:
        """Return what was noted about an object."""
        selector = f"involvedObject.name={name}"
        with self._told():
            found = _ask(self._core.list_namespaced_event, self.namespace, field_selector=selector)
        return list(found.items)

    def log(self, pod: str, container: str) -> bytes:
        """Return the last lines that a container has printed; of the one before it if that was started anew."""
        # As a text the library gives out how Python would write these bytes.
        read = partial(
            self._core.read_namespaced_pod_log,
            container=container,
            tail_lines=_LINES,
            _preload_content=False,
        )
        with self._told():
            found = _ask(partial(read, previous=True), pod, self.namespace, unless=_UNKNOWN)
            found = found or _ask(read, pod, self.namespace)
        return bytes(found.data)

    # --- what is done ---

    def create(self, manifest: Manifest) -> None:
        """Make all that a node is made of; settings that were left over are replaced."""
        create = self._core.create_namespaced_config_map
        replace = self._core.replace_namespaced_config_map
        with self._told():
            for each in manifest.settings:
                if _ask(create, self.namespace, each, unless=_TAKEN) is None:
                    _ask(replace, each.metadata.name, self.namespace, each)
            # Who has made it meanwhile has made the same.
            create = self._apps(manifest, "create")
            _ask(create, self.namespace, manifest.workload, unless=_TAKEN)

    def delete(self, manifest: Manifest, *, keeps_state: bool) -> None:
        """Remove all that a node is made of, as far as it is there."""
        with self._told():
            _ask(self._apps(manifest, "delete"), *self._of(manifest), unless=_MISSING)
            for each in manifest.settings:
                delete = self._core.delete_namespaced_config_map
                _ask(delete, each.metadata.name, self.namespace, unless=_MISSING)
            if manifest.keeps_state and not keeps_state:
                delete = self._core.delete_collection_namespaced_persistent_volume_claim
                _ask(delete, self.namespace, label_selector=manifest.selector)

    def run(self, pod: str, container: str, words: Sequence[str]) -> Any:
        """Start a program in a pod; returns the WebSocket that leads to it. An empty container is the pod's first."""
        # The library has the very client that is asked speak WebSocket meanwhile.
        core = client.CoreV1Api(client.ApiClient(self.api.configuration))
        named = {"container": container} if container else {}
        with self._told(f"to run {words[0]} in the pod {pod}"):
            found = stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                self.namespace,
                command=list(words),
                stdin=True,
                stdout=True,
                stderr=True,
                tty=False,
                binary=True,
                _preload_content=False,
                **named,
            )
        return found.sock

    # --- asking ---

    def _apps(self, manifest: Manifest, verb: str) -> Callable[..., Any]:
        """Return what does something with a Deployment or StatefulSet."""
        kind = "stateful_set" if manifest.keeps_state else "deployment"
        found: Callable[..., Any] = getattr(client.AppsV1Api(self.api), f"{verb}_namespaced_{kind}")
        return found

    @property
    def _core(self) -> Any:
        return client.CoreV1Api(self.api)

    def _of(self, manifest: Manifest) -> tuple[str, str]:
        return manifest.name, self.namespace

    @contextmanager
    def _told(self, what: str = "") -> Iterator[None]:
        """Turn what the library raises into our errors; `what` is what was asked for where the answer doesn't say it."""
        host = urlsplit(self.api.configuration.host).netloc
        try:
            yield
        except ApiException as error:
            raise _refusal(error, host, what) from error
        except AttributeError as error:
            # The library stumbles over answers that there aren't.
            if not isinstance(error.__context__, ApiException):
                raise
            raise _refusal(error.__context__, host, what) from error
        except urllib3.exceptions.HTTPError as error:
            raise _out_of_reach(host, error) from error
        except ValueError as error:
            # The library's own models refuse it.
            raise RemoteError(
                f"the cluster at {host} answers what its API doesn't have: {error}"
            ) from error


def open_cluster(settings: ClusterSettings, namespace: str = "") -> Cluster:
    """Return a namespace of a cluster, "" for the usual one."""
    api = client.ApiClient(settings.configuration)
    pools = api.rest_client.pool_manager.connection_pool_kw
    context = tolerate(create_urllib3_context(cert_reqs=pools["cert_reqs"]))
    if not settings.configuration.ssl_ca_cert:
        context.load_default_certs()
    pools["ssl_context"] = context
    return Cluster(api=api, namespace=namespace or settings.namespace)


def _ask(method: Callable[..., Any], *words: Any, unless: int = 0, **more: str) -> Any:
    """Ask; returns None for an answer with the status `unless`."""
    try:
        return method(*words, _request_timeout=_SECONDS, **more)
    except ApiException as error:
        if not unless or error.status != unless:
            raise
        return None


def _refusal(error: ApiException, host: str, what: str) -> PolyarchError:
    """Return our error for an answer, or for none, which the library tells in the same way."""
    status, said = error.status or 0, error.body
    cause = error.__context__
    if isinstance(cause, WebSocketBadStatusException):
        status, said = cause.status_code, cause.resp_body
    if not status:
        return _out_of_reach(host, cause or error)
    text = _message(said) or str(error.reason)
    asked = f", asked {what}" if what else ""
    if status == 401:
        return MachineError(
            f"the cluster at {host} doesn't know who asks: {text}",
            hint="log in to it, and look with: kubectl auth whoami",
        )
    if status == 403:
        return MachineError(f"the cluster at {host} forbids it{asked}: {text}", hint=_RIGHTS)
    return RemoteError(
        f"the cluster at {host}{asked}{',' if asked else ''} answers {status}: {text}",
        status=status,
        temporary=status >= 500,
    )


def _message(said: object) -> str:
    """Return the message of a Status, or the text that is there instead of one."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said or "")
    try:
        document = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:500]
    if not isinstance(document, dict):
        return ""
    # Who may not enter pods is told no reason after the colon.
    return str(document.get("message", "")).rstrip(": ")


def _out_of_reach(host: str, error: BaseException) -> RemoteError:
    return RemoteError(
        f"the cluster at {host} can't be reached: {_reason(error)}",
        hint="look whether it answers: kubectl cluster-info",
        temporary=True,
    )


def _reason(error: BaseException) -> str:
    """Return what is at the bottom of an error: what the system or OpenSSL said."""
    each: BaseException | None = error
    while each is not None:
        inner = each.args[0] if each.args and isinstance(each.args[0], BaseException) else None
        for found in (each, inner):
            if isinstance(found, ssl.SSLCertVerificationError):
                return f"its certificate isn't trusted: {found.verify_message}"
            if isinstance(found, OSError) and found.strerror:
                return found.strerror
        each = inner or each.__cause__ or each.__context__
    return str(error)
