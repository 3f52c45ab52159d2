"""The section `moderation`: the service, its prices, who calls it, and how patiently."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from consumer.settings.section import Name, Seconds, Secret, Section


__all__ = ["Credentials", "Moderation", "OnDenied", "Price", "Retry", "Service", "Timeouts"]


OnDenied = Literal["hold", "review"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]


class Service(Section):
    """A service that is not in the built-in table, for example a copy made in the console; what is not said here is
    taken from the service named by `like`.
    """

    like: Name
    """The known service it is a copy of."""
    endpoint: Name | None = None
    """Where it is called, if not at `moderation.endpoint`."""
    info_type: list[Name] | None = None
    """Additional information to ask for, such as `llmContent`, `customImage` or `textInImage`."""


class Price(Section):
    """What one unit of a moderation type costs."""

    price: Annotated[Decimal, Field(ge=0)]
    """The price of one unit."""
    currency: Currency
    """ISO 4217 code."""
    plan_factor: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """What one unit takes from a resource plan."""


class Credentials(Section):
    """Whose signature calls carry. The vendor's own environment variables (`ALIBABA_CLOUD_…`) fill what is not set
    here.
    """

    provider: Literal["auto", "static", "oidc", "profile", "instance"] = "auto"
    """Where credentials come from: `static` (the AccessKey below), `oidc` (a role for a Kubernetes service account;
    the vendor calls it RRSA), `profile` (a file of the vendor's command line), `instance` (the RAM role of the ECS
    instance). `auto` takes the first of them that anything is set for, here or else in the vendor's variables."""
    access_key_id: Name | None = None
    """The AccessKey's id."""
    access_key_secret: Secret | None = None
    """The AccessKey's secret."""
    security_token: Secret | None = None
    """The token of temporary (STS) credentials."""
    role_arn: Name | None = None
    """The role to assume, with `oidc`."""
    oidc_provider_arn: Name | None = None
    """The identity provider of the cluster, with `oidc`."""
    oidc_token_file: Name | None = None
    """The file that holds the token of the service account, with `oidc`."""
    sts_endpoint: Name | None = None
    """Where the role is assumed, with `oidc`, if not at the STS of the service's region: a host, or `http://host:port`."""
    profile_file: Name | None = None
    """The file with the profiles; `~/.aliyun/config.json` when not set."""
    profile: Name | None = None
    """The profile in it; its current one when not set."""
    instance_role: Name | None = None
    """The role of the instance; the instance is asked for it when not set."""


class Timeouts(Section):
    """How long one call may take."""

    connect_seconds: Seconds = 5.0
    """To open a connection, name look-up included."""
    read_seconds: Seconds = 10.0
    """Between two pieces of an answer."""
    total_seconds: Seconds = 30.0
    """From the first byte sent to the last byte received."""


class Retry(Section):
    """How failed calls are tried again. Waiting grows from `base_seconds`, doubled each time and spread by chance, up
    to `max_seconds`. A try counts fully while nine of ten other calls to its service go well, less the more of them
    fail, and not at all in an outage or while the service is held.
    """

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    """Tries for one event before a person has to look at it (`review`), or, for images that cannot be had, before it
    becomes a dead letter."""
    base_seconds: Seconds = 0.2
    """The first wait."""
    max_seconds: Seconds = 30.0
    """The longest wait."""


class Moderation(Section):
    """The moderation service: where it is, who calls, and how patiently."""

    region: Name | None = None
    """The service's region, such as `cn-shanghai` or `ap-southeast-1`; or set `endpoint`."""
    network: Literal["public", "vpc"] = "public"
    """Which of a region's endpoints to use."""
    endpoint: Name | None = None
    """Where to call instead of the region's endpoint: a host, or `http://host:port` for a simulator or a proxy."""
    fallback_endpoint: Name | None = None
    """Where to call while no connection to the first endpoint can be made, such as another region's host."""
    credentials: Credentials = Credentials()
    """Whose signature calls carry."""
    transport: Literal["auto", "aiohttp", "lean"] = "auto"
    """What carries calls over HTTP: `aiohttp`, or `lean`, our own for this one kind of request, at a third of its CPU
    time. `auto` is `lean`. Local images are always uploaded by aiohttp."""
    timeouts: Timeouts = Timeouts()
    """How long one call may take."""
    retry: Retry = Retry()
    """How failed calls are tried again."""
    hold_probe_seconds: Seconds = 30.0
    """How often one call is tried while the account is denied, overdue or not authorised; and how rarely at the most
    while a service's calls fail."""
    on_denied: OnDenied = "hold"
    """What becomes of the events of a service that the account may not use (408): they wait (`hold`), or go to people
    (`review`)."""
    referer: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The `Referer` the service sends when it downloads images, where they are protected from hot-linking."""
    upload_endpoint: Literal["internet", "internal"] = "internet"
    """Where local images are put: `internal` saves traffic where this consumer runs in the service's own region."""
    services: dict[Name, Service] = {}
    """Services beyond the built-in table, by their names."""
    prices: dict[Name, Price] = {}
    """Prices by moderation type, where they differ from the documented list prices."""
