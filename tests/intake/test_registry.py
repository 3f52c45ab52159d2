"""The schema registry: what is fetched, what waits for it, and what is refused for good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from pydantic import SecretStr

from consumer.errors import DecodeError, NotYet, StartError
from consumer.intake import formats as formats_module
from consumer.intake.formats import Formats
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.settings.formats import Format, SchemaRegistry
from tests.intake.authority import Authority
from tests.intake.fake_registry import FakeRegistry
from tests.ports import free_port


SCHEMA = '{"type": "record", "name": "Post", "fields": [{"name": "id", "type": "string"}]}'
BODY = b"\2a"


class Clock:
    """Time that passes at once, and remembers how long was slept."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


class Reading:
    """A reader of Avro whose registry is the one given."""

    def __init__(self, registry: FakeRegistry, encoding: str = "avro", **settings: Any) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        own = SchemaRegistry(url=registry.url, **settings)
        self.formats = Formats(
            Format.model_validate({"encoding": encoding, "schema_registry": own}),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def read(self, schema_id: int = 1, body: bytes = BODY) -> dict[str, Any]:
        """As a record's way does it: what is not there yet is waited for."""
        record = Record(Partition("ugc", 0), 0, 0, None, b"\0" + schema_id.to_bytes(4, "big") + body)
        return await self.read_record(record)

    async def read_record(self, record: Record) -> dict[str, Any]:
        """The same of any record."""
        while True:
            try:
                return self.formats.document(record)
            except NotYet as not_yet:
                await not_yet.ready()

    def requests(self) -> dict[str, float]:
        return {outcome: count for (outcome,), count in self.metrics.totals("schema_requests").items()}


async def held(reading: Reading) -> list[dict[str, Any]]:
    """What is said while this one cannot have its schema."""
    waiting = asyncio.create_task(reading.read())
    while not reading.formats.holds():
        await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    return reading.formats.holds()


def with_registry(main: Any, registry: FakeRegistry | None = None) -> Any:
    """Run `main` with a registry that listens."""

    async def serve() -> Any:
        async with (registry or FakeRegistry()).serving() as serving:
            return await main(serving)

    return asyncio.run(serve())


def test_a_schema_is_asked_for_once_however_many_wait() -> None:
    """Records that come together share one request, and later ones need none."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        reading = Reading(registry)
        assert await asyncio.gather(*(reading.read() for _ in range(50))) == [{"id": "a"}] * 50
        await reading.read()
        assert registry.asked == ["/schemas/ids/1"]
        assert reading.requests() == {"done": 1}

    with_registry(main)


def test_only_records_of_unknown_schemas_wait() -> None:
    """While one schema cannot be had, records of a known one are read at once."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        reading = Reading(registry)
        await reading.read()
        registry.failures = [(503, "")] * 1_000_000
        waiting = asyncio.create_task(reading.read(2))
        await asyncio.sleep(0.05)
        record = Record(Partition("ugc", 0), 0, 0, None, b"\0\0\0\0\1" + BODY)
        assert reading.formats.document(record) == {"id": "a"}
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})

    with_registry(main)


def test_a_registry_that_is_away_is_waited_for() -> None:
    """Nothing is lost: it is asked again, less and less often, and the hold is said until it answers."""
    port = free_port()
    registry = FakeRegistry(url=f"http://127.0.0.1:{port}")
    registry.add(1, SCHEMA)
    reading = Reading(registry)

    async def main() -> None:
        waiting = asyncio.create_task(reading.read())
        while len(reading.clock.slept) < 9:
            await asyncio.sleep(0)
        (hold,) = reading.formats.holds()
        assert hold["reason"] == "schema_registry"
        assert f"http://127.0.0.1:{port} does not answer: " in hold["meaning"]
        assert "format.schema_registry.url" in hold["remedy"]
        assert reading.metrics.readings("holding")["schema_registry",] == 1
        async with registry.serving(port):
            assert await waiting == {"id": "a"}
        assert reading.formats.holds() == []
        assert reading.metrics.readings("holding")["schema_registry",] == 0

    with structlog.testing.capture_logs() as logs:
        asyncio.run(main())
    assert [line["event"] for line in logs if line["event"] != "schema"] == ["holding", "hold is over"]
    assert reading.clock.slept[0] < 1
    assert 24 <= reading.clock.slept[8] <= 36


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ((500, "oops"), "answers /schemas/ids/1 with HTTP 500"),
        ((404, "<html>no such page</html>"), "answers /schemas/ids/1 with HTTP 404 and no schema"),
        ((404, '{"error_code": 404, "message": "HTTP 404 Not Found"}'), "with HTTP 404 and no schema"),
        ((200, "<html>a login page</html>"), "with HTTP 200 and no schema"),
        ((200, '{"schema": 1}'), "with HTTP 200 and no schema"),
        ((301, ""), "with HTTP 301"),
        ((401, ""), "refuses us with HTTP 401"),
        ((403, '{"error_code": 40301, "message": "User is denied"}'), "refuses us with HTTP 403"),
    ],
)
def test_an_answer_that_is_none_of_a_registry_holds(failure: tuple[int, str], said: str) -> None:
    """What a person has to mend is no fault of the records: they wait, and are read when it is mended."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        registry.failures = [failure]
        reading = Reading(registry)
        with structlog.testing.capture_logs() as logs:
            assert await reading.read() == {"id": "a"}
        assert said in logs[0]["meaning"]
        assert reading.requests() == {"failed": 1, "done": 1}

    with_registry(main)


def test_an_unknown_schema_is_a_dead_letter_with_the_reason() -> None:
    """The registry is asked three times, since its followers may be behind, and then not again for a while."""

    async def main(registry: FakeRegistry) -> None:
        reading = Reading(registry)
        for _ in range(5):
            with pytest.raises(
                DecodeError, match="schema 7 cannot be had: the registry says: Schema not found"
            ) as caught:
                await reading.read(7)
            assert caught.value.reason == "unknown_schema"
        assert len(registry.asked) == 3
        registry.add(7, SCHEMA)
        reading.clock.time += 60
        assert await reading.read(7) == {"id": "a"}

    with_registry(main)


def test_a_schema_that_a_follower_does_not_have_yet_is_asked_for_again() -> None:
    """A record that was written a moment ago is not lost for a registry that is a moment behind."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        registry.failures = [(404, '{"error_code": 40403, "message": "Schema not found"}')]
        reading = Reading(registry)
        assert await reading.read() == {"id": "a"}
        assert reading.requests() == {"unknown": 1, "done": 1}

    with_registry(main)


@pytest.mark.parametrize(
    ("schema", "kind", "said"),
    [
        ("AAAA", "PROTOBUF", "it is of the type PROTOBUF, and format.encoding says avro"),
        ("{}", "JSON", "it is of the type JSON"),
        ('"string"', "AVRO", "a schema of single values"),
        ("{", "AVRO", "it is no Avro schema"),
    ],
)
def test_a_schema_of_no_use_is_a_dead_letter_with_the_reason(schema: str, kind: str, said: str) -> None:
    """A schema never changes: it is fetched once, and its records are refused from then on."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, schema, kind)
        reading = Reading(registry)
        for _ in range(2):
            with pytest.raises(DecodeError, match=f"schema 1 cannot be used: .*{said}") as caught:
                await reading.read()
            assert caught.value.reason == "unusable_schema"
        assert len(registry.asked) == 1

    with_registry(main)


def test_bytes_that_do_not_fit_are_a_dead_letter_that_names_the_schema() -> None:
    """The reason says which schema the record claims to be written with."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        with pytest.raises(DecodeError, match="schema 1: the bytes do not fit the schema Post"):
            await Reading(registry).read(body=b"\xff")

    with_registry(main)


def test_references_are_fetched_each_before_what_needs_it() -> None:
    """A schema may refer to one that refers to another; subjects may have any characters."""

    def needs(name: str, subject: str) -> list[dict[str, Any]]:
        return [{"name": name, "subject": subject, "version": 3}]

    def holding(name: str, inner: str) -> str:
        return f'{{"type": "record", "name": "{name}", "fields": [{{"name": "x", "type": {inner}}}]}}'

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, holding("Outer", '"Middle"'), references=needs("Middle", "a/b c?"))
        registry.add(2, holding("Middle", '"Inner"'), references=needs("Inner", "inner"))
        registry.add(3, holding("Inner", '"string"'))
        registry.subjects = {"a/b c?/3": "2", "inner/3": "3"}
        assert await Reading(registry).read() == {"x": {"x": {"x": "a"}}}

    with_registry(main)


def test_references_without_end_are_refused() -> None:
    """A registry whose schemas refer to more and more others does not keep the consumer busy for ever."""

    class Endless(dict[str, Any]):
        def get(self, schema_id: str, default: Any = None) -> Any:
            number = int(schema_id) + 1
            return {"schema": SCHEMA, "references": [{"name": f"n{number}", "subject": str(number), "version": 1}]}

    class Numbers(dict[str, str]):
        def get(self, subject: str, default: Any = None) -> Any:
            return subject.partition("/")[0]

    async def main(registry: FakeRegistry) -> None:
        with pytest.raises(DecodeError, match="it refers to more than 200 others"):
            await Reading(registry).read()

    with_registry(main, FakeRegistry(schemas=Endless(), subjects=Numbers()))


def test_a_schema_can_be_named_in_a_header() -> None:
    """Newer serializers put a name for all registries into a header, and leave the value alone."""
    name = UUID(int=5)

    async def main(registry: FakeRegistry) -> None:
        registry.add(name, SCHEMA)
        record = Record(Partition("ugc", 0), 0, 0, None, BODY, (("__value_schema_id", b"\1" + name.bytes),))
        assert await Reading(registry).read_record(record) == {"id": "a"}
        assert registry.asked == [f"/schemas/guids/{name}"]

    with_registry(main)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"username": "key", "password": SecretStr("s:ü")}, "Basic a2V5OnM6w7w="),
        ({"token": SecretStr("t0ken")}, "Bearer t0ken"),
    ],
)
def test_the_registry_is_told_who_we_are(settings: dict[str, Any], wanted: str) -> None:
    """A user with a password, or a bearer token, is sent with each request."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        assert await Reading(registry, **settings).read() == {"id": "a"}

    with_registry(main, FakeRegistry(authorization=wanted))


def test_a_registry_with_a_certificate_of_its_own_is_trusted_by_its_file(tmp_path: Path) -> None:
    """With `ca_file` the connection is made; without it the registry counts as away."""
    authority = Authority(tmp_path)

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        assert await Reading(registry, ca_file=authority.ca_file).read() == {"id": "a"}
        (hold,) = await held(Reading(registry))
        assert (
            "its certificate was signed by none of the authorities that we trust, the system's own" in hold["meaning"]
        )
        assert "format.schema_registry.ca_file" in hold["remedy"]

    with_registry(main, FakeRegistry(context=authority.serving()))


def test_a_registry_that_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    """With mutual TLS schemas are fetched with our certificate; without one the registry counts as away."""
    authority = Authority(tmp_path)
    trusted = {"ca_file": authority.ca_file}

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        assert await Reading(registry, **trusted, **authority.identity()).read() == {"id": "a"}
        (hold,) = await held(Reading(registry, **trusted))
        assert "it wants a certificate of ours, it seems, and we have none" in hold["meaning"]
        assert hold["remedy"].startswith("set format.schema_registry.certificate_file and format.schema_registry.key")

    with_registry(main, FakeRegistry(context=authority.serving(clients_by=authority)))


def test_renewed_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    """A record that waits since our certificate is refused is read once a good one is in the files."""
    authority, others = Authority(tmp_path), Authority(tmp_path, "others")
    own, foreign = authority.identity(), others.identity()
    good, bad = ({key: Path(name).read_bytes() for key, name in files.items()} for files in (own, foreign))

    def mount(contents: dict[str, bytes]) -> None:
        for key, content in contents.items():
            Path(own[key]).write_bytes(content)

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        reading = Reading(registry, ca_file=authority.ca_file, **own)
        waiting = asyncio.create_task(reading.read())
        while not reading.formats.holds():
            await asyncio.sleep(0.01)
        assert f"{own['certificate_file']}, is not one that it trusts" in reading.formats.holds()[0]["meaning"]
        mount(good)
        assert await waiting == {"id": "a"}

    mount(bad)
    with_registry(main, FakeRegistry(context=authority.serving(clients_by=authority)))


def test_a_file_of_certificates_that_cannot_be_used_is_told_at_start(tmp_path: Path) -> None:
    """The start fails, says which file and which key, and shows nothing of what is in it."""
    authority, others = Authority(tmp_path), Authority(tmp_path, "others")
    text, foreign = tmp_path / "text.pem", others.identity()["key_file"]
    text.write_text("planted words", encoding="utf-8")
    own = authority.identity()
    for given, said in (
        ({"ca_file": "/nowhere.pem"}, "format.schema_registry.ca_file, /nowhere.pem, cannot be read: No such file"),
        ({"ca_file": str(text)}, f"format.schema_registry.ca_file, {text}, holds no certificate in PEM"),
        ({**own, "key_file": str(text)}, f"format.schema_registry.key_file, {text}, holds no private key in PEM"),
        (
            {**own, "key_file": foreign},
            f"key_file, {foreign}, is not the key of format.schema_registry.certificate_file",
        ),
    ):
        with pytest.raises(StartError) as caught:
            Reading(FakeRegistry(url="https://localhost:1"), **given)
        assert said in str(caught.value)
        assert "planted" not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(("encoding", "library"), [("avro", "fastavro"), ("protobuf", "google.protobuf")])
def test_a_library_that_is_missing_is_told_at_start(
    monkeypatch: pytest.MonkeyPatch, encoding: str, library: str
) -> None:
    """The start fails, and says what to install."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(formats_module, "import_module", missing)
    with pytest.raises(StartError, match=f"format.encoding {encoding} needs .* not installed: {library}") as caught:
        Reading(FakeRegistry(url="http://localhost:1"), encoding)
    assert caught.value.remedy == "pip install 'moderation-consumer[formats]'"


def test_a_record_can_be_turned_into_json() -> None:
    """An estimate keeps records in JSON; what cannot be read, and what has no value, stays as it is."""

    async def main(registry: FakeRegistry) -> list[bytes | None]:
        registry.add(1, SCHEMA)
        formats = Reading(registry).formats
        place = Partition("ugc", 0)
        values = [b"\0\0\0\0\1" + BODY, b"\0\0\0\0\1\xff", None]
        return [(await formats.in_json(Record(place, 0, 5, b"k", value))).value for value in values]

    assert with_registry(main) == [b'{"id":"a"}', b"\0\0\0\0\1\xff", None]


def test_when_the_one_who_asks_is_cancelled_the_next_goes_on() -> None:
    """A record that is given up does not take the schema with it that others wait for."""

    async def main(registry: FakeRegistry) -> None:
        registry.add(1, SCHEMA)
        registry.failures = [(503, "")]
        reading = Reading(registry)
        first, second = (asyncio.create_task(reading.read()) for _ in range(2))
        while not registry.asked:
            await asyncio.sleep(0)
        first.cancel()
        assert await second == {"id": "a"}
        assert first.cancelled()

    with_registry(main)
