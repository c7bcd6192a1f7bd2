"""What the tests' own guard against the network lets through."""

from __future__ import annotations

import socket

import pytest


def test_an_unmarked_test_cannot_reach_another_machine() -> None:
    with (
        socket.socket() as client,
        pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1: this test is not marked"),
    ):
        client.connect(("192.0.2.1", 80))


def test_an_unmarked_test_can_reach_its_own_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert client.getpeername()[1] == port
