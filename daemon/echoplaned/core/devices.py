"""Measured device memory: shortages, and instances that wait for memory.

Devices are measured again and again. What others hold may break what was promised to instances, and keep new ones waiting.
"""

from __future__ import annotations

from collections.abc import Iterable

from echoplaned.core.events import DeviceMemoryMeasured, PlacementDelayed
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory, foreign_text
from echoplaned.core.names import version_name
from echoplaned.core.queries import find_instance, find_measured, reserved_bytes
from echoplaned.core.replacing import replace
from echoplaned.core.state import InstanceState, MemoryWait, Model, State
from echoplaned.core.transaction import Transaction


def on_sampled(transaction: Transaction, event: DeviceMemoryMeasured) -> None:
    """Keep what was measured of the devices, and follow from it.

    Promises that others broke are announced, and the planner is asked again for every instance that waits.
    """
    known = {device.device_id for device in transaction.state.devices}
    measured = tuple(one for one in event.devices if one.device_id in known)
    transaction.state = replace(transaction.state, measured=measured)
    _follow_shortage(transaction)
    for model in tuple(transaction.state.models.values()):
        if model.waits:
            waits = tuple(replace(one, looks=one.looks + 1) for one in model.waits if _is_pending(transaction, one))
            transaction.put_model(replace(model, waits=waits))


def on_delayed(transaction: Transaction, event: PlacementDelayed) -> None:
    """Let an instance wait for memory that is measured as taken.

    An answer is stale where a reservation has changed since the planner read it.
    """
    found = find_instance(transaction.state, event.instance)
    stale = event.reservation_epoch != transaction.state.reservation_epoch
    if found is None or found[2].state is not InstanceState.PENDING or stale:
        return transaction.count_stale()
    model = found[0]
    before = wait_of(model, event.instance)
    if before is None:
        wait = MemoryWait(event.instance, transaction.now_s, event.reason)
        subject = version_name(event.instance.version.model, event.instance.version.version)
        transaction.announce(subject, "instance.waits", f"{event.instance} waits: {event.reason}")
        model = transaction.model(model.model_id)
    else:
        wait = replace(before, reason=event.reason)
    others = tuple(one for one in model.waits if one.instance != event.instance)
    return transaction.put_model(replace(model, waits=(*others, wait)))


def end_wait(transaction: Transaction, instance: InstanceKey) -> None:
    """Drop an instance's wait for memory: it has its place, or is given up."""
    model = transaction.model(instance.version.model)
    if wait_of(model, instance) is not None:
        waits = tuple(one for one in model.waits if one.instance != instance)
        transaction.put_model(replace(model, waits=waits))


def wait_of(model: Model, instance: InstanceKey) -> MemoryWait | None:
    """Return what an instance waits for; None: it does not."""
    return next((one for one in model.waits if one.instance == instance), None)


def memory_alarms(state: State) -> tuple[str, ...]:
    """Return a sentence for every device that lacks what instances were promised.

    Others hold the memory there.
    """
    return tuple(_shortage_text(state, name) for name in state.short_devices if _missing_bytes(state, name))


def _is_pending(transaction: Transaction, wait: MemoryWait) -> bool:
    found = find_instance(transaction.state, wait.instance)
    return found is not None and found[2].state is InstanceState.PENDING


def _follow_shortage(transaction: Transaction) -> None:
    state = transaction.state
    before, now = state.short_devices, tuple(_short(state, state.measured))
    if before == now:
        return
    transaction.state = replace(state, short_devices=now)
    for device_id in now:
        if device_id not in before:
            text = _shortage_text(transaction.state, device_id)
            transaction.announce(f"devices/{device_id}", "device.short", text)
    for device_id in before:
        if device_id not in now:
            transaction.announce(f"devices/{device_id}", "device.settled", f"{device_id} has what was promised again")


def _short(state: State, measured: Iterable[MeasuredMemory]) -> Iterable[str]:
    for one in measured:
        reserved = reserved_bytes(state, one.device_id)
        if one.is_short(reserved, was_short=one.device_id in state.short_devices):
            yield one.device_id


def _missing_bytes(state: State, device_id: str) -> int:
    measured = find_measured(state, device_id)
    return 0 if measured is None else max(0, -measured.left_bytes(reserved_bytes(state, device_id)))


def _shortage_text(state: State, device_id: str) -> str:
    reserved, measured = reserved_bytes(state, device_id), find_measured(state, device_id)
    if measured is None:  # short devices are of the newest sample
        return f"{device_id} is not measured any more"
    missing = _missing_bytes(state, device_id)
    others = foreign_text(measured.foreign_bytes(reserved), measured.holders)
    return (
        f"{device_id}: {missing} of the {reserved} bytes that instances were promised are not free, as {others}:"
        " end what should not be there, or unload a version"
    )
