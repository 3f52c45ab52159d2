"""Document → Event."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import MappingError, RecordError, SettingsError
from consumer.event import KINDS, ORIGINS, Author, Event, Image, OssObject
from consumer.intake import Intake
from consumer.intake.mapping import Mapper
from consumer.record import Partition, Record
from consumer.settings.models import Mapping


DEFAULT = Mapper(Mapping())
OSS = {"bucket": "b", "object": "o/1.png", "region": "ap-southeast-1"}


def mapper(**settings: Any) -> Mapper:
    return Mapper(Mapping.model_validate(settings))


def record(value: bytes) -> Record:
    return Record(Partition("ugc", 0), 7, 1_700_000_000_000, None, value)


def test_the_default_mapping_reads_every_field() -> None:
    """A record in the default shape becomes an event with each of its fields."""
    event = DEFAULT.event(
        {
            "id": "c-1",
            "kind": "comment",
            "text": "nice",
            "title": "a title",
            "images": ["https://cdn.example.com/a.png", {"oss": OSS}],
            "author": {"id": 42, "nickname": "sunny"},
            "thread": "p-1",
            "parent": 17,
            "posted_at": "2026-01-31T12:00:00Z",
            "language": "zh-Hant",
            "origin": "ai",
        }
    )
    assert event == Event(
        id="c-1",
        kind="comment",
        text="nice",
        title="a title",
        images=(
            Image(url="https://cdn.example.com/a.png"),
            Image(oss=OssObject("b", "o/1.png", "ap-southeast-1")),
        ),
        author=Author("42", "sunny"),
        thread="p-1",
        parent="17",
        posted_at="2026-01-31T12:00:00Z",
        language="zh-Hant",
        origin="ai",
    )


def test_only_the_id_is_required() -> None:
    """A record with nothing but an id is a message by a person; null counts as absent."""
    assert DEFAULT.event({"id": "a"}) == Event(id="a", kind="message")
    empty = dict.fromkeys(("kind", "text", "title", "images", "author", "thread", "parent", "posted_at", "language"))
    assert DEFAULT.event({"id": "a", **empty}) == Event(id="a", kind="message")


def test_a_platforms_own_shape_is_mapped() -> None:
    """Dotted paths and expressions take an event out of a platform's own record; null switches a field off."""
    own = mapper(
        id="payload.msgId",
        text="payload.body.text || payload.caption",
        images="payload.media[?type=='photo'].{url: link}",
        author_id="sender.uid",
        kind="payload.type",
        kinds={"dm": "message", "avatar": "profile", "3": "comment"},
        origin="payload.bot && 'ai' || 'human'",
        title=None,
    )
    event = own.event(
        {
            "sender": {"uid": 9},
            "title": ["not looked at"],
            "payload": {
                "msgId": 12345678901234567890,
                "caption": "hi",
                "type": "avatar",
                "bot": True,
                "media": [{"type": "photo", "link": "u1"}, {"type": "video", "link": "u2"}, {"type": "photo"}],
            },
        }
    )
    assert event.id == "12345678901234567890"
    assert (event.kind, event.origin, event.text, event.author.id) == ("profile", "ai", "hi", "9")
    assert event.images == (Image(url="u1"),)
    assert own.event({"payload": {"msgId": 1, "type": 3}}).kind == "comment"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "id: nothing at `id`; a string or an integer is wanted"),
        ({"id": None}, "id: nothing at `id`"),
        ({"id": ""}, "id: an empty string at `id`"),
        ({"id": " \t"}, "id: an empty string at `id`"),
        ({"id": True}, "id: a boolean at `id`"),
        ({"id": 1.5}, "id: a number with a fraction or of more than 64 bits at `id`"),
        ({"id": ["a"]}, "id: a list at `id`"),
        ({"id": "a", "text": 5}, "text: an integer at `text`; a string is wanted"),
        ({"id": "a", "title": {"en": "x"}}, "title: an object at `title`; a string is wanted"),
        (
            {"id": "a", "author": {"id": 1.5}},
            "author_id: a number with a fraction or of more than 64 bits at `author.id`",
        ),
        ({"id": "a", "author": {"nickname": 3}}, "nickname: an integer at `author.nickname`"),
        ({"id": "a", "thread": False}, "thread: a boolean at `thread`"),
        ({"id": "a", "posted_at": [1]}, "posted_at: a list at `posted_at`; a string or a number is wanted"),
        ({"id": "a", "language": 1}, "language: an integer at `language`"),
        ({"id": "a", "kind": "Comment"}, "kind: an unknown word at `kind`; the nearest known is `comment`"),
        ({"id": "a", "kind": 4}, "kind: an unknown word at `kind`; known are comment, image, message, post, profile"),
        ({"id": "a", "kind": {}}, "kind: an object at `kind`; a string is wanted"),
        ({"id": "a", "origin": "humann"}, "origin: an unknown word at `origin`; the nearest known is `human`"),
        ({"id": "a", "images": 5}, "images: an integer at `images`; a URL, or an object"),
        ({"id": "a", "images": False}, "images: a boolean at `images`; a URL, or an object"),
        ({"id": "a", "images": ["u", ["v"]]}, "images: a list at `images[1]`; a URL, or an object"),
        (
            {"id": "a", "images": [{"link": "u"}]},
            "an object without `url`, `oss`, `file` or `content` at `images[0]`",
        ),
        ({"id": "a", "images": [{"url": 5}]}, "images: an object whose `url` is an integer at `images[0]`"),
        ({"id": "a", "images": {"url": "u", "oss": OSS}}, "images: an object with both `url` and `oss` at `images`"),
        (
            {"id": "a", "images": [{"oss": {"bucket": "b"}}]},
            "images: an incomplete `oss` at `images[0]`; `bucket`, `object`",
        ),
        ({"id": "a", "kind": "video"}, "kind: `video` at `kind`; videos are not moderated by this program: post their"),
        ({"id": "a", "kind": " Voice"}, "kind: `voice` at `kind`; recordings are not moderated by this program"),
        ({"id": "a", "images": {"content": "####"}}, "images: a `content` that is no base64 at `images`; the image's"),
        ({"id": "a", "images": {"content": "QUJ\nD"}}, "images: a `content` that is no base64 at `images`"),
        ({"id": "a", "images": {"content": ["QUJD"]}}, "images: an object whose `content` is a list at `images`"),
        ({"id": "a", "images": {"content": 0}}, "images: an object whose `content` is an integer at `images`"),
        ({"id": "a", "images": {"file": "x.png", "url": "u"}}, "images: an object with both `url` and `file`"),
        ({"id": "a", "images": [{"file": "x.png"}]}, "an object with `file` at `images[0]`; `mapping.image_directory`"),
        ({"id": "a", "images": [{"oss": "b/o"}]}, "images: an incomplete `oss` at `images[0]`"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(document: dict[str, Any], said: str) -> None:
    """A field of the wrong type or with an unknown word fails the record, with its path and what was found."""
    with pytest.raises(MappingError) as caught:
        DEFAULT.event(document)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("u", ("u",)),
        (" u\n", ("u",)),
        (["u", "", " ", None, {}, {"url": ""}, {"url": None}, {"oss": None}, {"url": "v", "oss": None}], ("u", "v")),
        ({"url": "u", "width": 100}, ("u",)),
        ("", ()),
        ([], ()),
        ({}, ()),
    ],
)
def test_images_come_in_several_shapes(images: object, expected: tuple[str, ...]) -> None:
    """A URL, a list of URLs, and objects are understood; what names no image is dropped."""
    assert tuple(image.name for image in DEFAULT.event({"id": "a", "images": images}).images) == expected


def test_nul_is_taken_out_of_texts() -> None:
    """A word parted by NUL characters is judged as it is shown."""
    event = DEFAULT.event({"id": "a", "text": "b\0a\0d", "title": "\0", "author": {"nickname": "n\0"}})
    assert (event.text, event.title, event.author.nickname) == ("bad", "", "n")


def test_moments_are_kept_as_written() -> None:
    """A time stamp may be a string or a number; it is passed on unparsed."""
    assert DEFAULT.event({"id": "a", "posted_at": 1_700_000_000_123}).posted_at == "1700000000123"
    assert DEFAULT.event({"id": "a", "posted_at": 1.5}).posted_at == "1.5"


def test_defaults_stand_in_for_kind_and_origin() -> None:
    """Records that name no kind or origin get the configured ones."""
    own = mapper(default_kind="post", default_origin="ai")
    assert own.event({"id": "a", "kind": ""}) == Event(id="a", kind="post", origin="ai")
    assert own.event({"id": "a", "kind": "image", "origin": "human"}) == Event(id="a", kind="image")


def test_a_platforms_word_wins_over_ours() -> None:
    """Where a platform means something else by one of our words, its translation counts; our other words still work."""
    own = mapper(kinds={"post": "comment"})
    assert own.event({"id": "a", "kind": "post"}).kind == "comment"
    assert own.event({"id": "a", "kind": "image"}).kind == "image"


def test_all_wrong_expressions_are_told_at_once() -> None:
    """Each wrong expression is a problem of its own, under its settings key."""
    with pytest.raises(SettingsError) as caught:
        mapper(text="body..text", images="media[", id="id")
    text, images = caught.value.problems
    assert text.startswith("mapping.text: 'body..text' is neither a dotted path nor a JMESPath expression: unexpected")
    assert images.startswith("mapping.images: 'media['")


SECRET = "Xq7zSecretXq7z"  # no text of ours has this in it
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.just(SECRET)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "nickname", "url", "oss", "bucket", "object", "region"]), inner)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(
        ["id", "kind", "text", "title", "images", "author", "thread", "parent", "posted_at", "language", "origin"]
    ),
    JSON | st.sampled_from([*sorted(KINDS), *sorted(ORIGINS), "u"]),
)
FANCY = Mapping.model_validate(
    {
        "text": "join(' ', text) || title",
        "title": "max_by(images, &id).url",
        "images": "images[].{url: url, oss: oss}",
        "thread": "sort(thread)[0]",
        "posted_at": "to_number(posted_at)",
        "language": "author.keys(@)[0]",
    }
)


@pytest.mark.parametrize("intake", [Intake(Mapping()), Intake(FANCY)], ids=["default", "expressions"])
@given(document=DOCUMENTS | DOCUMENTS.map(lambda one: {**one, "id": "a"}) | JSON)
def test_any_json_is_an_event_or_a_record_error(intake: Intake, document: object) -> None:
    """Whatever JSON a record has, it becomes a well-formed event or a dead letter whose reason repeats no content."""
    try:
        event = intake.event(record(orjson.dumps(document)))
    except RecordError as exc:
        assert SECRET not in str(exc)  # noqa: PT017  # only one of the two outcomes has an error
        return
    assert event.id
    assert event.kind in KINDS
    assert event.origin in ORIGINS
    assert all((image.url is None) != (image.oss is None) for image in event.images)
    texts = [event.text, event.title, event.author.nickname, event.language]
    assert all(text is None or (isinstance(text, str) and "\0" not in text) for text in texts)
    ids = [event.author.id, event.thread, event.parent, event.posted_at]
    assert all(one is None or (isinstance(one, str) and one) for one in ids)


def test_a_video_is_a_dead_letter_with_a_reason() -> None:
    """A video is no typing error: its dead letter says that nobody moderates it, and what to do."""
    with pytest.raises(MappingError, match="videos are not moderated by this program") as caught:
        DEFAULT.event({"id": "a", "kind": "video", "text": "look"})
    assert caught.value.reason == "unsupported_kind"


def test_a_platform_may_say_what_its_videos_are() -> None:
    """A platform that has the words of its videos moderated maps the kind, and gets no dead letters."""
    assert mapper(kinds={"video": "post"}).event({"id": "a", "kind": "video", "text": "look"}).kind == "post"
