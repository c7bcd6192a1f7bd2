"""Waiting for processes."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tabcf.run.children import as_done


def test_futures_come_as_they_are_done() -> None:
    first, second = Future[int](), Future[int]()
    second.set_result(2)
    found = as_done([first, second])
    assert next(found) is second
    first.set_exception(ValueError("no"))
    assert next(found) is first
    assert list(found) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to a thread there")
def test_ctrl_c_is_heard_whichever_thread_is_told() -> None:
    is_over = threading.Event()

    def interrupted() -> None:
        is_over.wait(0.3)  # by when the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        is_over.wait(10)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(interrupted)
        waited = as_done([future])
        with pytest.raises(KeyboardInterrupt):
            next(waited)
        assert not future.done()
        is_over.set()
