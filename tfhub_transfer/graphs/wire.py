"""SavedModels read without the numbers in them: an export of 100 MB is nearly all constants.

Protocol buffers on the wire (https://protobuf.dev/programming-guides/encoding): a message is a row
of fields, each a tag (its number, and how it is written) and a value; a message inside a message is
a field of known length, which can be skipped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

# What is shorter is kept as it is: looking into it would take longer than reading it.
_LONG = 2048
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
# Tags and lengths of protocol buffers fit in 32 bits; what claims more is read differently by
# different readers, and a file could show this one another graph than TensorFlow's.
_VARINT_BYTES, _SMALL = 10, 1 << 32

# The way from a SavedModel to the contents of its tensors, by numbers of fields
# (tensorflow/core/protobuf/saved_model.proto and what it imports); `_LEAVE_OUT` ends it.
_Plan: TypeAlias = "Mapping[int, _Plan]"
_LEAVE_OUT: _Plan = {}
# Strings, field 8, stay: savers' endings of file names are among them.
_TENSOR: _Plan = dict.fromkeys(
    (4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17), _LEAVE_OUT
)  # all but strings
_ATTRIBUTE: _Plan = {1: {8: _TENSOR}, 8: _TENSOR}  # AttrValue: list.tensor, tensor
_NODE: _Plan = {5: {2: _ATTRIBUTE}}  # NodeDef: attr, a map
_GRAPH: _Plan = {1: _NODE, 2: {1: {3: _NODE}}}  # GraphDef: node, library.function.node_def
_SAVED_MODEL: _Plan = {2: {2: _GRAPH}}  # SavedModel: meta_graphs.graph_def


def read_saved_model(path: Path) -> saved_model_pb2.SavedModel:
    """Reads a `saved_model.pb`; its long tensors come without contents.

    Args:
        path: The file.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it isn't such a file, or damaged.
    """
    data = path.read_bytes()
    try:
        return saved_model_pb2.SavedModel.FromString(_stripped(data, 0, len(data), _SAVED_MODEL))
    except (DecodeError, IndexError) as error:
        raise ValueError(f"{path.name} isn't a protocol buffer") from error


def field(number: int, content: bytes) -> bytes:
    """A field of a message that holds bytes, a string or another message, as it is written.

    For messages of which TensorFlow has no class.

    Args:
        number: The field's, at most 536,870,911.
        content: What it holds.
    """
    return _written(number << 3 | _LENGTH) + _written(len(content)) + content


def _stripped(data: bytes, start: int, end: int, plan: _Plan) -> bytes:
    """A message without the long fields to which the plan leads.

    Args:
        data: The file.
        start: Where the message starts.
        end: Where it ends.
        plan: For the number of a field the plan for what is in it, or `_LEAVE_OUT`.

    Raises:
        IndexError, ValueError: If it isn't a message.
    """
    pieces, kept, place = [], start, start
    while place < end:
        at = place
        tag, place = _number(data, place)
        if tag >= _SMALL:
            raise ValueError("a tag of more than 32 bits")
        kind, inner = tag & 7, plan.get(tag >> 3)
        if kind == _LENGTH:
            length, content = _number(data, place)
            place = content + length
            if inner is not None and length > _LONG and place <= end:
                pieces.append(data[kept:at])
                kept = place
                if inner is not _LEAVE_OUT:
                    found = _stripped(data, content, place, inner)
                    pieces += [_written(tag), _written(len(found)), found]
        elif kind == _VARINT:
            _, place = _number(data, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
    if place != end:
        raise ValueError("a field that is longer than its message")
    pieces.append(data[kept:end])
    return b"".join(pieces)


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    byte = data[place]
    if byte < 128:
        return byte, place + 1
    value, shift = byte & 127, 7
    for at in range(place + 1, place + _VARINT_BYTES):
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    raise ValueError("a number without end")


def _written(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
