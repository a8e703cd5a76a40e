"""The allocator's Python face: what a checkpoint is, how much memory it needs, where it goes, and what would fit instead.

The only importer of the native module. All functions block and release the interpreter while Rust works; call them from
a worker thread. Sizes are bytes, contexts are tokens.
"""

from echoplaned.core.plan import Victim
from echoplaned.planning.batch import size_batch
from echoplaned.planning.calibration import Calibrated, calibrate, explain
from echoplaned.planning.devices import find_devices, host_device
from echoplaned.planning.inspection import (
    Checkpoint,
    architectures,
    inspect_checkpoint,
    inspect_config,
    inspect_model,
    survey_model,
)
from echoplaned.planning.options import EngineOptions, KvDtype, WeightFormat, options_of
from echoplaned.planning.plan import PlanRequest, place, plan_batch, plan_load, plan_offline, require_fit
from echoplaned.planning.reservoir import plan_reservoir, size_class
from echoplaned.planning.sizing import DEFAULT_MAX_CONCURRENCY, SizedModel, fitting, size_model

__all__ = [
    "DEFAULT_MAX_CONCURRENCY",
    "Calibrated",
    "Checkpoint",
    "EngineOptions",
    "KvDtype",
    "PlanRequest",
    "SizedModel",
    "Victim",
    "WeightFormat",
    "architectures",
    "calibrate",
    "explain",
    "find_devices",
    "fitting",
    "host_device",
    "inspect_checkpoint",
    "inspect_config",
    "inspect_model",
    "options_of",
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
