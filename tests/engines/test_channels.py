"""Channels to engines: one an address, and none to engines that have gone."""

from __future__ import annotations

import grpc

from echoplaned.engines.channels import IDLE_S, Channels


async def test_an_address_keeps_its_channel() -> None:
    """The same one is returned for every call, however long calls are apart as long as they come."""
    now_s = 0.0
    channels = Channels(clock=lambda: now_s)
    first = channels.to("127.0.0.1:1")
    for _ in range(4):
        now_s += 0.9 * IDLE_S
        assert channels.to("127.0.0.1:1") is first
    await channels.close()
    assert len(channels) == 0


async def test_a_channel_that_is_idle_is_closed() -> None:
    """Once another address is asked for; the one in use stays open."""
    now_s = 0.0
    channels = Channels(clock=lambda: now_s)
    gone = channels.to("127.0.0.1:1")
    now_s += 0.5 * IDLE_S
    stays = channels.to("127.0.0.1:2")
    now_s += 0.6 * IDLE_S
    channels.to("127.0.0.1:3")
    assert len(channels) == 2
    assert channels.to("127.0.0.1:2") is stays
    again = channels.to("127.0.0.1:1")
    assert again is not gone
    await channels.close()
    assert [each.get_state() for each in (gone, stays, again)] == [grpc.ChannelConnectivity.SHUTDOWN] * 3
