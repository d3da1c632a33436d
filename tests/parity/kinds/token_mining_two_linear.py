"""The report's second connector, as reconstructed: one cross attention and two linear maps."""

from tests.parity import connector
from tests.parity.case import Case


def check(case: Case) -> None:
    """Every intermediate, and gradients of weights and inputs."""
    connector.check_structure(case, "two_linear")
