"""The control API for synchronous callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import grpc

from echoplane.calls import Calls
from echoplane.channels import CONTROL_OPTIONS
from echoplane.errors import DeadlineError, UnavailableError
from echoplane.googleapis import operations_pb2, operations_pb2_grpc
from echoplane.names import model_name, rollout_name, version_name
from echoplane.operations import Completed, Patience, Progress, Watcher, read_completed
from echoplane.options import DEFAULT_ADDRESS, ClientOptions
from echoplane.v1 import diagnostics_pb2 as diagnostics
from echoplane.v1 import (
    diagnostics_pb2_grpc,
    keys_pb2_grpc,
    models_pb2_grpc,
    planning_pb2_grpc,
    plans_pb2,
    rollouts_pb2_grpc,
)
from echoplane.v1 import keys_pb2 as keys
from echoplane.v1 import models_pb2 as models
from echoplane.v1 import planning_pb2 as planning
from echoplane.v1 import rollouts_pb2 as rollouts
from echoplane.v1 import types_pb2 as types


class Client(Calls):
    """A client of the control API; thread-safe.

    Use it as a context manager, or close it.

    Every method raises ``EchoplaneError`` and takes ``timeout_s``, the longest time of the call in seconds, its retries included
    (default: ``ClientOptions.timeout_s``). Calls answered UNAVAILABLE are tried again; a ``request_id`` that is drawn once a call makes
    that safe for calls that change something.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        options: ClientOptions | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        super().__init__(options or ClientOptions())
        self._channel = channel or grpc.insecure_channel(address, CONTROL_OPTIONS)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)
        self._rollouts = rollouts_pb2_grpc.RolloutServiceStub(self._channel)
        self._planning = planning_pb2_grpc.PlanningServiceStub(self._channel)
        self._status = diagnostics_pb2_grpc.StatusServiceStub(self._channel)
        self._keys = keys_pb2_grpc.KeyServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every call and let go of the connection."""
        self._channel.close()

    # --- models ----------------------------------------------------------------------------------------------------

    def load_model(self, request: models.LoadModelRequest, timeout_s: float | None = None) -> operations_pb2.Operation:
        """Start to load a version; see ``wait``."""
        return self._call(self._models.LoadModel, request, timeout_s)

    def update_model(
        self, request: models.UpdateModelRequest, timeout_s: float | None = None
    ) -> operations_pb2.Operation:
        """Start to roll a version out.

        See ``wait``, which raises ``RolledBackError`` where it was rolled back.
        """
        return self._call(self._models.UpdateModel, request, timeout_s)

    def delete_model(
        self, name: str, *, force: bool = False, allow_missing: bool = False, timeout_s: float | None = None
    ) -> operations_pb2.Operation:
        """Start to drain and forget a model; ``force`` also during a rollout."""
        request = models.DeleteModelRequest(name=model_name(name), force=force, allow_missing=allow_missing)
        return self._call(self._models.DeleteModel, request, timeout_s)

    def get_model(self, name: str, timeout_s: float | None = None) -> models.Model:
        """Return one model."""
        return self._call(self._models.GetModel, models.GetModelRequest(name=model_name(name)), timeout_s)

    def list_models(self, timeout_s: float | None = None) -> Iterator[models.Model]:
        """Go through the models by name, page by page; ``timeout_s`` is for each page."""
        request = models.ListModelsRequest()
        for page in self._pages(self._models.ListModels, request, timeout_s):
            yield from page.models

    def configure_model(self, request: models.ConfigureModelRequest, timeout_s: float | None = None) -> models.Model:
        """Change labels, pins, tiers and concurrency; only what ``update_mask`` names."""
        return self._call(self._models.ConfigureModel, request, timeout_s)

    def get_version(self, name: str, timeout_s: float | None = None) -> models.ModelVersion:
        """Return one version, by ``MODEL/VERSION`` or full name."""
        request = models.GetModelVersionRequest(name=version_name(name))
        return self._call(self._models.GetModelVersion, request, timeout_s)

    def list_versions(self, model: str, timeout_s: float | None = None) -> Iterator[models.ModelVersion]:
        """Go through a model's versions, the latest first; ``timeout_s`` is for each page."""
        request = models.ListModelVersionsRequest(parent=model_name(model))
        for page in self._pages(self._models.ListModelVersions, request, timeout_s):
            yield from page.versions

    def delete_version(
        self, name: str, *, allow_missing: bool = False, timeout_s: float | None = None
    ) -> operations_pb2.Operation:
        """Start to drain and unload a version that has no traffic."""
        request = models.DeleteModelVersionRequest(name=version_name(name), allow_missing=allow_missing)
        return self._call(self._models.DeleteModelVersion, request, timeout_s)

    def set_version_tier(self, name: str, tier: types.Tier, timeout_s: float | None = None) -> operations_pb2.Operation:
        """Start to park or wake a version."""
        request = models.SetModelVersionTierRequest(name=version_name(name), tier=tier)
        return self._call(self._models.SetModelVersionTier, request, timeout_s)

    def check_health(self, model: str, timeout_s: float | None = None) -> models.ModelHealth:
        """Probe a model now with real inferences."""
        request = models.CheckModelHealthRequest(name=model_name(model))
        return self._call(self._models.CheckModelHealth, request, timeout_s)

    def get_health(self, model: str, timeout_s: float | None = None) -> models.ModelHealth:
        """Return a model's last known health."""
        request = models.GetModelHealthRequest(name=model_name(model))
        return self._call(self._models.GetModelHealth, request, timeout_s)

    # --- rollouts --------------------------------------------------------------------------------------------------

    def get_rollout(self, name: str, timeout_s: float | None = None) -> rollouts.Rollout:
        """Return one rollout with its history."""
        request = rollouts.GetRolloutRequest(name=rollout_name(name))
        return self._call(self._rollouts.GetRollout, request, timeout_s)

    def list_rollouts(self, model: str, timeout_s: float | None = None) -> Iterator[rollouts.Rollout]:
        """Go through a model's rollouts, the latest first; ``timeout_s`` is for each page."""
        request = rollouts.ListRolloutsRequest(parent=model_name(model))
        for page in self._pages(self._rollouts.ListRollouts, request, timeout_s):
            yield from page.rollouts

    def watch_rollout(self, name: str, timeout_s: float | None = None) -> Iterator[rollouts.Rollout]:
        """Follow a rollout until its outcome is known, across lost connections.

        ``timeout_s`` None: as long as it takes.
        """
        request = rollouts.WatchRolloutRequest(name=rollout_name(name))

        def again(last: rollouts.Rollout | None) -> rollouts.WatchRolloutRequest | None:
            return None if last is not None and last.outcome else request

        return self._stream(self._rollouts.WatchRollout, again, timeout_s)

    def pause_rollout(self, name: str, reason: str = "", timeout_s: float | None = None) -> rollouts.Rollout:
        """Stop going forward."""
        request = rollouts.PauseRolloutRequest(name=rollout_name(name), reason=reason)
        return self._call(self._rollouts.PauseRollout, request, timeout_s)

    def resume_rollout(self, name: str, reason: str = "", timeout_s: float | None = None) -> rollouts.Rollout:
        """Go on after a pause."""
        request = rollouts.ResumeRolloutRequest(name=rollout_name(name), reason=reason)
        return self._call(self._rollouts.ResumeRollout, request, timeout_s)

    def abort_rollout(self, name: str, reason: str = "", timeout_s: float | None = None) -> rollouts.Rollout:
        """Roll back; the answer is the rollout as it begins to, see ``watch_rollout``."""
        request = rollouts.AbortRolloutRequest(name=rollout_name(name), reason=reason)
        return self._call(self._rollouts.AbortRollout, request, timeout_s)

    def promote_rollout(
        self, name: str, reason: str, *, stage: int = 0, timeout_s: float | None = None
    ) -> rollouts.Rollout:
        """Leave the present stage without a verdict.

        ``stage`` refuses it where the rollout is in another one (0: no check).
        """
        request = rollouts.PromoteRolloutRequest(name=rollout_name(name), reason=reason, stage=stage)
        return self._call(self._rollouts.PromoteRollout, request, timeout_s)

    # --- planning --------------------------------------------------------------------------------------------------

    def plan_model(self, request: planning.PlanModelRequest, timeout_s: float | None = None) -> plans_pb2.Plan:
        """Plan a version; changes nothing."""
        return self._call(self._planning.PlanModel, request, timeout_s)

    def plan_models(
        self, requests: Iterable[planning.PlanModelRequest], timeout_s: float | None = None
    ) -> list[planning.PlanResult]:
        """Plan several versions, each as if those before it were placed."""
        request = planning.BatchPlanModelsRequest(requests=requests)
        return list(self._call(self._planning.BatchPlanModels, request, timeout_s).results)

    def list_devices(self, timeout_s: float | None = None) -> Iterator[planning.Device]:
        """Go through the devices; ``timeout_s`` is for each page."""
        request = planning.ListDevicesRequest()
        for page in self._pages(self._planning.ListDevices, request, timeout_s):
            yield from page.devices

    def get_reservoir(
        self, request: planning.GetReservoirParametersRequest, timeout_s: float | None = None
    ) -> plans_pb2.Reservoir:
        """Return the reservoir for a parameter count."""
        return self._call(self._planning.GetReservoirParameters, request, timeout_s)

    # --- status ----------------------------------------------------------------------------------------------------

    def get_status(self, timeout_s: float | None = None) -> diagnostics.GetStatusResponse:
        """Return how the control plane stands."""
        return self._call(self._status.GetStatus, diagnostics.GetStatusRequest(), timeout_s)

    def get_metrics(self, model: str = "", timeout_s: float | None = None) -> diagnostics.GetMetricsResponse:
        """Return counters and sizes, of one model or of all."""
        return self._call(self._status.GetMetrics, diagnostics.GetMetricsRequest(model=model), timeout_s)

    def get_usage(
        self, model: str = "", client: str = "", timeout_s: float | None = None
    ) -> diagnostics.GetUsageResponse:
        """Return what the gateway's callers used, of one model or client or of all."""
        request = diagnostics.GetUsageRequest(model=model, client=client)
        return self._call(self._status.GetUsage, request, timeout_s)

    def explain(self, name: str, timeout_s: float | None = None) -> diagnostics.ExplainResponse:
        """Return why a resource is as it is."""
        return self._call(self._status.Explain, diagnostics.ExplainRequest(name=name), timeout_s)

    def get_daemon_health(self, timeout_s: float | None = None) -> diagnostics.GetHealthResponse:
        """Return whether the control plane itself answers."""
        return self._call(self._status.GetHealth, diagnostics.GetHealthRequest(), timeout_s)

    def watch_events(
        self, model: str = "", *, resume_token: str = "", timeout_s: float | None = None
    ) -> Iterator[diagnostics.ModelEvent]:
        """Follow events; a connection that is lost is made again.

        From the first event on, or from ``resume_token`` on, none is lost by that. Until the first one comes without a token, those of
        the time between two connections are: the daemon tells from now on each time.

        Args:
            model: of this model alone; empty: of all.
            resume_token: of the last event seen; empty: from now on.
            timeout_s: longest time in seconds; None: as long as it is read.
        """
        first = diagnostics.WatchEventsRequest(model=model, resume_token=resume_token)

        def again(last: diagnostics.ModelEvent | None) -> diagnostics.WatchEventsRequest:
            return (
                first if last is None else diagnostics.WatchEventsRequest(model=model, resume_token=last.resume_token)
            )

        return self._stream(self._status.WatchEvents, again, timeout_s)

    # --- keys ------------------------------------------------------------------------------------------------------

    def create_key(self, request: keys.CreateKeyRequest, timeout_s: float | None = None) -> keys.CreateKeyResponse:
        """Make a key for a caller of the gateway.

        That is done on the daemon's unix socket alone (``unix:STATE_DIR/api.sock``), as all that is about keys.
        """
        return self._call(self._keys.CreateKey, request, timeout_s)

    def list_keys(self, timeout_s: float | None = None) -> Iterator[keys.Key]:
        """Go through the keys, the oldest first; ``timeout_s`` is for each page."""
        request = keys.ListKeysRequest()
        for page in self._pages(self._keys.ListKeys, request, timeout_s):
            yield from page.keys

    def revoke_key(self, name: str, timeout_s: float | None = None) -> keys.Key:
        """Revoke a key for good."""
        return self._call(self._keys.RevokeKey, keys.RevokeKeyRequest(name=name), timeout_s)

    # --- operations ------------------------------------------------------------------------------------------------

    def get_operation(self, name: str, timeout_s: float | None = None) -> operations_pb2.Operation:
        """Return an operation as it is now."""
        request = operations_pb2.GetOperationRequest(name=name)
        return self._call(self._operations.GetOperation, request, timeout_s)

    def cancel_operation(self, name: str, timeout_s: float | None = None) -> None:
        """Ask for an operation to be given up; an update is rolled back.

        It ends CANCELLED, see ``wait``; an update that was on its way back already ends for what turned it back.
        """
        request = operations_pb2.CancelOperationRequest(name=name)
        self._call(self._operations.CancelOperation, request, timeout_s)

    def wait(
        self,
        operation: operations_pb2.Operation,
        timeout_s: float | None = None,
        on_progress: Progress | None = None,
    ) -> Completed:
        """Wait until an operation ends, across restarts of the daemon.

        Args:
            operation: what a call returned.
            timeout_s: longest wait in seconds; None: as long as it takes.
            on_progress: called with the metadata, once for each change.

        Raises:
            RolledBackError: an update was rolled back.
            DeadlineError: the operation is still under way; it goes on.
            UnavailableError: the daemon was silent for longer than ``ClientOptions.reconnect_s``.
            EchoplaneError: the operation, or looking at it, failed.
        """
        watcher, patience = Watcher(on_progress), Patience(self._options, timeout_s)
        while True:
            watcher.see(operation)
            if operation.done:
                return read_completed(operation)
            self._options.sleep(patience.pause_s(operation))
            try:
                operation = self.get_operation(operation.name, patience.look_s())
                patience.on_answer()
            except (UnavailableError, DeadlineError) as error:
                self._options.sleep(patience.silence_s(operation, error))
