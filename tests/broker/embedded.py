"""The embedded broker for tests: a group's first assignment takes it no 3 s, which add up in a hundred tests."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka

from consumer.demo.broker import EmbeddedBroker


__all__ = ["QuickBroker"]


_FIRST_ASSIGNMENT_MS = 10
_PRODUCER = 0  # rd_kafka_type_t
_PRODUCE = 0  # the API key of requests that write


def _librdkafka() -> ctypes.CDLL:
    """The library that confluent-kafka carries: what it does with mock clusters, Python does not get to see.

    Raises:
        OSError: It is not beside the package, as on systems other than Linux.
    """
    [path, *_] = [*Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*.so*"), "librdkafka"]
    library = ctypes.CDLL(str(path))
    for name in ("conf_new", "new", "mock_cluster_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class QuickBroker(EmbeddedBroker):
    """The same mock cluster; a group's first member gets its partitions at once, not after a wait for others."""

    def __init__(self) -> None:
        super().__init__()
        self._library: Any = None
        self._client: Any = None
        self._mock: Any = None

    def start(self) -> None:
        """Start the broker; where its library cannot be reached, the slower one."""
        try:
            library = _librdkafka()
        except OSError:
            super().start()
            return
        conf = ctypes.c_void_p(library.rd_kafka_conf_new())
        said = ctypes.create_string_buffer(512)
        library.rd_kafka_conf_set(conf, b"log_level", b"0", said, len(said))
        client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, conf, said, len(said)))
        assert client, said.value
        mock = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
        assert mock
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(mock, _FIRST_ASSIGNMENT_MS)
        self._library, self._client, self._mock = library, client, mock
        self._bootstrap_servers = library.rd_kafka_mock_cluster_bootstraps(mock).decode().split(",")
        # Makes topics, by asking for them.
        servers = ",".join(self._bootstrap_servers)
        self._cluster = confluent_kafka.Producer({"bootstrap.servers": servers, "log_level": 0})

    def answer_writes(self, *codes: int) -> None:
        """Answer the next requests that write with these error codes, and write nothing.

        Raises:
            OSError: the library that can do this is out of reach.
        """
        if self._library is None:
            raise OSError("the mock cluster's library is not beside confluent-kafka")
        told = [ctypes.c_int(code) for code in codes]
        push = self._library.rd_kafka_mock_push_request_errors
        push(self._mock, ctypes.c_int16(_PRODUCE), ctypes.c_size_t(len(codes)), *told)

    def stop(self) -> None:
        """Stop the broker; its records are gone, and its connections are closed."""
        super().stop()
        if self._library is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._mock)
            self._library.rd_kafka_destroy(self._client)
            self._library = None
