"""Parts computed side by side: in order, few at a time, one thread each, and stopped by the first error."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest
import torch

from headstart import runtime
from headstart.features.spread import made, spread


def parts(count, taken=None):
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield np.array([number]), partial(int, number)


def slow_at_first(part):
    number = made(part)[1]
    time.sleep(0.02 if number == 0 else 0)
    return number


def test_results_come_in_the_order_of_the_parts():
    assert list(spread(slow_at_first, parts(20))) == list(range(20))
    assert list(spread(slow_at_first, parts(0))) == []


def test_a_few_parts_are_begun_before_the_first_is_asked_for_and_no_more(monkeypatch):
    monkeypatch.setattr(runtime, "thread_count", lambda: 3)
    taken: list[int] = []
    results = spread(slow_at_first, parts(1000, taken))
    next(results)
    assert len(taken) == 4
    results.close()
    assert len(taken) == 4


def test_each_part_has_one_thread_of_torch_and_the_others_are_given_back(monkeypatch):
    monkeypatch.setattr(runtime, "thread_count", lambda: 2)
    torch.set_num_threads(2)
    assert set(spread(lambda _: torch.get_num_threads(), parts(8))) == {1}
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [2, 2]


def test_an_error_in_a_part_is_raised_where_its_result_was_due():
    def fails(part):
        number = made(part)[1]
        if number == 2:
            raise ValueError("two")
        return number

    results = spread(fails, parts(9))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
