"""Changes to files that keep enough of their structure to get past the first check of a reader."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

Mutate = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, -1, 2, 7, 255, 256, 65_536, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
WORDS = ("", "x", "main", "..", "../../etc/passwd", "/etc/passwd", "a\x00b", "é" * 40, "%s%s", "-")


def bytes_of(data: bytes, draw: random.Random) -> bytes:
    """Flip bits, cut, double and move parts, make numbers huge."""
    made = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not made:
            break
        at = draw.randrange(len(made))
        length = draw.randint(1, max(len(made) // 8, 1))
        kind = draw.randrange(6)
        if kind == 0:
            made[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del made[at : at + length]
        elif kind == 2:
            made[at:at] = made[at : at + length]
        elif kind == 3:
            made[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f"])
        elif kind == 4:
            del made[at:]
        elif numbers := list(re.finditer(rb"\d+", made[:200_000])):
            one = draw.choice(numbers)
            made[one.start() : one.end()] = str(draw.choice(NUMBERS)).encode()
    return bytes(made)


_TOKEN = re.compile(rb'"[^"\n]*"|[%@#^!][\w.$-]*|[\w.$]+|->|\s+|.', re.S)


def tokens_of(data: bytes, draw: random.Random) -> bytes:
    """Replace, swap, double and drop tokens of a text by others of the same text."""
    made = _TOKEN.findall(data[:100_000])
    for _ in range(draw.randint(1, 3)):
        if not made:
            break
        at, other = draw.randrange(len(made)), draw.randrange(len(made))
        kind = draw.randrange(6)
        if kind == 0:
            made[at] = made[other]
        elif kind == 1:
            made[at], made[other] = made[other], made[at]
        elif kind == 2:
            made.insert(at, made[other])
        elif kind == 3:
            del made[at]
        elif kind == 4:
            made[at] = str(draw.choice(NUMBERS)).encode()
        else:
            low, high = sorted((at, other))
            made[low:low] = made[low : min(high, low + 30)]
    return b"".join(made)


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for one in value if _repeated(field) else [value]:
                yield from _messages(one)


def _repeated(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", False)) or getattr(field, "label", 0) == 3


def _drawn(field: Any, words: list[str], draw: random.Random) -> Any:
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return draw.choice(words) if draw.random() < 0.8 else draw.choice(WORDS)
    if kind == FieldDescriptor.TYPE_BYTES:
        return bytes(draw.randrange(256) for _ in range(draw.choice([0, 1, 4, 8, 32])))
    if kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return draw.choice([0.0, -1.0, 1e38, float("nan"), float("inf")])
    if kind == FieldDescriptor.TYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    number = draw.choice(NUMBERS) if draw.random() < 0.4 else draw.randint(-4, 30)
    if kind == FieldDescriptor.TYPE_INT32:
        return max(min(number, 2**31 - 1), -(2**31))
    return abs(number) if kind == FieldDescriptor.TYPE_UINT64 else number


def fields_of(data: bytes, draw: random.Random) -> bytes:
    """Change fields of an ONNX model's messages: drop, double, swap, redraw."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return bytes_of(data, draw)
    words = [w for n in model.graph.node for w in (*n.input, *n.output, n.op_type) if w] or ["x"]
    words += ["Identity", "If", "Loop", "Reshape", "Concat", "Shape", "ConstantOfShape"]
    for _ in range(draw.randint(1, 3)):
        message = draw.choice(list(_messages(model)))
        field = draw.choice(message.DESCRIPTOR.fields)
        try:
            _change(message, field, words, draw)
        except (ValueError, TypeError):
            continue  # a value that the field can't hold
    return model.SerializeToString()


def _change(message: Message, field: Any, words: list[str], draw: random.Random) -> None:
    scalar = field.type != FieldDescriptor.TYPE_MESSAGE
    if not _repeated(field):
        if draw.random() < 0.3 or not scalar:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _drawn(field, words, draw))
        return
    held = getattr(message, field.name)
    kind = draw.randrange(4)
    if kind == 0 and len(held):
        del held[draw.randrange(len(held))]
    elif scalar and (kind == 1 or not len(held)):
        held.append(_drawn(field, words, draw))
    elif scalar:
        held[draw.randrange(len(held))] = _drawn(field, words, draw)
    elif len(held) > 1 and kind == 1:
        one, other = draw.sample(range(len(held)), 2)
        held[one].CopyFrom(held[other])
    elif len(held):
        held.add().CopyFrom(draw.choice(held))


def json_of(data: bytes, draw: random.Random) -> bytes:
    """Replace values of a JSON text, drop and rename keys."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return bytes_of(data, draw)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            break
        holder, key = draw.choice(places)
        kind = draw.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = draw.choice([*NUMBERS, *WORDS, None, True, [], {}, 1e308, [[]]])
        elif kind == 2:
            other, there = draw.choice(places)
            holder[key] = json.loads(json.dumps(other[there]))
        elif kind == 3 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif isinstance(holder, dict):
            holder[draw.choice(WORDS)] = holder.pop(key)
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items if isinstance(tree, (dict, list)) else ():
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    """The members of an archive; raises ValueError for what is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception as e:  # zipfile raises exceptions of many kinds
        raise ValueError("not an archive") from e


def members_of(data: bytes, draw: random.Random) -> bytes:
    """Change one member of an archive by its kind; now and then its name."""
    try:
        members = unpacked(data)
    except ValueError:
        return bytes_of(data, draw)
    if not members or draw.random() < 0.1:
        return bytes_of(data, draw)
    name = draw.choice(list(members))
    kind = draw.random()
    if kind < 0.05:
        del members[name]
    elif kind < 0.1:
        members[draw.choice(["../" + name, name + "x", "data/constants/custom_obj_0"])] = b"x"
    elif name.endswith(".json"):
        members[name] = json_of(members[name], draw)
    elif name.endswith((".mlir", ".py")):
        members[name] = tokens_of(members[name], draw)
    else:
        members[name] = bytes_of(members[name], draw)
    return packed(members)


def words_of(data: bytes, draw: random.Random) -> bytes:
    """Change the words of a command line, one a line."""
    made = data.decode("utf-8", "replace").split("\n")
    harmless = [w for w in WORDS if not w.startswith(("/", ".."))]  # a command may write there
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(made) + 1)
        kind = draw.randrange(5)
        if kind == 0 and at < len(made):
            del made[at]
        elif kind == 1:
            made.insert(at, draw.choice([*harmless, *map(str, NUMBERS)]))
        elif kind == 2 and made:
            made.insert(at, draw.choice(made))
        elif kind == 3 and at < len(made):
            made[at] = bytes_of(made[at].encode("utf-8", "replace"), draw).decode(
                "utf-8", "replace"
            )
        elif at < len(made):
            made[at] = draw.choice(harmless)
    return "\n".join(made).encode("utf-8", "replace")


def either(*mutators: Mutate) -> Mutate:
    """Mostly the first, else one of the others."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        chosen = mutators[0] if draw.random() < 0.7 else draw.choice(mutators)
        return chosen(data, draw)

    return mutate
