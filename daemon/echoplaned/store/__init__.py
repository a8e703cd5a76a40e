"""Where the state outlives the process: a database, through SQLAlchemy.

It lies in a directory that one daemon holds at a time.
"""

from echoplaned.store.directory import StateDirLock, prepare_state_dir
from echoplaned.store.errors import StateDirError, StateDirLockedError, StoreCorruptError
from echoplaned.store.keys import SqlKeys
from echoplaned.store.store import SqlStore

__all__ = [
    "SqlKeys",
    "SqlStore",
    "StateDirError",
    "StateDirLock",
    "StateDirLockedError",
    "StoreCorruptError",
    "prepare_state_dir",
]
