"""A callback for any `keras.Model.fit`: thaws encoders group by group."""

from collections.abc import Mapping
from typing import Any

import keras

from tfhub_transfer.callbacks import best_weights
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.private import keras_layers


class ProgressiveUnfreezing(keras.callbacks.Callback):
    """Thaws a model's encoders group by group from the top while `fit` runs.

    Gradual unfreezing of Howard and Ruder 2018 (ULMFiT, https://arxiv.org/abs/1801.06146). The
    optimizer learns beforehand of every variable that will ever train, so its state is kept;
    frozen weights stay identical to the last bit. Works with `keras.Model.fit` of any model that
    holds an `Encoder`; in one that isn't built yet, which the first batch builds, from the second
    batch on.

    Args:
        start_epoch: Epoch, counted from 0, at whose start the top group thaws.
        epochs_per_group: Epochs from one group to the next; may be a fraction.
        num_groups: How many groups thaw in all; every group if not given.
        monitor: If given, such as `"val_loss"`, the next group thaws not by time but when this
            value hasn't improved for `patience` epochs (from `start_epoch` on).
        mode: `"min"` or `"max"`: which way `monitor` improves; `"auto"` tells by its name.
        patience: Epochs without improvement before the next group thaws.
        layer_decay: Factor on the learning rate for each group further down, above 0 up to 1.

    Attributes:
        head_factor: Factor on the learning rate of all that isn't the encoder's; 1 unless set
            before training.

    Raises:
        InputError: If an argument is out of range, or the model holds no `Encoder`, or no optimizer
            that can train so.

    Example:

    >>> history = model.fit(
    ...     model.preprocess(train, batch_size=32),
    ...     epochs=5,
    ...     callbacks=[ProgressiveUnfreezing(start_epoch=1, epochs_per_group=1, num_groups=4)],
    ... )
    """

    def __init__(
        self,
        start_epoch: int = 1,
        epochs_per_group: float = 1,
        num_groups: int | None = None,
        monitor: str | None = None,
        mode: str = "auto",
        patience: int = 1,
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        most = ranges.EPOCHS[1]
        self.start_epoch = ranges.whole_number("start_epoch", start_epoch, 0, most)
        pace = ranges.real_number("epochs_per_group", epochs_per_group, 0.0, most)
        self.epochs_per_group = pace
        self.patience = ranges.whole_number("patience", patience, 1, most)
        if num_groups is not None:
            num_groups = ranges.whole_number("num_groups", num_groups, *ranges.LAYERS)
        self.layer_decay = ranges.real_number("layer_decay", layer_decay, 0.0, 1.0)
        self.head_factor = 1.0
        self.num_groups, self.monitor = num_groups, monitor
        self.mode = best_weights.direction(mode, monitor)
        self.thawed_at: list[tuple[float, int]] = []

    def set_model(self, model: keras.Model) -> None:
        """As Keras does; from here on the optimizer knows all that will train.

        Before any callback begins: one that restores an optimizer's state needs a place for it.
        """
        super().set_model(model)
        if self._is_whole():
            self._prepare()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        # -1 groups, not 0: that none is thawed has to be set, too.
        self._thawed, self._waited, self._epoch, self._limit = -1, 0, 0, 0
        self._best: float | None = None
        self._layer_rates: optimizers.LayerRates | None = None
        self.thawed_at = []
        optimizers.require(getattr(self.model, "optimizer", None))
        if not self._begin():
            # The first batch, which builds the model, trains nothing of them.
            for encoder in self._find_encoders():
                encoder.trainable = False

    def _find_encoders(self) -> list[Encoder]:
        return [each for each in keras_layers.layers_of(self.model) if isinstance(each, Encoder)]

    def _begin(self) -> bool:
        """Gets to work as soon as the model has all its weights; whether it has."""
        if self._layer_rates is not None:
            return True
        if not self._is_whole():
            return False
        self._prepare()
        self._layer_rates = optimizers.LayerRates(self.model.optimizer, self._rates())
        for encoder in self._encoders:
            encoder.freeze_to(-min(self._limit, len(encoder.layer_groups)))
        return True

    def _is_whole(self) -> bool:
        """Whether the model has all its weights, and an optimizer to train them."""
        model = self.model
        optimizer = getattr(model, "optimizer", None)
        whole = all(layer.built for layer in keras_layers.layers_of(model))
        # A layer that is never called is never built.
        return optimizer is not None and model.built and (whole or optimizer.built)

    def _check_limit(self, groups: int) -> int:
        if self.num_groups is not None and self.num_groups > groups:
            raise InputError(
                f"the encoder has {groups} layer groups; give `num_groups` up to {groups}. "
                f"Received: {self.num_groups}"
            )
        return self.num_groups or groups

    def _prepare(self) -> None:
        """Tells the optimizer of all variables to come, before the first step; freezes nothing."""
        optimizers.require(self.model.optimizer)
        self._encoders = self._find_encoders()
        if not self._encoders:
            raise InputError(
                "the model holds no `tfhub_transfer.Encoder`, so nothing can thaw; leave the "
                f"callback out. Received: {self.model.name}"
            )
        self._limit = self._check_limit(max(len(e.layer_groups) for e in self._encoders))
        tops = [v for e in self._encoders for _, vs in e.layer_groups[-self._limit :] for v in vs]
        optimizers.extend(self.model, [*self.model.trainable_variables, *tops])

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch
        if not self._begin():
            return
        if self.monitor is None:
            # What goes on within an epoch has thawed more than is due when that begins.
            self._thaw(max(self._due(epoch), self._thawed))
        elif self._thawed < 0:
            self._thaw(1 if epoch >= self.start_epoch else 0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._layer_rates is None:
            # What this epoch begins with couldn't be done yet: the model wasn't whole.
            self.on_epoch_begin(self._epoch)
        if not self._begin():
            return
        assert self._layer_rates is not None
        # Keras calls this once for several steps.
        self._layer_rates.announce(self.model.steps_per_execution)
        steps = (self.params or {}).get("steps")
        if self.monitor is None and steps and self._thawed < self._limit:
            self._thaw(max(self._due(self._epoch + batch / steps), self._thawed))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.monitor is None:
            return
        value = (logs or {}).get(self.monitor)
        if value is None:
            raise InputError(
                f"`monitor` must name a value that training reports; expected one of "
                f"{', '.join(sorted(logs or {}))}. Received: {self.monitor!r}"
            )
        if best_weights.is_better(value, self._best, self.mode):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if not self._begin():
            return
        if self._thawed <= 0 and epoch + 1 >= self.start_epoch:
            # What was waited while nothing was thawed doesn't count for the next group.
            self._waited = 0
            self._thaw(1)
        elif self._waited >= self.patience and self._thawed < self._limit:
            self._waited = 0
            self._thaw(self._thawed + 1)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._layer_rates is not None:
            self._layer_rates.remove()

    def state(self) -> dict[str, object]:
        """How far it is, as JSON can say it, for `go_on`."""
        best = None if self._best is None else float(self._best)
        found = {"thawed": self._thawed, "waited": self._waited, "best": best}
        return {**found, "thawed_at": [list(each) for each in self.thawed_at]}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Thaws what another had thawed, in a training that has begun.

        Args:
            state: What `state` gave.
        """
        self._waited, self._best = state["waited"], state["best"]
        if state["thawed"] >= 0 and self._begin():
            self._thaw(state["thawed"])
        self.thawed_at = [(at, count) for at, count in state["thawed_at"]]

    def _due(self, position: float) -> int:
        if position < self.start_epoch:
            return 0
        if not self.epochs_per_group:
            return self._limit
        passed = (position - self.start_epoch) / self.epochs_per_group
        # Three times an `epochs_per_group` of 0.1 are 2.9999999999999996 groups.
        return min(self._limit, int(passed + 1e-6) + 1)

    def _thaw(self, count: int) -> None:
        if count == self._thawed:
            return
        for encoder in self._encoders:
            groups = len(encoder.layer_groups)
            encoder.freeze_to(groups - min(count, groups))
        if count > 0:
            self.thawed_at.append((float(self._epoch), count))
        self._thawed = count
        # A traced train function keeps training the variables that it was traced with.
        self.model.make_train_function(force=True)

    def _rates(self) -> list[tuple[keras.Variable, float]]:
        inside = {id(each) for encoder in self._encoders for each in encoder.weights}
        others = [each for each in self.model.trainable_variables if id(each) not in inside]
        return [(variable, self.head_factor) for variable in others] + [
            (variable, self.layer_decay**depth)
            for encoder in self._encoders
            for depth, (_, variables) in enumerate(reversed(encoder.layer_groups))
            for variable in variables
        ]
