"""The one form of request counts, from the load report to the verdict."""

from __future__ import annotations

from echoplaned.ports.request_counts import CountedBy, RequestCounts


def test_counts_add_up_field_by_field() -> None:
    """The origin is that of what is added, so that a sum that begins at nothing says who counted."""
    first = RequestCounts(5, 1, 2, 9, 1, origin=CountedBy.LRS)
    total = RequestCounts() + first + RequestCounts(1, 1, 1, 3, 2, origin=CountedBy.LRS)
    assert total == RequestCounts(6, 2, 3, 12, 3, origin=CountedBy.LRS)
    assert (total.requests, total.errors, total.seen) == (11, 5, 12)
    assert total.at_rest().in_flight == 0


def test_what_came_since_is_never_negative() -> None:
    """A source that began again at 0 counts as nothing; what is under way is as it is now."""
    before = RequestCounts(10, 0, 5, 20, 3, (4, 6))
    assert RequestCounts(3, 0, 5, 9, 1, (4, 1)).since(before) == RequestCounts(
        in_flight=1, latency_bucket_counts=(0, 0)
    )
    assert RequestCounts(12, 1, 5, 22, 4, (5, 8)).since(before) == RequestCounts(2, 1, 0, 2, 4, (1, 2))


def test_latency_buckets_have_room_and_need_none() -> None:
    """Empty is not counted: it adds nothing; buckets of other bounds cannot be added and are not made up."""
    counted = RequestCounts(ok=3, latency_bucket_counts=(1, 2))
    assert (counted + counted).latency_bucket_counts == (2, 4)
    assert (RequestCounts() + counted).latency_bucket_counts == (1, 2)
    assert (counted + RequestCounts(ok=1, latency_bucket_counts=(1, 1, 1))).latency_bucket_counts == ()
    assert counted.since(RequestCounts(ok=1)).latency_bucket_counts == (1, 2)
