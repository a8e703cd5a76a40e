"""Channels to engines: one an address, and none to engines that have gone."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from echoplaned.engines.channels import Channels

IDLE_S = 0.05


async def test_an_address_keeps_its_channel() -> None:
    """The same one is given for every call, however long calls are apart as long as they come."""
    channels = Channels(idle_s=IDLE_S)
    with channels.calling("127.0.0.1:1") as first:
        pass
    for _ in range(8):
        await asyncio.sleep(0.2 * IDLE_S)
        with channels.calling("127.0.0.1:1") as again:
            assert again.channel is first.channel
    await channels.close()
    assert len(channels) == 0


async def test_a_channel_that_is_idle_is_closed() -> None:
    """By itself; the one in use stays open."""
    channels = Channels(idle_s=IDLE_S)
    with channels.calling("127.0.0.1:1") as gone:
        pass
    with channels.calling("127.0.0.1:2") as stays:
        while len(channels) == 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * IDLE_S)
        assert gone.channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
        with channels.calling("127.0.0.1:2") as still:
            assert still.channel is stays.channel
    with channels.calling("127.0.0.1:1") as again:
        assert again.channel is not gone.channel
    await channels.close()
    assert [each.channel.get_state() for each in (stays, again)] == [grpc.ChannelConnectivity.SHUTDOWN] * 2


async def test_a_call_that_fails_ends() -> None:
    """Its channel is closed as any other."""
    channels = Channels(idle_s=IDLE_S)
    with pytest.raises(ConnectionError), channels.calling("127.0.0.1:1"):
        raise ConnectionError
    while len(channels):
        await asyncio.sleep(0.01)
    await channels.close()
