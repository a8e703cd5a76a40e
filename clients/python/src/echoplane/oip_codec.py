"""Contents of tensors in the Open Inference Protocol (OIP), raw and typed.

Client, daemon and engines' leaders read and write them with these tables. Without numpy: the client has no need of it; the formats are
numpy's type codes too. Raw contents are little-endian, https://github.com/kserve/open-inference-protocol, "Raw Tensor Contents".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

RAW_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "<?",
        "UINT8": "<B",
        "UINT16": "<H",
        "UINT32": "<I",
        "UINT64": "<Q",
        "INT8": "<b",
        "INT16": "<h",
        "INT32": "<i",
        "INT64": "<q",
        "FP16": "<e",
        "FP32": "<f",
        "FP64": "<d",
    }
)
"""By datatype, how `struct` and numpy call one element of raw contents. BYTES has none: its elements differ in size."""

TYPED_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
"""By datatype, the field of ``InferTensorContents`` that has its elements. FP16 has none."""

_LENGTH: Final = struct.Struct("<I")


class ContentsError(ValueError):
    """Contents do not hold what their tensor says."""


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """Return raw contents of a BYTES tensor.

    Before each element is its length in 4 bytes, little-endian.
    """
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def split_bytes(raw: bytes, count: int | None = None) -> list[bytes]:
    """Return the elements of a BYTES tensor's raw contents.

    Args:
        raw: for each element its length in 4 bytes, little-endian, and that many bytes.
        count: elements that there must be; None: any number.

    Raises:
        ContentsError: the last element is cut short, or there are more or fewer than there must be.
    """
    elements: list[bytes] = []
    offset = 0
    while offset < len(raw):
        if len(elements) == count or offset + _LENGTH.size > len(raw):
            wanted = "whole elements" if count is None else f"exactly {count} elements"
            raise ContentsError(f"its raw bytes do not hold {wanted}")
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset += _LENGTH.size
        if length > len(raw) - offset:
            raise ContentsError(f"element {len(elements)} is cut short")
        elements.append(raw[offset : offset + length])
        offset += length
    if count is not None and len(elements) != count:
        raise ContentsError(f"it has {len(elements)} elements; its shape says {count}")
    return elements


def split_numbers(datatype: str, raw: bytes) -> list[bool | int | float]:
    """Return the elements of raw contents of numbers.

    Raises:
        ContentsError: there is no such datatype of numbers, or the bytes are no whole elements of it.
    """
    code = RAW_FORMATS.get(datatype)
    if code is None or len(raw) % struct.calcsize(code):
        raise ContentsError(f"{len(raw)} raw bytes are no elements of datatype {datatype}")
    return [value for (value,) in struct.iter_unpack(code, raw)]
