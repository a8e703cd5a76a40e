"""Another user of the machine and the control of a worker: it finds the port, and gets nothing but answers to inference."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from echoplane.v1 import types_pb2
from echoplaned.worker_contract.record import read_records, records_dir
from tests.e2e import e2e_system as e
from tests.hostile.attack import serving_record

_NOBODY: Final = 65534

# Run as the other user, which it becomes when it has read its code: the checkout may be closed to that one.
# It has the address, which is no secret, and says how each call ended.
_ATTACK: Final = """
import os
import sys
import grpc
from echoplane.inference import grpc_service_pb2 as oip, grpc_service_pb2_grpc as oip_grpc
from echoplane.worker.v1 import worker_pb2, worker_pb2_grpc

channel = grpc.insecure_channel(sys.argv[1])
control, infer = worker_pb2_grpc.WorkerServiceStub(channel), oip_grpc.GRPCInferenceServiceStub(channel)
costly = oip.ModelInferRequest(model_name="held")
costly.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
costly.parameters["requantised"].bool_param = True
calls = {
    "Shutdown": lambda: control.Shutdown(worker_pb2.ShutdownRequest(), timeout=20),
    "Drain": lambda: control.Drain(worker_pb2.DrainRequest(generation=1), timeout=20),
    "Load": lambda: control.Load(worker_pb2.LoadRequest(), timeout=20),
    "Watch": lambda: next(control.Watch(worker_pb2.WatchRequest(), timeout=20)),
    "WatchTraces": lambda: next(control.WatchTraces(worker_pb2.WatchTracesRequest(fraction=1), timeout=20)),
    "ModelInfer": lambda: infer.ModelInfer(costly, timeout=20),
}
if user := int(sys.argv[2]):
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
for name, call in calls.items():
    try:
        call()
        print(name, "OK")
    except grpc.RpcError as error:
        print(name, error.code().name)
"""


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")


@pytest.mark.timeout(300)
def test_another_user_controls_no_worker(system: e.System) -> None:
    """Nothing of the record, the environment or the state directory can be read, every order is refused, the worker serves on."""
    system.load("held")
    record = serving_record(system.daemon.state_dir)
    path = records_dir(system.daemon.state_dir) / f"{record.worker_id}.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    if os.geteuid() == 0:
        # The file by its own mode: the directories above it are no part of the promise.
        with path.open("rb") as file:
            opened = as_nobody("cat", f"/proc/{os.getpid()}/fd/{file.fileno()}")
        for found in (opened, as_nobody("cat", str(path)), as_nobody("cat", f"/proc/{record.pid}/environ")):
            assert found.returncode != 0
            assert record.control_key not in found.stdout
    user = _NOBODY if os.geteuid() == 0 else 0
    words = (sys.executable, "-c", _ATTACK, record.address, str(user))
    attack = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert attack.returncode == 0, attack.stderr
    assert dict(line.split() for line in attack.stdout.splitlines()) == {
        "Shutdown": "UNAUTHENTICATED",
        "Drain": "UNAUTHENTICATED",
        "Load": "UNAUTHENTICATED",
        "Watch": "UNAUTHENTICATED",
        "WatchTraces": "UNAUTHENTICATED",
        "ModelInfer": "PERMISSION_DENIED",
    }
    # The same process in the same state, and the daemon leads it: its probes are answered, and it ends it.
    assert serving_record(system.daemon.state_dir) == record
    assert system.client.check_health("held").state == types_pb2.HEALTH_STATE_SERVING
    system.delete("held")
    assert not [one for one in read_records(system.daemon.state_dir) if one.instance]
