"""Becomes Envoy, without a parent that could take it along at its end.

It is the process between the daemon and Envoy.


Envoy asks the kernel for SIGTERM when its parent ends. So this process forks, ends, and its child waits until it has another parent, and
only then becomes Envoy. Standard library only, and run by its path: it starts in some 20 ms.

Arguments: record file, record without its process as JSON, file for what Envoy prints, then Envoy's command line.
"""

import fcntl
import json
import os
import sys
import time

_WAIT_S = 0.002
_CLAIM_S = 2.0


def main(arguments: list[str]) -> int:
    """Fork and end; the child becomes Envoy."""
    record, content, output, *command = arguments
    parent = os.getpid()
    if os.fork():
        return 0
    os.setsid()
    _redirect(output)
    while os.getppid() == parent:
        time.sleep(_WAIT_S)
    if not _claim(record, content):
        return 1
    os.execv(command[0], command)  # noqa: S606 - no shell: an argument list
    return 1


def _claim(path: str, content: str) -> bool:
    """Lock the record and write this process's identity; exec keeps the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    ends_at = time.monotonic() + _CLAIM_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # Whoever looks who lives has it for a moment, the daemon that waits for this record among them; an Envoy keeps it.
            if time.monotonic() > ends_at:
                return False
            time.sleep(_WAIT_S)
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib would triple the start
        start_ticks = int(file.read().rpartition(")")[2].split()[19])
    full = {**json.loads(content), "pid": os.getpid(), "start_ticks": start_ticks}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(full, sort_keys=True).encode(), 0)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
    return True


def _redirect(output: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
