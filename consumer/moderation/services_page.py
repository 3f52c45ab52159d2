"""The tables of services and regions → `docs/services.md`: `python -m consumer.moderation.services_page` prints it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import MAINLAND, REGIONS, endpoint_for
from consumer.moderation.protocol.services import KNOWN, default_routes


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.moderation.protocol.services import Service


__all__ = ["page"]


_INTRODUCTION = """\
# Services and regions

Written from the tables in `consumer/moderation/protocol/services.py` and `endpoints.py`; a test fails where they
differ.

A service's name is free text. A copy made in the console, such as `postImageCheckByVL_global_01`, is declared as what
it is a copy of, and takes from it whatever it does not say itself:

```yaml
moderation:
  services:
    postImageCheckByVL_global_01: {like: postImageCheckByVL_global, info_type: [customImage, textInImage]}
```

A service that a route names and that neither table nor configuration knows is an error at start. Where a service is
offered is only what the pages say: it is called wherever a route sends it, and answers for itself.

Video is not among them: see [events](events.md) for what becomes of it.
"""
_SERVICES = """\
## Services

*Quota* is the limit of the account that its calls count against, in `quota.…_per_second`; *billed as* is the moderation
type on the bill, with its [price](billing.md).

"""
_REGIONS = """\
## Regions

`moderation.region` and `moderation.network` name the endpoint; `moderation.endpoint` replaces it, and
`moderation.fallback_endpoint` is called while no connection to it can be made. What large models judge for Hong Kong
and Frankfurt is judged in Singapore, says the text page; London has the console's configuration of Singapore, and
Silicon Valley and Frankfurt that of Virginia, says the image page.

"""
_ROUTES = """\
## Default routes

Used where `routes` is empty, from top to bottom; the first that takes an event judges it.

"""
_SOURCES = """\
## Where the pages leave room

- The tables of the text and image pages leave cells empty below the first region of a group: they are read as merged
  cells, so that Beijing, Hangzhou, Shenzhen and Chengdu offer what Shanghai does.
- The multimodal page names Shanghai only, the guide to its SDK Beijing, too: both are in the table, and the default
  routes use these services in Shanghai only.
- For Frankfurt the image page has no VPC endpoint and the text page has one.
- The rule-based text services have no limit of length on their page: 600 characters is that of their predecessors.
- Limits a second: 50 calls for text by large models, 100 for images, 50 for images by large models, 10 submissions and
  10 queries for multimodal tasks, each for the whole account.
"""


def page() -> str:
    """The page, as it stands in the documentation."""
    return "\n".join(
        (
            _INTRODUCTION,
            _SERVICES
            + _table(
                ("service", "operation", "quota", "billed as", "longest text", "regions"), map(_service, KNOWN.values())
            ),
            _REGIONS + _table(("region", "public", "VPC", "services"), map(_region, REGIONS)),
            _ROUTES + _routes("in the Chinese mainland, outside Shanghai", "cn-beijing"),
            _routes("in Shanghai", "cn-shanghai"),
            _routes("elsewhere", "ap-southeast-1"),
            _SOURCES,
        )
    )


def _service(service: Service) -> tuple[str, ...]:
    types = [name for name in (service.moderation_type, service.image_type) if name]
    return (
        f"`{service.name}`",
        service.operation,
        f"`{service.quota}`",
        ", ".join(f"`{name}` ({LIST_PRICES[name].currency})" for name in types),
        f"{service.max_characters:,}" if service.max_characters else "",
        _where(service.regions),
    )


def _where(regions: frozenset[str]) -> str:
    if regions == MAINLAND:
        return "Chinese mainland"
    return ", ".join(region for region in REGIONS if region in regions)


def _region(region: str) -> tuple[str, ...]:
    internal = endpoint_for(region, "vpc").host if REGIONS[region] else ""
    offered = sum(region in service.regions for service in KNOWN.values())
    return (
        f"`{region}`",
        f"`{endpoint_for(region, 'public').host}`",
        f"`{internal}`" if internal else "",
        str(offered),
    )


def _routes(where: str, region: str) -> str:
    rows = []
    for route in default_routes(region):
        when = route.when
        conditions = [*sorted(when.kinds), *(f"by {origin}" for origin in sorted(when.origins))]
        conditions += ["with images"] * bool(when.has_images) + ["with text"] * bool(when.has_text)
        rows.append(
            (f"`{route.name}`", ", ".join(conditions) or "all", ", ".join(f"`{name}`" for name in route.services))
        )
    return f"**{where[0].upper()}{where[1:]}**\n\n{_table(('route', 'takes', 'services'), rows)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(page())
