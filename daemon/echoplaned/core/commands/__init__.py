"""What callers may ask for.

A command is checked whole before anything changes; one that is refused raises and changes nothing.
"""

from __future__ import annotations

from echoplaned.core.commands.model import ConfigureModel, DeleteModel
from echoplaned.core.commands.operation import CancelOperation, DeleteOperation
from echoplaned.core.commands.order import VersionOrder
from echoplaned.core.commands.request import Request
from echoplaned.core.commands.rollout import AbortRollout, PauseRollout, PromoteRollout, ResumeRollout
from echoplaned.core.commands.update import UpdateModel
from echoplaned.core.commands.version import DeleteVersion, LoadVersion

Command = (
    LoadVersion
    | UpdateModel
    | DeleteModel
    | DeleteVersion
    | ConfigureModel
    | PauseRollout
    | ResumeRollout
    | AbortRollout
    | PromoteRollout
    | CancelOperation
    | DeleteOperation
)

__all__ = [
    "AbortRollout",
    "CancelOperation",
    "Command",
    "ConfigureModel",
    "DeleteModel",
    "DeleteOperation",
    "DeleteVersion",
    "LoadVersion",
    "PauseRollout",
    "PromoteRollout",
    "Request",
    "ResumeRollout",
    "UpdateModel",
    "VersionOrder",
]
