"""What is said of the gateway's state."""

from __future__ import annotations

import pytest

from echoplaned.ports.gateway import GatewayState, GatewayStatus


@pytest.mark.parametrize("state", list(GatewayState))
def test_only_one_that_should_serve_and_does_not_is_an_alarm(state: GatewayState) -> None:
    """A failure that is over alarms nobody; one that keeps callers away does, with the address and the reason."""
    alarm = GatewayStatus(state, "127.0.0.1:80", last_failure="bad flags").alarm
    assert bool(alarm) is (state in {GatewayState.STARTING, GatewayState.WAITING})
    if alarm:
        assert "127.0.0.1:80" in alarm
        assert "bad flags" in alarm
    assert not GatewayStatus(state).alarm
