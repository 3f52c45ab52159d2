"""What all sections of the settings are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


__all__ = ["Name", "Seconds", "Secret", "Section"]


Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class Section(BaseModel):
    """What all sections share: unknown keys are errors, values do not change, and errors never repeat an input."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
