"""The page of claims: each with its comparisons, their intervals and a verdict, from the published tables of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from hilight_jax.benchmarks.claims import Difference, Verdict, compare, verdict
from hilight_jax.benchmarks.report_claims import Claim
