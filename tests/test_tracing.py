"""What the walks are counted with: a name and a number are followed through functions of the daemon, and nothing else is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks.tracing import Walk, watching
from benchmarks.walks import judges
from echoplaned.core.commands.request import Request
from echoplaned.core.commands.version import LoadVersion
from echoplaned.core.facts import Dtype
from echoplaned.core.ids import InstanceKey
from echoplaned.core.spec import ServingShape, request_of
from echoplaned.testing import builders

NUMBER = 509
SHAPE = ServingShape(Dtype.FP32, NUMBER, 8, "torch")


def test_a_number_is_followed_from_type_to_type() -> None:
    """A conversion is on the path with both of its types; what has another number is not."""
    seen = Walk("nobody", NUMBER)
    with watching(), seen.followed():
        request_of(SHAPE)
        InstanceKey.parse("other/v1#0")
    request_of(SHAPE)
    assert list(seen.files) == ["core/spec.py"]
    assert list(seen.forms) == list(seen.copies) == ["ServingShape", "ShapeRequest"]


def test_what_holds_it_inside_is_a_form_and_no_copy() -> None:
    """A type that is handed on with another inside is met on the path, but the number was not copied into it."""
    order = builders.order()
    order = replace(order, spec=replace(order.spec, shape=SHAPE))
    seen = Walk("nobody", NUMBER)
    with watching(), seen.followed():
        builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), order))
    assert "core/step.py" in seen.files
    assert {"LoadVersion", "VersionOrder"} <= set(seen.forms)
    assert set(seen.copies) == {"ServingShape"}


def test_a_name_is_followed_on_other_threads_and_is_no_form() -> None:
    """Threads that begin within the block are followed as well; files are noted, types are not."""
    seen = Walk("walked", NUMBER)
    with watching(), seen.followed():
        thread = threading.Thread(target=InstanceKey.parse, args=("walked/v1#0",))
        thread.start()
        thread.join()
    assert list(seen.files) == ["core/ids.py"]
    assert not seen.forms


def test_a_thread_that_was_there_before_the_walk_is_followed() -> None:
    """A pool's thread lives longer than a walk: it is enough that it was started while its calls are watched."""
    seen = Walk("walked", NUMBER)
    with watching(), ThreadPoolExecutor(1) as pool:
        pool.submit(InstanceKey.parse, "walked/v1#0").result()
        assert not seen.files
        with seen.followed():
            pool.submit(InstanceKey.parse, "walked/v1#0").result()
    assert list(seen.files) == ["core/ids.py"]


@pytest.mark.long
def test_judge_is_the_name_of_one_thing() -> None:
    """Beside the gates' own methods at most one function is called so."""
    assert judges() <= 1
