"""Bodies that the service packed although nobody asked it to: both transports unpack them by the same function."""

from __future__ import annotations

import zlib

from consumer.errors import NoAnswer


__all__ = ["MAX_ANSWER_BYTES", "TOO_LARGE", "unpacked"]


MAX_ANSWER_BYTES = 1_048_576
TOO_LARGE = f"the answer is larger than {MAX_ANSWER_BYTES} bytes"
"""What is said of an answer that is."""

_GZIP = 31
_ZLIB = 15
_DEFLATE = -15


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body as it was before it was packed; one that was not, or in a way that is not known, as it is.

    Raises:
        NoAnswer: it cannot be unpacked, or would be larger than `MAX_ANSWER_BYTES`.
    """
    kind = encoding.strip(" \t").lower()
    if kind not in {"gzip", "x-gzip", "deflate"} or not body:
        return body
    # By its standard `deflate` means zlib's format; some servers send the bare one.
    bits = _GZIP if kind != "deflate" else _ZLIB if body[0] & 0x0F == zlib.DEFLATED else _DEFLATE
    unpack = zlib.decompressobj(bits)
    try:
        # One byte more than is taken tells that there is more; a bomb gets no further.
        found = unpack.decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        raise NoAnswer("the answer cannot be unpacked", begun=True) from None
    if len(found) > MAX_ANSWER_BYTES:
        raise NoAnswer(TOO_LARGE, begun=True)
    if not unpack.eof or unpack.unused_data:
        raise NoAnswer("the answer cannot be unpacked", begun=True)
    return found
