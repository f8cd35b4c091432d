"""What tests of searches share."""

from typing import Any

import pytest

import tfhub_transfer as tt


@pytest.fixture(scope="session")
def splits(sentiment: Any) -> tuple[Any, Any]:
    """What is learned from, and judged by."""
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]
