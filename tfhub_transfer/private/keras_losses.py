"""What Keras' models know of their losses, and say in no public way."""

import keras


def mean_of_batches(model: keras.Model) -> keras.metrics.Metric:
    """The metric that a model tells the loss of each batch, with its number of rows.

    `Model._loss_tracker`, with Keras 3.15.1; `Model.metrics` has it among others.
    """
    tracker: keras.metrics.Metric = model._loss_tracker
    return tracker
