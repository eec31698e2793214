"""Elastic constants of one crystal by one evaluator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phonotune.schemas.base import PropertyDocument
from phonotune.units import Dimensionless, GPa, PerTeraPascal

Row6 = tuple[GPa, GPa, GPa, GPa, GPa, GPa]
Tensor6 = tuple[Row6, Row6, Row6, Row6, Row6, Row6]
"""Voigt matrix, order xx yy zz yz xz xy, GPa."""
ComplianceRow6 = tuple[
    PerTeraPascal, PerTeraPascal, PerTeraPascal, PerTeraPascal, PerTeraPascal, PerTeraPascal
]
Compliance6 = tuple[
    ComplianceRow6, ComplianceRow6, ComplianceRow6, ComplianceRow6, ComplianceRow6, ComplianceRow6
]
"""Inverse of the Voigt matrix: shear strains are engineering strains (doubled), 1/TPa."""


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
    compliance_tensor: Compliance6 | None = Field(
        default=None, description="relaxed ions; None only in documents of older versions"
    )
    young_modulus: GPa | None = Field(
        default=None, description="9 B G / (3 B + G) of the Hill averages; None if not Born stable"
    )
    poisson_ratio: Dimensionless | None = Field(
        default=None, description="of the Hill averages; None if not Born stable"
    )
    universal_anisotropy: Dimensionless | None = Field(
        default=None,
        description="5 G_V / G_R + B_V / B_R - 6, zero where isotropic (Ranganathan and "
        "Ostoja-Starzewski, PRL 101, 055504 (2008)); None if not Born stable",
    )
    residual_pressure: GPa = Field(description="pressure of the evaluator at the given cell")
    born_stable: bool = Field(description="all eigenvalues of the tensor are positive")
    internal_instability: bool = Field(
        description="a Γ mode without restoring force couples to strain: the tensor is that of a saddle"
    )
