"""What is known of services and places, and what is asked of by default."""

from __future__ import annotations

import pytest

from consumer.errors import SettingsError
from consumer.event import Event, Image
from consumer.moderation.judge import beside_tasks
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import REGIONS, Endpoint, endpoint_for, fallback_for, region_of
from consumer.moderation.protocol.requests import calls
from consumer.moderation.protocol.services import KNOWN, default_routes, resolve
from consumer.routing import Router
from consumer.settings.models import Service as ServiceSettings


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_service_can_be_called_and_billed(name: str) -> None:
    """Each known service has a price, known regions, and a text limit if it takes text."""
    service = KNOWN[name]
    assert service.name == name
    assert service.moderation_type in LIST_PRICES
    assert (service.image_type in LIST_PRICES) == (service.media == "multimodal")
    assert service.regions
    assert service.regions <= set(REGIONS)
    assert (service.max_characters > 0) == (service.media != "image")


def test_the_limits_of_the_text_page() -> None:
    """The four services of the text page take 2,000 characters and count against the text limit."""
    names = ("ugc_moderation_byllm", "ugc_moderation_byllm_pro", "ugc_moderation_byllm_cb", "aigc_moderation_byllm")
    assert {(KNOWN[name].max_characters, KNOWN[name].quota) for name in names} == {(2000, "text")}


def test_a_copy_of_a_multimodal_service() -> None:
    """A copy of the post service takes comments too, and is billed alike; its results have a limit of their own."""
    copy = resolve({"posts": ServiceSettings(like="post_text_image_detection")})["posts"]
    assert (copy.threads, copy.media, copy.image_type) == (True, "multimodal", "image_vl_standard")
    assert (copy.quota, copy.results.quota, copy.results.name) == ("multimodal_submit", "multimodal_query", "posts")


def test_a_console_copy_is_like_its_original() -> None:
    """A configured copy has its own name, and all else from the service it is like, through any number of copies."""
    table = resolve(
        {
            "posts_02": ServiceSettings(like="posts_01", info_type=["textInImage", "customImage"]),
            "posts_01": ServiceSettings(like="baselineCheck_global", endpoint="http://127.0.0.1:8080"),
        }
    )
    copy = table["posts_02"]
    assert (copy.name, copy.operation, copy.quota) == ("posts_02", "ImageModeration", "image")
    assert copy.endpoint == Endpoint("http", "127.0.0.1:8080")
    assert copy.info_type == ("textInImage", "customImage")
    assert table["baselineCheck_global"] == KNOWN["baselineCheck_global"]


def test_a_known_service_can_be_given_more_information_to_return() -> None:
    """A known service may be declared like itself, with other settings."""
    table = resolve({"ugc_moderation_byllm": ServiceSettings(like="ugc_moderation_byllm", info_type=["llmContent"])})
    assert table["ugc_moderation_byllm"].info_type == ("llmContent",)


def test_all_faults_of_services_are_told_at_once() -> None:
    """A typo, a circle and a bad endpoint are each told, with key and the nearest right name."""
    with pytest.raises(SettingsError) as caught:
        resolve(
            {
                "a": ServiceSettings(like="baselineChek_global"),
                "b": ServiceSettings(like="c"),
                "c": ServiceSettings(like="b"),
                "d": ServiceSettings(like="aigcDetector", endpoint="ftp://x"),
            }
        )
    assert sorted(problem.split(": ")[0] for problem in caught.value.problems) == [
        "moderation.services",
        "moderation.services.a.like",
        "moderation.services.d.endpoint",
    ]
    assert "did you mean `baselineCheck_global`?" in str(caught.value)


@pytest.mark.parametrize(
    ("region", "network", "host"),
    [
        ("cn-shanghai", "public", "green-cip.cn-shanghai.aliyuncs.com"),
        ("ap-southeast-1", "vpc", "green-cip-vpc.ap-southeast-1.aliyuncs.com"),
    ],
)
def test_a_region_has_its_endpoints(region: str, network: str, host: str) -> None:
    """A region and a network give the host on the vendor's pages, and the host gives the region again."""
    endpoint = endpoint_for(region, "vpc" if network == "vpc" else "public")
    assert endpoint == Endpoint("https", host)
    assert endpoint.url == f"https://{host}/"
    assert region_of(endpoint) == region


def test_an_endpoint_of_ones_own_wins() -> None:
    """A configured endpoint is used whatever the region; its host has the port that the signature covers."""
    endpoint = endpoint_for("cn-shanghai", "public", "http://127.0.0.1:18099")
    assert (endpoint.host, endpoint.url) == ("127.0.0.1:18099", "http://127.0.0.1:18099/")
    assert region_of(endpoint) is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("green-cip.cn-beijing.aliyuncs.com", "https://green-cip.cn-beijing.aliyuncs.com/"),
        ("https://h:443/", "https://h/"),
        ("http://h:80", "http://h/"),
        ("h:8443", "https://h:8443/"),
        ("http://[::1]:90", "http://[::1]:90/"),
    ],
)
def test_endpoints_are_read(text: str, url: str) -> None:
    """Hosts and addresses are read, and the usual port is left out, as it is in the header `Host`."""
    assert Endpoint.parse(text).url == url


@pytest.mark.parametrize("text", ["", "ftp://h", "http://h/path", "http://", "h:port", "a b", "http://u:p4ss@h", "h?q"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """Anything else is refused, and a password in it is not repeated."""
    with pytest.raises(SettingsError, match="is no endpoint") as caught:
        endpoint_for(None, "public", text)
    assert "p4ss" not in str(caught.value)


def test_a_fallback_endpoint_is_read_like_any_other() -> None:
    """A fallback is a host or an address, or there is none; what is no endpoint is told with its own key."""
    assert fallback_for(None) is None
    assert fallback_for("green-cip.cn-beijing.aliyuncs.com") == Endpoint("https", "green-cip.cn-beijing.aliyuncs.com")
    with pytest.raises(SettingsError, match=r"moderation\.fallback_endpoint: `ftp://h` is no endpoint"):
        fallback_for("ftp://h")


@pytest.mark.parametrize(
    ("region", "network", "message"),
    [
        ("cn-shangai", "public", "did you mean `cn-shanghai`"),
        ("mars", "public", "known are cn-shanghai"),
        ("cn-chengdu", "vpc", "no VPC endpoint"),
        (None, "public", "moderation.region: is missing"),
    ],
)
def test_a_region_that_cannot_be_used_is_told(region: str | None, network: str, message: str) -> None:
    """An unknown region, one without an internal network, and none at all are each told."""
    with pytest.raises(SettingsError, match=message):
        endpoint_for(region, "vpc" if network == "vpc" else "public")


EVENTS = {
    "text": Event("1", "message", text="hi"),
    "text by a model": Event("1", "message", text="hi", origin="ai"),
    "image": Event("1", "image", images=(Image("https://h/1.jpg"),)),
    "image by a model": Event("1", "image", images=(Image("https://h/1.jpg"),), origin="ai"),
    "post": Event("1", "post", text="hi", images=(Image("https://h/1.jpg"),)),
    "post of images": Event("1", "post", images=(Image("https://h/1.jpg"),)),
    "comment": Event("1", "comment", text="hi"),
    "profile": Event("1", "profile", text="nickname", images=(Image("https://h/1.jpg"),)),
}


@pytest.mark.parametrize("region", [*REGIONS, None])
@pytest.mark.parametrize("what", EVENTS)
def test_default_routes_leave_nothing_unjudged(region: str | None, what: str) -> None:
    """In every region each kind of event finds a route that judges all of it."""
    event = EVENTS[what]
    route = Router(default_routes(region)).route(event, "t")
    assert route is not None
    services = [KNOWN[name] for name in route.services]
    rest = beside_tasks(event, services)
    judged = {call.service.media for call in calls(rest, services)} if rest is not None else {"text", "image"}
    assert (rest is None) == ([service.media for service in services] == ["multimodal"])
    assert ("text" in judged or not event.text, "image" in judged or not event.images) == (True, True)


@pytest.mark.parametrize(
    ("region", "what", "services"),
    [
        ("cn-shanghai", "text", {"ugc_moderation_byllm"}),
        ("cn-shanghai", "text by a model", {"aigc_moderation_byllm"}),
        ("ap-southeast-1", "text", {"ugc_moderation_byllm_cb"}),
        ("cn-hongkong", "text by a model", {"ugc_moderation_byllm_cb"}),
        (None, "text", {"ugc_moderation_byllm_cb"}),
        ("ap-southeast-1", "image", {"baselineCheck_global"}),
        ("ap-southeast-1", "image by a model", {"baselineCheck_global", "aigcDetector_global"}),
        ("cn-shanghai", "image by a model", {"baselineCheck", "aigcDetector"}),
        ("us-east-1", "post", {"ugc_moderation_byllm_cb", "baselineCheck_global"}),
        ("cn-beijing", "comment", {"ugc_moderation_byllm"}),
        ("cn-shanghai", "comment", {"post_text_image_detection"}),
        ("cn-shanghai", "post", {"post_text_image_detection"}),
        ("cn-shanghai", "profile", {"profile_text_image_detection"}),
        ("cn-shanghai", "post of images", {"baselineCheck"}),
    ],
)
def test_default_routes_use_what_the_region_offers(region: str | None, what: str, services: set[str]) -> None:
    """The default services are those that the vendor's pages list for the region."""
    event = EVENTS[what]
    route = Router(default_routes(region)).route(event, "t")
    assert route is not None
    table = [KNOWN[name] for name in route.services]
    rest = beside_tasks(event, table)
    asked = {service.name for service in table if service.media == "multimodal"}
    asked |= {call.service.name for call in calls(rest, table)} if rest is not None else set()
    assert asked == services
