"""The operations the simulator knows, by the name in header x-acs-action; any other is InvalidAction.NotFound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.simulator.operations import image, text


if TYPE_CHECKING:
    from consumer.simulator.operations.operation import Operation


__all__ = ["OPERATIONS"]


OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in (text.OPERATION, image.OPERATION)}
