"""Reading an answer: from the bytes that come to its status, its headers and its body."""

from __future__ import annotations

import httptools

from consumer.errors import NoAnswer
from consumer.moderation.calling.transport import MAX_ANSWER_BYTES, HttpAnswer
from consumer.moderation.calling.unpacking import TOO_LARGE, unpacked


__all__ = ["Reading"]


_MAX_HEAD_BYTES = 65_536
_HEAD_TOO_LARGE = f"the head of the answer is larger than {_MAX_HEAD_BYTES} bytes"
_ENDS_WITH_THE_HEAD = frozenset({204, 304})


class Reading:
    """A parser, and what it has found of one answer after the other.

    A connection needs one only from the first byte of an answer to its last.

    Attributes:
        whole: all of the answer is there.
        again: after it, the service takes another request on the same connection.
        open_end: the answer is whole when the connection ends.
        wrong: what stands against the answer, or against what came behind it; empty where nothing does.
    """

    __slots__ = (
        "_body",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_parser",
        "_parts",
        "_size",
        "_status",
        "_void_bytes",
        "again",
        "open_end",
        "whole",
        "wrong",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Make ready for an answer."""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._parts: bytearray | None = None
        self._status = self._size = self._head_bytes = self._void_bytes = 0
        self._in_head = True
        self.whole = self.again = self.open_end = False
        self.wrong = ""

    def feed(self, data: bytes) -> None:
        """Read a piece; what is found stands in the attributes."""
        # The parser keeps what is not whole yet, such as a header without end, and tells nobody: so this is counted
        # until a piece of the body comes.
        self._void_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.wrong = self.wrong or "the service changed the protocol"
        except httptools.HttpParserError as error:
            # Its class alone: its text may have a piece of the answer in it.
            self.wrong = self.wrong or type(error).__name__
        if self._void_bytes > _MAX_HEAD_BYTES and not self.whole:
            self.wrong = self.wrong or (_HEAD_TOO_LARGE if self._in_head else "the answer goes on without a body")

    def answer(self) -> HttpAnswer:
        """The answer.

        Raises:
            NoAnswer: its body is packed in a way that cannot be read.
        """
        body = self._body if self._parts is None else bytes(self._parts)
        encoding = self._headers.get("content-encoding")
        if encoding is not None:
            body = unpacked(body, encoding)
        return HttpAnswer(self._status, body, self._headers)

    def drop(self) -> None:
        """Never read again: it and its parser refer to each other, and nobody should have to look for the circle."""
        del self._parser

    # What the parser calls

    def on_message_begin(self) -> None:
        """An answer begins; there is one for each request, but for those that only say that more will come."""
        if self.whole:
            # It ends the parsing: nothing of this may be taken for the answer's own.
            raise NoAnswer("something came behind the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or what stands behind a body in chunks. Of those with the same name the first counts."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self.wrong = _HEAD_TOO_LARGE
        elif self._in_head:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._status = status = self._parser.get_status_code()
        headers = self._headers
        size = headers.get("content-length")
        if size is None:
            bare = status < 200 or status in _ENDS_WITH_THE_HEAD
            self.open_end = not bare and "transfer-encoding" not in headers
        elif int(size[:20]) > MAX_ANSWER_BYTES:
            self.wrong = TOO_LARGE

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._void_bytes = 0
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self.wrong = TOO_LARGE
        elif self._parts is not None:
            self._parts += body
        elif not self._body:
            self._body = body
        else:
            self._parts = bytearray(self._body)
            self._parts += body

    def on_message_complete(self) -> None:
        """The answer is whole; 1xx only say that one will come."""
        if self._status < 200:
            self._headers = {}
            self._in_head = True
            self.open_end = False
        elif not self.wrong:
            self.whole = True
            self.again = self._parser.should_keep_alive()
