"""What holds for every test: no network unless marked for it, no plugins, no time limits."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import settings

# A worker that shares its core with others would break hypothesis' limit of 200 ms at random.
settings.register_profile("tabcf", deadline=None)
settings.load_profile("tabcf")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a test without the mark `network` connects to another machine."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def connect_nearby(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in _LOOPBACK:
            pytest.fail(f"{address[0]}: this test is not marked with @pytest.mark.network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_nearby)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture(autouse=True)
def _no_installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out whatever plugins are installed; a test that needs them deletes the variable."""
    monkeypatch.setenv("TABCF_PLUGINS", "")
