"""The counters of a worker."""

from __future__ import annotations

from echoplaned.worker_contract.inference.counters import RequestCounters
from echoplaned.worker_contract.inference.errors import Blame


def test_every_call_ends_exactly_once() -> None:
    """In flight goes down once a call, whatever is said about its end."""
    counters = RequestCounters(lambda: 5.0)
    with counters.begin() as call:
        assert counters.in_flight == 1
        call.succeed()
        call.fail(Blame.SERVER)
    assert (counters.arrivals, counters.ok, counters.server_errors, counters.in_flight) == (1, 1, 0, 0)


def test_an_unexplained_end_is_the_servers_fault() -> None:
    """A call that nobody ended counts as a server error; a client's mistake does not, nor does one for which there was no room."""
    counters = RequestCounters(lambda: 5.0)
    with counters.begin():
        pass
    with counters.begin() as call:
        call.fail(Blame.CLIENT)
    with counters.begin() as call:
        call.fail(Blame.LOAD)
    assert (counters.client_errors, counters.server_errors, counters.overloads) == (1, 1, 1)


def test_seconds_since_the_last_arrival() -> None:
    """Unknown before the first call, then measured from the newest."""
    now = [10.0]
    counters = RequestCounters(lambda: now[0])
    assert counters.seconds_since_last_arrival is None
    counters.begin().succeed()
    now[0] = 12.5
    assert counters.seconds_since_last_arrival == 2.5


def test_a_probe_is_counted_but_is_no_sign_of_a_client() -> None:
    """The daemon's probe counts as any call does, and no further one need be expected after it."""
    now = [10.0]
    counters = RequestCounters(lambda: now[0])
    with counters.begin(probe=True) as call:
        assert counters.in_flight == 1
        call.succeed()
    assert (counters.arrivals, counters.ok, counters.in_flight) == (1, 1, 0)
    assert counters.seconds_since_last_arrival is None
    counters.begin().succeed()
    now[0] = 13.0
    counters.begin(probe=True).succeed()
    assert counters.seconds_since_last_arrival == 3.0
