"""The report's first connector, as reconstructed: one cross attention and one linear map."""

from tests.parity import connector
from tests.parity.case import Case


def check(case: Case) -> None:
    """Every intermediate, and gradients of weights and inputs."""
    connector.check_structure(case, "one_linear")
