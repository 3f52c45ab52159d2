"""The operations the simulator knows, by the name in header x-acs-action; any other is InvalidAction.NotFound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.simulator.operations import image, multimodal, result, text, upload_token


if TYPE_CHECKING:
    from consumer.simulator.operations.operation import Operation


__all__ = ["OPERATIONS"]


OPERATIONS: dict[str, Operation] = {
    module.OPERATION.name: module.OPERATION for module in (text, image, multimodal, result, upload_token)
}
