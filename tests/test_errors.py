"""What a schema refuses is told in one sentence."""

from typing import Literal

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from phonotune.errors import invalid_value


class Inner(BaseModel):
    dtype: Literal["float16", "float32", "float64"] = "float64"
    names: list[str] = []


class Outer(BaseModel):
    epochs: int = 3
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _odd(self) -> "Outer":
        if self.epochs % 2 == 0:
            raise ValueError("epochs must be odd")
        return self


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epochs": "many"}, "epochs = 'many' is not allowed: it must be a valid integer."),
        (
            {"inner": {"dtype": "half"}},
            "inner.dtype = 'half' is not allowed: it must be 'float16', 'float32' or 'float64'.",
        ),
        ({"epochs": 2}, "epochs must be odd."),
        (
            {"inner": {"names": "x" * 500}},
            f"inner.names = '{'x' * 79} … is not allowed: it must be a valid list.",
        ),
    ],
)
def test_the_first_refused_value_is_named_with_what_is_allowed(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(given)
    assert invalid_value(raised.value) == sentence


def test_a_caller_says_what_the_user_calls_the_value() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate({"inner": {"dtype": 1}})
    told = invalid_value(raised.value, lambda path: "_".join(path).upper())
    assert told.startswith("INNER_DTYPE = 1 is not allowed")
