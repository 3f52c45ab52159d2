"""The bar: secrets and user content planted in many places appear in no log, metric, trace, status page or error."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

import aiohttp
import orjson
import pytest
from aiohttp import web
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.app.process import Bench, environment
from tests.planted.plants import CONTENT, ROOT, SECRETS, events, leaks
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker


ALL = {**SECRETS, **CONTENT}


class Echo:
    """A service whose answers hold what it was sent, in every way that goes wrong; then it judges."""

    def __init__(self) -> None:
        self.calls = 0
        self.judged = 0

    async def answer(self, request: web.Request) -> web.Response:
        """One answer after the other: six kinds of trouble and a judgement, in turn."""
        sent = unquote_plus((await request.read()).decode(errors="replace"))
        said = f"{CONTENT['answer']} {sent} {request.headers.get('Authorization', '')}"
        key = f"The signature of {SECRETS['AccessKey id']} with {SECRETS['AccessKey secret']} does not match"
        self.calls += 1
        find = {"Label": "ad", "RiskWords": CONTENT["answer"], "Description": sent, "Confidence": 80}
        kinds = (
            web.Response(status=500, text=said),
            web.json_response({"Code": said, "Message": said, "RequestId": said}, status=400),
            web.json_response({"Code": "Throttling.User", "Message": said, "RequestId": CONTENT["answer"] + " x"}),
            web.Response(body=b"\xff\xfe" + said.encode()),
            web.json_response({"Code": 200, "Data": {"RiskLevel": said, "Result": said}, "RequestId": {said: said}}),
            web.json_response({"Code": "SignatureDoesNotMatch", "Message": key}, status=400),
            web.json_response({"Code": 400, "Message": said, "Data": said}) if self.calls % 70 == 6 else None,
        )
        if self.calls % 2 and self.calls < 160 and (made := kinds[self.calls // 2 % len(kinds)]) is not None:
            return made
        self.judged += 1
        return web.json_response(
            {"Code": 200, "Data": {"RiskLevel": "high", "Result": [find], "DataId": sent}, "Message": said}
        )


class Collector:
    """Where traces are exported to; some of its answers are refusals that repeat the token they came with."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Take one batch."""
        self.bodies.append(await request.read())
        if len(self.bodies) % 3 == 2:
            return web.Response(status=400, text=request.headers.get("Authorization", "") + str(request.headers))
        return web.Response(body=b"")


@asynccontextmanager
async def served(answer: Callable[[web.Request], object]) -> AsyncIterator[str]:
    """A server on this machine; gives its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)  # type: ignore[arg-type]  # a coroutine function, as a method
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def planted_environment(bench: Bench, endpoint: str, collector: str, files: Path) -> dict[str, str]:
    """A consumer with every secret that there is, and traces."""
    in_a_file = files / "secret"
    in_a_file.write_text(SECRETS["secret in a file"])
    env = environment(
        bench,
        endpoint,
        MODERATION__CREDENTIALS__ACCESS_KEY_ID=SECRETS["AccessKey id"],
        MODERATION__CREDENTIALS__ACCESS_KEY_SECRET=SECRETS["AccessKey secret"],
        MODERATION__CREDENTIALS__SECURITY_TOKEN=SECRETS["STS token"],
        MODERATION__REGION="cn-shanghai",
        MODERATION__HOLD_PROBE_SECONDS="0.2",
        MODERATION__RETRY__BASE_SECONDS="0.02",
        MODERATION__RETRY__MAX_SECONDS="0.1",
        MODERATION__TIMEOUTS__TOTAL_SECONDS="5",
        CALLBACKS__URL="https://callbacks.example.com/m",
        CALLBACKS__ACCOUNT_ID="12345678",
        CALLBACKS__SECRET=SECRETS["callback seed"],
        CALLBACKS__HOST="127.0.0.1",
        CALLBACKS__PORT=str(free_port()),
        KAFKA__SECURITY__SASL_PASSWORD=SECRETS["SASL password"],
        KAFKA__SECURITY__OAUTH_CLIENT_SECRET=SECRETS["OAuth client secret"],
        ADMIN__PORT=str(free_port()),
        TRACING__ENABLED="true",
        LOG__LEVEL="debug",
        PACKED__MODE="off",
    )
    return env | {
        "HTTPS_PROXY": f"http://user:{SECRETS['proxy password']}@proxy.example.com:1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRETS['collector token']},broken {CONTENT['text']}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "NO_PROXY": "127.0.0.1",
        "PLANTED_IN_ERRORS": CONTENT["error of a bug"],
        "PLANTED_AT_THE_END": "yes",
        "PYTHONPATH": str(ROOT),
    }


def produce(bench: Bench) -> int:
    """Write all records; returns how many."""
    producer = Producer({"bootstrap.servers": bench.bootstrap, "log_level": 0})
    records = events()
    for key, sent in records:
        producer.produce(bench.events, sent.value, key, headers=list(sent.headers))
    producer.flush()
    return len(records)


def own_headers(bench: Bench) -> bytes:
    """What dead letters say in headers of ours; their values, keys and other headers are the original's."""
    reader = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": "reader", "log_level": 0})
    reader.assign([TopicPartition(bench.letters, n, 0) for n in range(4)])
    found: list[bytes] = []
    for _ in range(4):
        for record in reader.consume(200, 0.5):
            headers = record.headers() or []
            ours = max(at for at, (name, _) in enumerate(headers) if name == "moderation-topic")
            found += [f"{name}={value!r}".encode() for name, value in headers[ours:]]
    reader.close()
    assert len(found) > 50
    return b"\n".join(found)


async def looked_at(port: int, callbacks: int) -> dict[str, bytes]:
    """Everything that the ports of a consumer say, also to those who ask for nonsense."""
    found: dict[str, bytes] = {}
    asks = {
        "/status": "application/json",
        "/status?": "text/html",
        "/metrics": "application/openmetrics-text; version=1.0.0",
        "/metrics?": "*/*",
        "/readyz": "*/*",
        "/livez": "*/*",
        f"/{CONTENT['request to the admin port']}": "*/*",
    }
    base = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        for path, accept in asks.items():
            async with session.get(base + path, headers={"Accept": accept}) as answer:
                found[f"{path} as {accept}"] = await answer.read()
        body = {"ReqId": CONTENT["callback"], "Checksum": "0" * 64, "Content": CONTENT["callback"]}
        for path in ("/m/ugc/0/1", f"/{CONTENT['callback']}"):
            async with session.post(f"http://127.0.0.1:{callbacks}{path}", data=body) as answer:
                found[f"callback {path[:6]}"] = await answer.read()
    for wrong in (port, callbacks):
        reader, writer = await asyncio.open_connection("127.0.0.1", wrong)
        writer.write(f"GET {CONTENT['request to the admin port']}\x00 HTTP/9\r\nx\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    return found


@pytest.mark.timeout(120)
def test_nothing_planted_appears_anywhere(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """No secret and no content is in logs, metrics, traces, the status, letters' headers, answers or tracebacks."""
    bench = Bench.on(embedded)
    count = produce(bench)

    async def main() -> dict[str, bytes]:
        echo, collector = Echo(), Collector()
        async with served(echo.answer) as endpoint, served(collector.answer) as traces:
            env = planted_environment(bench, endpoint, traces, tmp_path)
            port, callbacks = int(env["MODERATION__ADMIN__PORT"]), int(env["MODERATION__CALLBACKS__PORT"])
            program = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "tests/planted/program.py"),
                "run",
                env=env,
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                async with asyncio.timeout(60):
                    while await done(port) < count:
                        assert program.returncode is None, (await program.communicate())[0].decode()
                        await asyncio.sleep(0.2)
                    channels = await looked_at(port, callbacks)
                    program.send_signal(signal.SIGTERM)
                    channels["log"] = (await program.communicate())[0]
            finally:
                if program.returncode is None:
                    program.kill()
                    await program.wait()
            assert program.returncode == os.EX_SOFTWARE
            channels["traces"] = b"".join(collector.bodies)
            assert echo.judged > 40
            assert len(collector.bodies) > 2
        return channels

    channels = asyncio.run(main())
    channels["dead letters' headers"] = own_headers(bench)
    log = channels["log"].decode()
    (tmp_path / "log").write_text(log)
    # What is to be found nowhere was on its way to all of these.
    for said in ("unexpected_error", "calls fail", "a thread", "a clean-up", "Task exception was never retrieved"):
        assert said in log, log
    assert "ValueError" in log
    assert "Traceback" in log
    assert channels["traces"].count(b"TextModerationPlus") > 40
    assert leaks(channels, ALL) == []


async def done(port: int) -> float:
    """How many records have become a verdict or a dead letter."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
    except aiohttp.ClientError:
        return 0
    totals = ("moderation_verdicts_total", "moderation_dead_letters_total")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(totals))


def test_the_search_finds_what_leaks() -> None:
    """A plant is found as it is, in a URL and in base64, so that an empty list of leaks means something."""
    for said in ("a plantedtext21 b", "%20plantedtext21", "cGxhbnRlZHRleHQyMQ=="):
        assert len(leaks({"log": said}, ALL)) == 1
    assert leaks({"log": "planted nothing"}, ALL) == []


def printed(arguments: list[str], env: dict[str, str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a command that ends by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "consumer", *arguments],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


WRONG = """\
kafka:
  security: {sasl_passwort: WORD, protocol: SASL, sasl_password: [WORD]}
moderation:
  endpoint: https://user:WORD@example.com
  credentials: WORD
callbacks: {url: 'ftp://user:WORD@example.com', secret: {WORD: WORD}}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["check", "--origins"], 0, "moderation.credentials.access_key_secret"),
        (["check", "--origins", "wrong.yaml"], os.EX_CONFIG, "wrong.yaml:2"),
        (["check", "--connect"], os.EX_UNAVAILABLE, "FAILED"),
        (["run"], os.EX_UNAVAILABLE, "cannot start"),
        (["dead-letters", "list"], os.EX_UNAVAILABLE, "Error: "),
        (["run", "--help"], 0, "CONFIG"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_no_command_prints_a_secret(
    arguments: list[str], code: int, said: str, embedded: EmbeddedBroker, tmp_path: Path
) -> None:
    """What commands print of right settings, of wrong ones, and where nothing answers them, holds no secret."""
    (tmp_path / "wrong.yaml").write_text(WRONG.replace("WORD", SECRETS["secret in the wrong place"]))
    nowhere = f"127.0.0.1:{free_port()}"
    env = planted_environment(Bench.on(embedded), f"http://{nowhere}", f"http://{nowhere}", tmp_path)
    del env["MODERATION__KAFKA__SECURITY__SASL_PASSWORD"]
    env |= {
        "MODERATION__KAFKA__BOOTSTRAP_SERVERS": nowhere,
        "MODERATION__KAFKA__SECURITY__PROTOCOL": "SASL_PLAINTEXT",
        "MODERATION__KAFKA__SECURITY__SASL_USERNAME": "moderation",
        "MODERATION__KAFKA__SECURITY__SASL_PASSWORD_FILE": str(tmp_path / "secret"),
    }
    if "wrong.yaml" in arguments:
        env = {name: value for name, value in env.items() if not name.startswith("MODERATION__MODERATION__")}
    found, text = printed(arguments, env, tmp_path)
    assert said in text
    assert found == code
    assert leaks({"output": text}, ALL) == []


class _EchoHandler(BaseHTTPRequestHandler):
    """Refuses everything, and repeats what it was sent wherever words can be."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = f"refused: {unquote_plus(sent)} {self.headers.get('Authorization')}"
        body = orjson.dumps(
            {"Code": said, "Message": said, "RequestId": said, "error": said, "error_description": said}
        )
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's name
        """Nothing is logged."""


@pytest.fixture
def echoes() -> Iterator[str]:
    """A server that repeats what it is sent; gives its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _EchoHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("what", ["oidc", "oauth"])
def test_a_refusal_that_repeats_a_token_is_not_repeated(
    what: str, echoes: str, embedded: EmbeddedBroker, tmp_path: Path
) -> None:
    """Where the STS or a token endpoint quotes what it was sent, the error of the start does not."""
    bench = Bench.on(embedded)
    env = planted_environment(bench, "http://127.0.0.1:9", "http://127.0.0.1:9", tmp_path)
    token = tmp_path / "token"
    token.write_text(SECRETS["service account's token"])
    if what == "oidc":
        kept = {"MODERATION__KAFKA__SECURITY__SASL_PASSWORD", "MODERATION__KAFKA__SECURITY__OAUTH_CLIENT_SECRET"}
        of_key = "MODERATION__MODERATION__CREDENTIALS__"
        env = {name: value for name, value in env.items() if name not in kept and not name.startswith(of_key)}
        env |= {
            f"{of_key}PROVIDER": "oidc",
            f"{of_key}ROLE_ARN": "acs:ram::1:role/moderation",
            f"{of_key}OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/cluster",
            f"{of_key}OIDC_TOKEN_FILE": str(token),
            f"{of_key}STS_ENDPOINT": echoes,
        }
    else:
        of_kafka = "MODERATION__KAFKA__SECURITY__"
        env |= {
            f"{of_kafka}PROTOCOL": "SASL_PLAINTEXT",
            f"{of_kafka}SASL_USERNAME": "moderation",
            f"{of_kafka}SASL_MECHANISM": "OAUTHBEARER",
            f"{of_kafka}OAUTH_TOKEN_ENDPOINT": f"{echoes}/token",
            f"{of_kafka}OAUTH_CLIENT_ID": "moderation",
        }
    code, text = printed(["run"], env, tmp_path)
    assert "cannot start" in text
    assert ("STS" if what == "oidc" else "token endpoint") in text
    assert code == os.EX_UNAVAILABLE
    assert leaks({"output": text}, ALL) == []
