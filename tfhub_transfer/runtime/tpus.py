"""TPUs, of which there is one on a Cloud TPU VM."""

import functools
import os

import tensorflow as tf

from tfhub_transfer.errors import InputError, one_line

_MOST_REASON = 120


@functools.cache  # a TPU that is made ready again forgets what it holds
def strategy() -> tf.distribute.Strategy:
    """That of the TPU of this machine, or the one that `TPU_NAME` names.

    Raises:
        InputError: If none answers.
    """
    name = os.environ.get("TPU_NAME", "local")
    try:
        found = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(found)
        tf.tpu.experimental.initialize_tpu_system(found)
        return tf.distribute.TPUStrategy(found)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        reason = one_line(str(error), _MOST_REASON)
        raise InputError(
            "the strategy tpu is for a Cloud TPU VM, with TensorFlow 2.20, the last one with TPUs: "
            'there, `pip install "tfhub-transfer[tpu]"`, and behind it `pip install '
            '--force-reinstall --no-deps "tensorflow-tpu==2.20.*"`; elsewhere leave the strategy '
            f"out. Received: TensorFlow {tf.__version__}, and no TPU that answers ({reason})"
        ) from error
