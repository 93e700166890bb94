import atexit
import os
import shutil
import socket
import tempfile

import pytest

# Trackio reads the name of its folder when it is imported.
os.environ["TRACKIO_DIR"] = tempfile.mkdtemp()
atexit.register(shutil.rmtree, os.environ["TRACKIO_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def connect(_, address):
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
