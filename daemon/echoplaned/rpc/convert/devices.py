"""Devices and what is reserved on them."""

from __future__ import annotations

from echoplane.v1 import diagnostics_pb2, planning_pb2
from echoplaned.core.names import key_name
from echoplaned.core.plan import Device
from echoplaned.core.queries import available_bytes, find_measured, free_bytes, reserved_bytes
from echoplaned.core.state import State
from echoplaned.rpc.convert.common import DEVICE_KIND_TO_PB
from echoplaned.rpc.convert.plans import holders_to_pb


def device_to_pb(device: Device, state: State) -> planning_pb2.Device:
    """Return a device with every reservation on it."""
    return planning_pb2.Device(
        device_id=device.device_id,
        kind=DEVICE_KIND_TO_PB.get(device.kind, planning_pb2.DEVICE_KIND_UNSPECIFIED),
        name=device.name,
        capacity_bytes=device.capacity_bytes,
        reserve_bytes=device.reserve_bytes,
        reserved_bytes=reserved_bytes(state, device.device_id),
        free_bytes=max(0, free_bytes(state, device.device_id)),
        available_bytes=max(0, available_bytes(state, device.device_id)),
        measured=_measured_to_pb(device, state),
        reservations=[
            planning_pb2.Reservation(
                version=key_name(version.key),
                ordinal=instance.key.ordinal,
                bytes=instance.placement.bytes_on(device.device_id),
            )
            for _, model in sorted(state.models.items())
            for _, version in sorted(model.versions.items())
            for instance in version.instances
            if instance.placement is not None and instance.placement.bytes_on(device.device_id)
        ],
    )


def _measured_to_pb(device: Device, state: State) -> planning_pb2.DeviceMemory | None:
    measured, reserved = find_measured(state, device.device_id), reserved_bytes(state, device.device_id)
    if measured is None:
        return None
    return planning_pb2.DeviceMemory(
        total_bytes=measured.total_bytes,
        free_bytes=measured.free_bytes,
        own_bytes=measured.taken_bytes(reserved),
        foreign_bytes=measured.foreign_bytes(reserved),
        holders=holders_to_pb(measured.holders),
    )


def device_summary(device: Device, state: State) -> diagnostics_pb2.DeviceSummary:
    """Return a device in one line."""
    measured, reserved = find_measured(state, device.device_id), reserved_bytes(state, device.device_id)
    return diagnostics_pb2.DeviceSummary(
        device_id=device.device_id,
        capacity_bytes=device.capacity_bytes,
        reserved_bytes=reserved,
        free_bytes=max(0, free_bytes(state, device.device_id)),
        available_bytes=max(0, available_bytes(state, device.device_id)),
        foreign_bytes=0 if measured is None else measured.foreign_bytes(reserved),
    )
