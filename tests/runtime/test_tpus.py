"""Where there is no TPU."""

import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError


@pytest.mark.parametrize(
    "error", [tf.errors.NotFoundError(None, None, "no TPU"), ValueError("no TPU")]
)
def test_it_is_told_what_to_install_and_where(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise error

    # What the real one does is nothing to be undone.
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", fail)
    with pytest.raises(InputError) as caught:
        tt.runtime.strategy("tpu")
    said = str(caught.value)
    assert "Cloud TPU VM" in said and 'pip install "tfhub-transfer[tpu]"' in said
    assert 'pip install --force-reinstall --no-deps "tensorflow-tpu==2.20.*"' in said
    assert f"Received: TensorFlow {tf.__version__}" in said and "(no TPU)" in said
