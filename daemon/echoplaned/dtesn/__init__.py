"""The deep tree echo state network as a library.

It has trees, a reservoir, readouts, sample tests, B-series and P systems.

Everything is computed in Rust, with the interpreter released, and is deterministic: the same seed and the same inputs give
the same values on every machine. Arrays are NumPy's; float32, C-contiguous arrays are read and written without a copy.

A first look::

    from echoplaned.dtesn import EchoStateRegressor

    model = EchoStateRegressor(leak=1.0, seed=1)
    model.fit(inputs, targets)          # (steps, inputs), (steps, outputs)
    predictions = model.predict(more)   # (steps, outputs)

Every error is a `DtesnError`, which is a `ValueError`.
"""

from echoplaned.dtesn.bseries import METHODS, RootedTree, Series, SeriesCache, Surd, Tableau
from echoplaned.dtesn.discrepancy import Discrepancy, NullPlan, mmd
from echoplaned.dtesn.errors import DtesnError
from echoplaned.dtesn.estimator import EchoStateRegressor
from echoplaned.dtesn.psystem import Alarms, Applied, Configuration, Event, HealthAlgebra, MembraneState, System
from echoplaned.dtesn.readout import RecursiveLeastSquares, Ridge
from echoplaned.dtesn.reservoir import SIZE_CLASSES, ReservoirSettings, Streams, TreeReservoir, givens_layers

__all__ = [
    "METHODS",
    "SIZE_CLASSES",
    "Alarms",
    "Applied",
    "Configuration",
    "Discrepancy",
    "DtesnError",
    "EchoStateRegressor",
    "Event",
    "HealthAlgebra",
    "MembraneState",
    "NullPlan",
    "RecursiveLeastSquares",
    "ReservoirSettings",
    "Ridge",
    "RootedTree",
    "Series",
    "SeriesCache",
    "Streams",
    "Surd",
    "System",
    "Tableau",
    "TreeReservoir",
    "givens_layers",
    "mmd",
]
