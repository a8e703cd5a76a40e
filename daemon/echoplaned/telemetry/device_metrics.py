"""Gauges of the devices: capacity, reserved memory and measured memory."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from echoplaned.core.queries import available_bytes, find_measured, reserved_bytes
from echoplaned.core.state import State

_GAUGES = (
    ("echoplane_device_capacity_bytes", "Memory of a device."),
    ("echoplane_device_reserved_bytes", "Memory that is reserved for instances."),
    ("echoplane_device_available_bytes", "Memory that a new instance may have."),
    ("echoplane_device_measured_free_bytes", "Memory that is free, as measured."),
    ("echoplane_device_own_bytes", "Memory that engines of this daemon hold, as measured."),
    ("echoplane_device_foreign_bytes", "Memory that other processes hold, as measured."),
)


def of_devices(state: State) -> Iterator[Metric]:
    """Yield the gauges of every device; what is not measured has no value."""
    capacity, reserved, available, free, own, foreign = families = [
        GaugeMetricFamily(name, text, labels=("device",)) for name, text in _GAUGES
    ]
    for device in state.devices:
        label, held = (device.device_id,), reserved_bytes(state, device.device_id)
        capacity.add_metric(label, device.capacity_bytes)
        reserved.add_metric(label, held)
        available.add_metric(label, max(0, available_bytes(state, device.device_id)))
        measured = find_measured(state, device.device_id)
        if measured is not None:
            free.add_metric(label, measured.free_bytes)
            own.add_metric(label, measured.taken_bytes(held))
            foreign.add_metric(label, measured.foreign_bytes(held))
    yield from families
