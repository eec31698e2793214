"""Elastic constants of one crystal by one evaluator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import PropertyDocument
from phonotune.units import GPa

Row6 = tuple[GPa, GPa, GPa, GPa, GPa, GPa]
Tensor6 = tuple[Row6, Row6, Row6, Row6, Row6, Row6]
"""Voigt matrix, order xx yy zz yz xz xy, GPa."""


class ElasticDocument(PropertyDocument):
    """Elastic tensor with relaxed ions, and its Voigt-Reuss-Hill averages."""

    kind: Literal["elastic"] = "elastic"
    n_strains: int
    elastic_tensor: Tensor6 = Field(description="relaxed ions")
    clamped_tensor: Tensor6 = Field(description="clamped ions")
    bulk_modulus_voigt: GPa
    bulk_modulus_reuss: GPa
    bulk_modulus: GPa = Field(description="Hill average")
    shear_modulus_voigt: GPa
    shear_modulus_reuss: GPa
    shear_modulus: GPa = Field(description="Hill average")
    residual_pressure: GPa = Field(description="pressure of the evaluator at the given cell")
    born_stable: bool = Field(description="all eigenvalues of the tensor are positive")
    internal_instability: bool = Field(
        description="a Γ mode without restoring force couples to strain: the tensor is that of a saddle"
    )
