"""What the worker and its client say to each other: one JSON object per line, UTF-8, arrays in files.

From the client, a request (`hello`, `cancel` and `shutdown` are answered at once, all others in their order):

    {"id": 3, "task": "find", "arguments": {"t1c": "/scans/a.nii.gz", "out": "/tmp/x", "boxes": [...]}}
    {"id": 4, "task": "cancel", "arguments": {"id": 3}}

From the worker, about a request, any number of the first two and then exactly one of the others:

    {"id": 3, "event": "started"}
    {"id": 3, "event": "progress", "fraction": 0.4, "message": "Reading the tumors"}
    {"id": 3, "event": "result", "result": {...}}
    {"id": 3, "event": "error", "error": {"kind": "InvalidBox", "message": "..."}}

The kind is the name of a class in `errors`; an error that is none of those also has a `traceback`.
"""

import json

PROTOCOL = 1
"""Raised whenever an old client would misunderstand a new worker, or the other way round."""


def encode(message: dict) -> bytes:
    """A message as one line.

    :raises ValueError: if it holds NaN, infinity, or what JSON cannot say.
    """
    try:
        return json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\n"
    except TypeError as error:
        raise ValueError(f"This cannot be said in JSON: {error}") from error


def decode(line: bytes) -> dict | None:
    """The message of a line, or None if it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
