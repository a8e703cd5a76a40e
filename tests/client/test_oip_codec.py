"""Contents of tensors in the Open Inference Protocol."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.oip_codec import RAW_FORMATS, TYPED_FIELDS, ContentsError, join_bytes, split_bytes, split_numbers

NUMPY = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64"}


@given(elements=st.lists(st.binary(max_size=40), max_size=8))
def test_bytes_come_back(elements: list[bytes]) -> None:
    """What was joined is split into the same elements, whether their number is known or not."""
    raw = join_bytes(elements)
    assert split_bytes(raw) == elements
    assert split_bytes(raw, len(elements)) == elements


@given(elements=st.lists(st.binary(max_size=40), min_size=1, max_size=8), cut=st.integers(min_value=1))
def test_a_cut_is_seen(elements: list[bytes], cut: int) -> None:
    """Contents that end early never pass for whole ones."""
    raw = join_bytes(elements)
    with pytest.raises(ContentsError):
        split_bytes(raw[: -(1 + cut % len(raw))], len(elements))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_elements_is_refused(count: int) -> None:
    """Two elements are neither none, nor one, nor three."""
    with pytest.raises(ContentsError, match=str(count)):
        split_bytes(join_bytes([b"one", b"two"]), count)


def test_a_length_beyond_the_end_is_refused() -> None:
    """A length of 4 GiB reserves nothing."""
    with pytest.raises(ContentsError, match="element 0 is cut short"):
        split_bytes(struct.pack("<I", 2**32 - 1) + b"x")


@pytest.mark.parametrize("datatype", sorted(RAW_FORMATS))
def test_formats_are_numpys_too(datatype: str) -> None:
    """A format means the same to struct and to numpy, and has the size that the datatype's name says."""
    kind = np.dtype(RAW_FORMATS[datatype])
    assert kind == np.dtype(NUMPY.get(datatype, datatype.lower())).newbyteorder("<")
    assert split_numbers(datatype, np.array([0, 1], kind).tobytes()) == [0, 1]


def test_numbers_are_whole_and_known() -> None:
    """Half a number, and a datatype of no numbers, are refused by name."""
    with pytest.raises(ContentsError, match="5 raw bytes are no elements of datatype FP32"):
        split_numbers("FP32", b"12345")
    with pytest.raises(ContentsError, match="datatype BF17"):
        split_numbers("BF17", b"12")


def test_typed_fields_are_the_protocols() -> None:
    """Every field that is named is one of the protocol's, and each of its fields is named."""
    fields = {field.name for field in oip.InferTensorContents.DESCRIPTOR.fields}
    assert set(TYPED_FIELDS.values()) == fields
    assert set(RAW_FORMATS) - set(TYPED_FIELDS) == {"FP16"}
