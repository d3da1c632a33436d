"""The released connector (``UniLMProjectors``), raw reinterpretation of the expanded frame features included."""

from tests.parity import connector
from tests.parity.case import Case


def check(case: Case) -> None:
    """Every intermediate, and gradients of weights and inputs."""
    connector.check_structure(case, "dual_projector")
