"""Plans for checkpoints: what one is, its memory, its devices, the alternatives.

This package is the allocator's Python face and the only importer of the native module. All functions block and release the interpreter
while Rust works; call them from a worker thread. Sizes are bytes, contexts are tokens.
"""

from echoplaned.core.fit import require_fit
from echoplaned.core.plan import EvictionCandidate
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning.batch import size_batch
from echoplaned.planning.calibration import CalibratedConstants, calibrate, explain
from echoplaned.planning.cards import CARDS, devices_of
from echoplaned.planning.devices import find_devices, host_device
from echoplaned.planning.fleet import FleetOption, fit_fleet
from echoplaned.planning.inspection import (
    DEFAULT_MAX_CONCURRENCY,
    Checkpoint,
    architectures,
    inspect_checkpoint,
    inspect_config,
    inspect_model,
    survey_model,
)
from echoplaned.planning.options import KvDtype, WeightFormat
from echoplaned.planning.plan import PlanRequest, place, plan_batch, plan_load, plan_offline
from echoplaned.planning.reservoir import plan_reservoir, size_class
from echoplaned.planning.sizing import SizedModel, find_fitting, size_model

__all__ = [
    "CARDS",
    "DEFAULT_MAX_CONCURRENCY",
    "CalibratedConstants",
    "Checkpoint",
    "EvictionCandidate",
    "FleetOption",
    "KvDtype",
    "PlanRequest",
    "ShapeRequest",
    "SizedModel",
    "WeightFormat",
    "architectures",
    "calibrate",
    "devices_of",
    "explain",
    "find_devices",
    "find_fitting",
    "fit_fleet",
    "host_device",
    "inspect_checkpoint",
    "inspect_config",
    "inspect_model",
    "place",
    "plan_batch",
    "plan_load",
    "plan_offline",
    "plan_reservoir",
    "require_fit",
    "size_batch",
    "size_class",
    "size_model",
    "survey_model",
]
