"""What is planted, where it is planted, and how it is looked for."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.tracing.traced import Sent


__all__ = ["CONTENT", "SECRETS", "events", "leaks"]


SECRETS = {
    "AccessKey id": "LTAIplantedkeyid01",
    "AccessKey secret": "plantedkeysecret02",
    "STS token": "plantedststoken03",
    "callback seed": "plantedcallbackseed04",
    "proxy password": "plantedproxyword05",
    "collector token": "plantedcollectortoken06",
    "SASL password": "plantedsaslword07",
    "OAuth client secret": "plantedoauthsecret08",
    "secret in a file": "plantedinafile09",
    "secret in the wrong place": "plantedinwrongplace10",
    "service account's token": "plantedoidctoken11.x.y",
}
CONTENT = {
    "text": "plantedtext21",
    "title": "plantedtitle22",
    "image URL": "plantedimageurl23",
    "image object": "plantedimageobject24",
    "image bytes": base64.b64encode(b"plantedimagebytes25 of no picture").decode(),
    "user id": "planteduserid26",
    "nickname": "plantednickname27",
    "address": "198.51.100.28",
    "event id": "plantedeventid29",
    "thread": "plantedthread30",
    "parent": "plantedparent31",
    "record key": "plantedrecordkey32",
    "header name": "plantedheadername33",
    "header value": "plantedheadervalue34",
    "malformed bytes": "plantedmalformed35",
    "wrong type": "plantedwrongtype36",
    "unknown kind": "plantedkind37",
    "language": "plantedlanguage38",
    "text of a bug": "plantedbugtext39",
    "error of a bug": "plantedbugerror40",
    "answer": "plantedanswer41",
    "callback": "plantedcallback42",
    "request to the admin port": "plantedadminrequest43",
    "sample": "plantedsample44",
    "trace state": "plantedtracestate45",
}


def events() -> list[tuple[str, Sent]]:
    """Records with all of it in them, by their keys: some are judged, others fail at each of the stages."""
    from tests.tracing.traced import Sent  # noqa: PLC0415  # for the type, it is also imported above

    c = CONTENT
    headers = (
        (c["header name"], c["header value"].encode()),
        ("traceparent", c["header value"].encode()),
        ("tracestate", f"{c['trace state']}=x y,=,{c['trace state']}".encode()),
        ("baggage", f"user={c['header value']}".encode()),
    )
    whole = {
        "id": c["event id"],
        "text": c["text"],
        "title": c["title"],
        "author": {"id": c["user id"], "nickname": c["nickname"], "ip": c["address"]},
        "thread": c["thread"],
        "parent": c["parent"],
        "language": c["language"],
    }
    picture = {"kind": "image", "id": c["event id"], "images": [f"https://example.com/{c['image URL']}.jpg?sig=1"]}
    bodies = [
        *(orjson.dumps({**whole, "id": f"{c['event id']}{n}", "text": f"{c['text']} {n}"}) for n in range(40)),
        *(orjson.dumps({**picture, "id": f"{c['event id']}p{n}"}) for n in range(3)),
        orjson.dumps({"id": c["event id"], "kind": "image", "images": [{"content": c["image bytes"]}]}),
        orjson.dumps({"id": c["event id"], "kind": "image", "images": [{"file": c["image object"]}]}),
        orjson.dumps({"id": c["event id"], "kind": "image", "images": [c["image object"]]}),
        orjson.dumps({"id": c["event id"], "kind": "image", "images": [{"oss": {"object": c["image object"]}}]}),
        orjson.dumps({**whole, "text": f"BUG {c['text of a bug']}"}),
        orjson.dumps({**whole, "kind": c["unknown kind"]}),
        orjson.dumps({**whole, "id": {c["wrong type"]: c["wrong type"]}}),
        orjson.dumps({**whole, "text": [c["wrong type"]]}),
        orjson.dumps({**whole, "images": c["wrong type"]}),
        orjson.dumps({**whole, "author": c["wrong type"]}),
        orjson.dumps({**whole, "origin": c["wrong type"]}),
        orjson.dumps({**whole, "posted_at": {c["wrong type"]: 1}}),
        orjson.dumps({key: value for key, value in whole.items() if key != "id"}),
        orjson.dumps([c["malformed bytes"]]),
        f"{{{c['malformed bytes']}".encode(),
        b"\xff\xfe" + c["malformed bytes"].encode(),
        c["malformed bytes"].encode("utf-16"),
        orjson.dumps(c["malformed bytes"]),
    ]
    return [(f"{c['record key']}{n}", Sent(body, headers)) for n, body in enumerate(bodies)]


def leaks(channels: Mapping[str, bytes | str], plants: Mapping[str, str]) -> list[str]:
    """Where any of these is found, plain or in one of the forms that it travels in."""
    found = []
    for channel, said in channels.items():
        data = said.encode() if isinstance(said, str) else said
        for name, plant in plants.items():
            forms = {plant.encode(), quote(plant, safe="").encode(), base64.b64encode(plant.encode()).rstrip(b"=")[:-2]}
            for form in forms:
                at = re.search(re.escape(form), data)
                if at is not None:
                    around = data[max(0, at.start() - 150) : at.end() + 80]
                    found.append(f"{name} in {channel}: …{around.decode(errors='replace')}…")
                    break
    return found


ROOT = Path(__file__).resolve().parents[2]
