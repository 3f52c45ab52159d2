"""The program's own view of a rendering: the configuration that its container is started with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from consumer.settings import load


if TYPE_CHECKING:
    from consumer.settings import Settings


__all__ = ["WEBHOOK", "container_of", "environment", "loaded"]


# What the add-on ack-pod-identity-webhook puts into the pods of an annotated service account.
WEBHOOK = {
    "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1234567890123456:role/moderation",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
}

_SECRET_FILE = {"callbacks": {"secret": "from-the-secret-file"}}


def container_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Our container in the pods of a rendering."""
    (deployment,) = (one for one in documents if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    everything = [*pod.get("initContainers", []), *pod["containers"]]
    (container,) = (one for one in everything if one["name"] == "moderation-consumer")
    found: dict[str, Any] = container
    return found


def environment(documents: list[dict[str, Any]]) -> dict[str, str]:
    """The container's variables, with the same text out of every Secret."""
    listed = container_of(documents).get("env", [])
    variables = {one["name"]: one.get("value", "from-the-kubernetes-secret") for one in listed}
    annotated = any(
        "pod-identity.alibabacloud.com/role-name" in one["metadata"].get("annotations", {})
        for one in documents
        if one["kind"] == "ServiceAccount"
    )
    return {**variables, **(WEBHOOK if annotated else {})}


def loaded(documents: list[dict[str, Any]], folder: Path) -> Settings:
    """What the program makes of the rendered files and variables, read in the order of its arguments.

    Raises:
        SettingsError: it would not start.
    """
    (config,) = (one["data"]["config.yaml"] for one in documents if "config.yaml" in one.get("data", ()))
    contents = {
        "/etc/moderation-consumer/config.yaml": config,
        "/run/secrets/moderation-consumer/config/config.yaml": yaml.safe_dump(_SECRET_FILE),
    }
    command, *names = container_of(documents)["args"]
    assert command == "run"
    files = []
    for number, name in enumerate(names):
        file = Path(folder, f"{number}.yaml")
        file.write_text(contents[name])
        files.append(file)
    return load(files, environment(documents)).settings
