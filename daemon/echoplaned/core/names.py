"""Resource names (AIP-122): how they are written, read and bounded.

This is the one place for it, and for the type that a name is of.

``models/{model}``, ``models/{model}/versions/{version}``, ``models/{model}/rollouts/{rollout}``, ``operations/{operation}`` and
``keys/{key}``. The light client has a grammar of its own for what people type (``MODEL/VERSION``), as it is installed without the daemon
and the core imports nothing; a test holds that both write the same names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from echoplaned.core.ids import VersionKey

MODEL_ID: Final = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A model's id: part of a DNS name, as clients dial it."""
CHILD_ID: Final = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
"""The id of a version or a rollout."""
OPERATION_ID: Final = r"[A-Za-z0-9._-]{1,64}"
KEY_ID: Final = r"[0-9a-z]{1,32}"


class ResourceKind(StrEnum):
    """The type of a resource, as errors name it: the full name of its message.

    That is ``google.rpc.ResourceInfo.resource_type``. The annotations of the protos (``google.api.resource``) name the same by API
    instead, as AIP-123 has it; both are public.
    """

    MODEL = "echoplane.v1.Model"
    VERSION = "echoplane.v1.ModelVersion"
    ROLLOUT = "echoplane.v1.Rollout"
    OPERATION = "google.longrunning.Operation"
    KEY = "echoplane.v1.Key"


_GRAMMAR: Final = re.compile(
    f"models/(?P<model>{MODEL_ID})(?:/versions/(?P<version>{CHILD_ID})|/rollouts/(?P<rollout>{CHILD_ID}))?"
    f"|operations/(?P<operation>{OPERATION_ID})"
    f"|keys/(?P<key>{KEY_ID})"
)


@dataclass(frozen=True, slots=True)
class ResourceName:
    """A resource name, taken apart.

    Attributes:
        kind: the type of the resource.
        model: the model's id; empty for an operation and a key.
        child: the id of the version, the rollout, the operation or the key; empty for a model.
    """

    kind: ResourceKind
    model: str = ""
    child: str = ""

    def __str__(self) -> str:
        match self.kind:
            case ResourceKind.MODEL:
                return model_name(self.model)
            case ResourceKind.VERSION:
                return version_name(self.model, self.child)
            case ResourceKind.ROLLOUT:
                return rollout_name(self.model, self.child)
            case ResourceKind.OPERATION:
                return operation_name(self.child)
            case ResourceKind.KEY:
                return gateway_key_name(self.child)


def parse(text: str) -> ResourceName | None:
    """Read a full resource name; None: it is none."""
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        return None
    if (operation := found["operation"]) is not None:
        return ResourceName(ResourceKind.OPERATION, child=operation)
    if (key := found["key"]) is not None:
        return ResourceName(ResourceKind.KEY, child=key)
    if (version := found["version"]) is not None:
        return ResourceName(ResourceKind.VERSION, found["model"], version)
    if (rollout := found["rollout"]) is not None:
        return ResourceName(ResourceKind.ROLLOUT, found["model"], rollout)
    return ResourceName(ResourceKind.MODEL, found["model"])


def model_name(model: str) -> str:
    """Return a model's full name."""
    return f"models/{model}"


def version_name(model: str, version: str) -> str:
    """Return a version's full name."""
    return f"models/{model}/versions/{version}"


def key_name(key: VersionKey) -> str:
    """Return a version's full name."""
    return version_name(key.model, key.version)


def rollout_name(model: str, rollout: str) -> str:
    """Return a rollout's full name."""
    return f"models/{model}/rollouts/{rollout}"


def operation_name(operation: str) -> str:
    """Return an operation's full name."""
    return f"operations/{operation}"


def gateway_key_name(key_id: str) -> str:
    """Return the full name of a key of the gateway's callers."""
    return f"keys/{key_id}"
