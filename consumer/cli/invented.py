"""An environment in which no secret is missing, for commands that connect to nothing and sign nothing for anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["without_secrets"]


_CREDENTIALS = "MODERATION__MODERATION__CREDENTIALS__"
# Nothing is signed for anybody and nobody reports anything: what stands for these secrets is of no importance.
_INVENTED = {
    f"{_CREDENTIALS}PROVIDER": "static",
    f"{_CREDENTIALS}ACCESS_KEY_ID": "none",
    f"{_CREDENTIALS}ACCESS_KEY_SECRET": "none",
    "MODERATION__CALLBACKS__SECRET": "no secret at all",
}
_OF_KAFKA = {
    "MODERATION__KAFKA__SECURITY__SASL_PASSWORD": "none",
    "MODERATION__KAFKA__SECURITY__OAUTH_CLIENT_SECRET": "none",
}


def without_secrets(environ: Mapping[str, str], *, kafka: bool = False) -> dict[str, str]:
    """The environment with something in the place of each secret that nothing here needs.

    Args:
        environ: The environment, usually `os.environ`.
        kafka: Whether the brokers are connected to, so that their secrets are needed.
    """
    # A variable that names a file with the secret would contradict the secret itself.
    replaced = tuple(f"{name}_FILE" for name in (*_INVENTED, *_OF_KAFKA))
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_CREDENTIALS) and (name not in replaced or (kafka and "__KAFKA__" in name))
    }
    return {**kept, **_INVENTED} if kafka else {**kept, **_INVENTED, **_OF_KAFKA}
