"""Data as libraries hold it that need not be installed."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest


def held(hf: Any, columns: dict[str, Any]) -> Any:
    """A data set of `datasets`, which wouldn't have to pickle anything."""
    pa = pytest.importorskip("pyarrow")
    return hf.Dataset(hf.table.InMemoryTable(pa.table(columns)), fingerprint="of a test")


def of_library(name: str, make: Callable[[Any], Any]) -> Any:
    """What a library makes of data; a test with it is skipped where it isn't installed."""

    def lazily() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(pytest.importorskip(name))

    return pytest.param(lazily, id=f"{name}-{make.__code__.co_firstlineno}")
