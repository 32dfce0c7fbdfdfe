"""How connections between processes are made, and how they notice that the other end is gone."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import grpc

from headwater_server.runtime.security import channel_credentials
from headwater_server.runtime.settings import Settings

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""How large a message may be that answers a request; on both sides."""
GIVE_UP_FACTOR = 1.8
"""How many times as long as it may be silent a peer has to answer when it is asked whether it is alive."""
_FOR_EVER_MS = 2**31 - 1


def keepalive_options(seconds: float) -> tuple[tuple[str, int], ...]:
    """Options that make one end of a connection notice that the other is frozen, or gone without a word.

    While calls are under way, a peer that has been silent for `seconds` is asked whether it is alive. One that does not
    answer for another 1.8 times as long is given up, so within three seconds at the default of one. A connection
    without calls is left in peace.
    """
    waiting = round(seconds * GIVE_UP_FACTOR * 1000)
    return (
        ("grpc.keepalive_time_ms", round(seconds * 1000)),
        ("grpc.keepalive_timeout_ms", waiting),
        ("grpc.http2.ping_timeout_ms", waiting),  # without it gRPC waits a minute all the same
        ("grpc.http2.max_pings_without_data", 0),  # an answer may be silent for longer than two pings
        ("grpc.keepalive_permit_without_calls", 0),
    )


def connect(settings: Settings, target: str, service: str) -> grpc.aio.Channel:
    """A channel to another of our services, at all the addresses of `target`.

    Calls go in turn to those processes whose health says that they serve `service`, the full name of a gRPC service.
    The health is watched for as long as the channel is open, so a frozen process is noticed before it is called.

    Raises:
        SettingsError: A certificate cannot be read, or does not hold what it should.
    """
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": service}}
    options: tuple[tuple[str, int | str], ...] = (
        *keepalive_options(settings.keepalive),
        ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
        # A service that was started again is found again within seconds; gRPC's own waits grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.client_idle_timeout_ms", _FOR_EVER_MS),
        ("grpc.enable_http_proxy", 0),  # the services are neighbours
        ("grpc.service_config", json.dumps(config)),
    )
    credentials = channel_credentials(settings.tls)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)


async def reached(channel: grpc.aio.Channel) -> None:
    """Returns once somebody serves at the other end. The caller bounds the wait."""
    while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)


async def follow(channel: grpc.aio.Channel, changed: Callable[[bool], Awaitable[None]]) -> None:
    """Tells whether somebody serves at the other end: at once, and at each change; runs until it is cancelled."""
    told: bool | None = None
    while True:
        state = channel.get_state(try_to_connect=True)
        reachable = _REACHABLE.get(state, told or False)
        if reachable != told:
            told = reachable
            await changed(reachable)
        await channel.wait_for_state_change(state)


_REACHABLE = {
    grpc.ChannelConnectivity.READY: True,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE: False,
    grpc.ChannelConnectivity.SHUTDOWN: False,
}
"""What the states of a channel say of its other end; the others say nothing new."""
