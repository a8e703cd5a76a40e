"""What a caller through the gateway may do.

It is decided on the decoded request, never on the path. The gateway says by which key a request came; a key's role and models are looked
up here, so that a change is in force at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from echoplane.googleapis import operations_pb2
from echoplane.v1 import diagnostics_pb2
from echoplaned.core import names
from echoplaned.core.door_headers import CLIENT_HEADER
from echoplaned.core.errors import AliasExistsError, CallerNotAllowedError, CallerUnknownError, OperationNotFoundError
from echoplaned.core.names import model_name
from echoplaned.core.state import State
from echoplaned.ports.keys import FindCaller, GatewayCaller, Role
from echoplaned.rpc.names import parse_operation
from echoplaned.rpc.peer import set_peer
from echoplaned.rpc.principal import set_principal, set_scope
from echoplaned.rpc.rest.context import GatewayContext
from echoplaned.rpc.rest.routes import Route

_WITHOUT_KEY: Final = (
    "without a key the gateway takes inference and reads only: make a key with `echoplane key create --role operator` and send it as"
    " `authorization: Bearer`, or call the daemon's unix socket"
)
OPEN_METHODS: Final = frozenset({"GetHealth"})
"""Methods that ask nobody who calls: whoever watches over a service has no key."""

_LISTS: Final[Mapping[type[Message], tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        diagnostics_pb2.GetStatusResponse: (("models", "name"), ("active_rollouts", "name")),
        diagnostics_pb2.GetMetricsResponse: (("versions", "version"),),
    }
)
"""Answers without pages that have something of every model: the repeated fields, and the field of each entry that says whose it is."""


class Authorising:
    """Says what callers may do.

    Args:
        find_caller: knows the keys.
        state: returns the state, in which an operation's model is looked up.
        scoped_models: returns the ids of models that keys are for.
    """

    def __init__(
        self,
        find_caller: FindCaller,
        state: Callable[[], State],
        scoped_models: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._find_caller = find_caller
        self._state = state
        self._scoped_models = scoped_models

    def caller(self, context: GatewayContext, needed: Role, name: str) -> GatewayCaller | None:
        """Return who calls, with the role that is needed; None: it asks nobody.

        Raises:
            CallerUnknownError: nobody does, as far as is known by now.
            CallerNotAllowedError: it has not the role.
        """
        if name in OPEN_METHODS:
            return None
        caller = self._find_caller(context.metadata(CLIENT_HEADER))
        if caller is None:
            raise CallerUnknownError("the key that this came with does not work any more")
        set_principal(caller.principal)
        set_scope(caller.models)
        set_peer(context.peer())
        structlog.contextvars.bind_contextvars(principal=caller.principal)
        if not caller.role.covers(needed):
            if caller.is_anonymous:
                raise CallerNotAllowedError(_WITHOUT_KEY)
            raise CallerNotAllowedError(
                f"{caller.principal} has the role {caller.role.lower()}, and {name} needs {needed.lower()}"
            )
        return caller

    def check(self, route: Route, request: Message, caller: GatewayCaller | None) -> None:
        """Check that a request is about the caller's models.

        Raises:
            CallerNotAllowedError: it is about another one.
            OperationNotFoundError: it is about an operation on another one, which is told as one that is not there.
        """
        if caller is None or not caller.models:
            return
        if isinstance(request, _OF_OPERATIONS):
            self._check_operation(parse_operation(request.name), caller)
            return
        for model in self._models_of(request):
            if not caller.may_see(model):
                raise CallerNotAllowedError(
                    f"{caller.principal} is not for {model_name(model)}, so not for {route.method}"
                )
        self._check_aliases(getattr(request, "aliases", ()), caller)

    def _check_aliases(self, aliases: Iterable[str], caller: GatewayCaller) -> None:
        # Requests by that id would reach the caller's model, and the model that the id is kept for could not be loaded.
        for alias in aliases:
            if not caller.may_see(alias) and alias in self._scoped_models():
                raise CallerNotAllowedError(
                    f"{caller.principal} is not for {model_name(alias)}, so it cannot give that name to another model"
                )

    def _check_operation(self, operation_id: str, caller: GatewayCaller) -> None:
        # Said here for both, so that neither the words nor the way through the daemon tells them apart.
        operation = self._state().operations.get(operation_id)
        if operation is None or not caller.may_see(operation.model):
            raise OperationNotFoundError(names.operation_name(operation_id))

    @contextmanager
    def hiding_owners(self, caller: GatewayCaller | None) -> Iterator[None]:
        """Leave out of an error whose a name is, where it is of no model of the caller's.

        Raises:
            AliasExistsError: the one that came, or one without the owner.
        """
        try:
            yield
        except AliasExistsError as error:
            if caller is None or self._is_of(error.owner, caller):
                raise
            raise error.without_owner() from None

    def narrow(self, answer: Message, caller: GatewayCaller | None) -> Message:
        """Return an answer without what it says of models that are not the caller's."""
        if caller is None or not caller.models:
            return answer
        narrowed = type(answer)()
        narrowed.CopyFrom(answer)
        for field, name in _LISTS.get(type(narrowed), ()):
            self._keep(getattr(narrowed, field), name, caller)
        if isinstance(narrowed, diagnostics_pb2.GetStatusResponse):
            self._keep(narrowed.open_operations, "", caller)
            del narrowed.alarms[:]  # sentences, which name whatever they are about
        return narrowed

    def may_see_event(self, message: Message, caller: GatewayCaller | None) -> bool:
        """Return whether an event is of the caller's models, or of none."""
        if caller is None or not caller.models:
            return True
        return self._is_of(str(getattr(message, "subject", "")), caller)

    def _keep(self, items: Any, field: str, caller: GatewayCaller) -> None:  # noqa: ANN401 - a repeated field has no public type
        """Leave in a list what is of the caller's models.

        ``field``: the field of each entry with its name; empty: each entry is one.
        """
        kept = [each for each in items if self._is_of(getattr(each, field) if field else each, caller)]
        del items[:]
        items.extend(kept)

    def _models_of(self, request: Message) -> Iterator[str]:
        """Yield the models that a request names, in whatever field it does."""
        for field in ("model_id", "name", "parent", "model"):
            text = getattr(request, field, "")
            if text:
                model = self._model_of(text if names.parse(text) else model_name(text))
                if model:
                    yield model

    def _is_of(self, name: str, caller: GatewayCaller) -> bool:
        """Return whether a resource is of the caller's models, or has no name."""
        return not name or caller.may_see(self._model_of(name))

    def _model_of(self, name: str) -> str:
        """Return the model that a resource belongs to; empty: none that is known."""
        found = names.parse(name)
        if found is None or found.model:
            return found.model if found is not None else ""
        operation = self._state().operations.get(found.child)
        return operation.model if operation is not None else ""


_OF_OPERATIONS: Final = (
    operations_pb2.GetOperationRequest,
    operations_pb2.CancelOperationRequest,
    operations_pb2.DeleteOperationRequest,
)
