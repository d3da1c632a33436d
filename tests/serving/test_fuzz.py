"""Random requests made from the server's own description of itself; HILIGHT_FUZZ_REQUESTS says how many."""

import json
import os

import pytest

pytest.importorskip("fastapi")
schemathesis = pytest.importorskip("schemathesis", reason="random requests need schemathesis")
hypothesis = pytest.importorskip("hypothesis")

from tests.serving.server import served, small_run  # noqa: E402

pytestmark = pytest.mark.slow
REQUESTS = int(os.environ.get("HILIGHT_FUZZ_REQUESTS", "2000"))


def test_random_bodies_never_break_the_server(tmp_path):
    with served(small_run(tmp_path / "run")) as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) >= 12
        seen: dict[int, int] = {}
        for operation in operations:
            count = REQUESTS // len([one for one in operations if one.body]) if operation.body else 10

            @hypothesis.given(case=operation.as_strategy())
            @hypothesis.settings(
                max_examples=max(count, 10),
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                derandomize=True,
            )
            def send(case):
                body = case.body if isinstance(case.body, (dict, list)) else None
                if isinstance(body, dict):
                    # Another model's name would be refused before anything else is looked at.
                    body = {**body, "model": "", "max_tokens": 1, "max_completion_tokens": None, "stream": False}
                response = client.request(
                    case.method,
                    case.formatted_path,
                    content=json.dumps(body, default=str).encode() if body is not None else None,
                    headers={"content-type": "application/json"},
                )
                seen[response.status_code] = seen.get(response.status_code, 0) + 1
                assert response.status_code < 500, (case.method, case.formatted_path, body, response.text)
                if response.status_code >= 400 and case.method != "HEAD":
                    assert response.json()["error"]["message"].endswith(".")

            send()
        assert client.get("/health").status_code == 200
        assert client.engine.alive and client.engine.num_running == 0
        assert seen.get(200, 0) > 10 and sum(count for status, count in seen.items() if status >= 400) > 10
