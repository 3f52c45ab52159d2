"""How a call names an image, and what is seen in it. No image is ever fetched: the verdict is in its name.

Only the simulator's own bucket is looked into: an object that was not uploaded there is code 404, one above 20 MB 406,
one that begins like no known format 407; its verdict is in its name and in labels that stand in its content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.simulator import truth
from consumer.simulator.objects import BUCKET, MAX_IMAGE_BYTES


if TYPE_CHECKING:
    from consumer.simulator.objects import Objects
    from consumer.simulator.services import Labels


__all__ = ["URL_LIMIT", "picture_fault", "see"]


URL_LIMIT = 2048


def picture_fault(named: dict[str, Any], *, region_required: bool = False) -> tuple[int, str] | None:
    """What is wrong with the way an image is named: a URL, or an object in a bucket, and not both."""
    url = named.get("imageUrl")
    bucket, name, region = (named.get(key) for key in ("ossBucketName", "ossObjectName", "ossRegionId"))
    if url and (bucket or name or region):
        return 401, "imageUrl and an OSS object exclude each other"
    if url:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return 401, "imageUrl is not an http or https URL"
        return (402, f"imageUrl is longer than {URL_LIMIT} characters") if len(url) > URL_LIMIT else None
    if not bucket or not name:
        return 400, "neither imageUrl nor ossBucketName and ossObjectName are given"
    if region_required and not region:
        return 400, "ossRegionId is empty"
    if not all(isinstance(value, str) for value in (bucket, name, region or "")):
        return 401, "ossBucketName, ossObjectName and ossRegionId are strings"
    return None


def see(named: dict[str, Any], labels: Labels, objects: Objects) -> truth.ImageTruth:
    """The truth about an image that is named without a fault."""
    url = named.get("imageUrl")
    if url:
        return truth.image(url, labels)
    name: str = named["ossObjectName"]
    if named["ossBucketName"] != BUCKET:
        return truth.image(name, labels)
    stored = objects.get(name)
    if stored is None:
        return truth.ImageTruth(404, "none", ())
    if len(stored.content) > MAX_IMAGE_BYTES:
        return truth.ImageTruth(406, "none", ())
    if not stored.is_image:
        return truth.ImageTruth(407, "none", ())
    return truth.image("/".join((*stored.marks, name)), labels)
