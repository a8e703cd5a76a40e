"""Refuses to start on an empty database while engines serve.

More likely the database was lost than that they belong to nobody.
"""

from __future__ import annotations

from pathlib import Path

from echoplaned.engine_kinds import KINDS, EngineKind
from echoplaned.engines.inventory import FoundLeader, scan


class UnownedEnginesError(Exception):
    """Engines serve that the database, which is empty, does not know.

    ``leaders``: who leads them.
    """

    def __init__(self, state_dir: Path, leaders: tuple[FoundLeader, ...]) -> None:
        named = ", ".join(_name(leader) for leader in leaders)
        super().__init__(
            f"the database in {str(state_dir)!r} is empty, but workers of this state directory serve: {named}. "
            "Put the database back; or start with --sweep-unowned, which ends them"
        )
        self.leaders = leaders


def refuse_unowned(state_dir: Path, kinds: tuple[EngineKind, ...] = KINDS) -> None:
    """Make sure that no engine of a state directory serves an instance.

    Changes nothing. Blocking.

    Raises:
        UnownedEnginesError: some do.
    """
    leaders = tuple(leader for leader in scan(state_dir, kinds) if not leader.is_standby)
    if leaders:
        raise UnownedEnginesError(state_dir, leaders)


def _name(leader: FoundLeader) -> str:
    instance = leader.record.instance if leader.record is not None else ""
    return f"{leader.worker_id} (process {leader.pid}, {instance or 'no instance'})"
