"""The composition: the only room that wires the daemon's parts together."""

from echoplaned.composition.clocks import steady_clock, wall_clock
from echoplaned.composition.daemon import Daemon, assemble
from echoplaned.composition.host import find_kinds

__all__ = ["Daemon", "assemble", "find_kinds", "steady_clock", "wall_clock"]
