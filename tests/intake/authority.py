"""An authority for tests of TLS: what servers show and whom they trust, and clients' certificates and keys in files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trustme


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["Authority"]


class Authority:
    """Signs certificates; what is written goes below `directory`, its own certificate as `ca_file`."""

    def __init__(self, directory: Path, name: str = "ours") -> None:
        self._ca = trustme.CA(organization_name=name)
        self._directory = directory
        self._name = name
        self.ca_file = str(directory / f"{name}-ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def serving(
        self, name: str = "localhost", *, days: float = 100, clients_by: Authority | None = None
    ) -> ssl.SSLContext:
        """What a server of this name shows; with `clients_by` it lets in nobody without a certificate of that one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=days)).configure_cert(context)
        if clients_by is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients_by.ca_file)
        return context

    def identity(self, *, days: float = 100) -> dict[str, str]:
        """A client's certificate and key, as the settings that name their files."""
        made = self._ca.issue_cert("moderation.client", not_after=datetime.now(UTC) + timedelta(days=days))
        files = {key: self._directory / f"{self._name}-{key}.pem" for key in ("certificate_file", "key_file")}
        files["certificate_file"].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        files["key_file"].write_bytes(made.private_key_pem.bytes())
        return {key: str(path) for key, path in files.items()}
