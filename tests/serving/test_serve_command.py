import socket

import pytest

pytest.importorskip("fastapi")

from hilight_jax import serve
from hilight_jax.core.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--slots", "0"], "--slots is 0, but must be at least 1"),
        (["--port", "99999"], "--port is 99999, but must be 0"),
        (["--port", "-5"], "--port is -5"),
        (["--grace", "-1"], "--grace is -1"),
        (["--host", "999.1.1.1", "--port", "0"], "cannot listen on 999.1.1.1:0"),
        (["--allow_host", "http://x/y"], "--allow_host is 'http://x/y', but must be HOST or HOST:PORT"),
        (["--allow_origin", "app.example.com"], "--allow_origin is 'app.example.com', but must be as https://"),
        (["--port", "0"], "'nowhere'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        serve.main(["--checkpoint", "nowhere", *arguments])


def test_an_address_that_is_taken_is_said_at_once():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match="cannot listen on 127.0.0.1:.* already in use"):
            serve.main(["--checkpoint", "nowhere", "--port", str(other.getsockname()[1])])


@pytest.mark.parametrize("given", ["", " ", ",", " , "])
def test_a_variable_without_a_key_is_refused(monkeypatch, given):
    monkeypatch.setenv(serve.KEYS, given)
    with pytest.raises(UserError, match="is set, but holds no key"):
        serve.main(["--checkpoint", "nowhere", "--port", "0"])


def test_spaces_around_keys_are_none_of_them(monkeypatch):
    monkeypatch.setenv(serve.KEYS, " one, two ,")
    assert serve.read_keys() == ("one", "two")
