"""Optimizers beyond those of Keras, and what progressive unfreezing needs of any of them."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import keras
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.private import keras_optimizers, keras_training
from tfhub_transfer.private.keras_optimizers import Gradient, Rate, Weight

Given = TypeVar("Given")

# What an optimizer that scales losses keeps beside the state of the one inside.
_SCALE = ("step_counter", "dynamic_scale")


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Lars(keras.optimizers.SGD):
    """SGD with momentum and layer-wise adaptive rate scaling, for large batches.

    You, Gitman and Ginsburg 2017 (https://arxiv.org/abs/1708.03888): each weight matrix moves by
    `learning_rate * trust * |w| / (|g| + weight_decay * |w|)` times its gradient. Biases and
    normalisation scales, vectors all, move as in plain SGD. `keras.optimizers.Lamb` is the
    counterpart for Adam.

    Args:
        learning_rate: Rate, or schedule.
        momentum: Momentum, from 0 to below 1.
        trust: The trust coefficient, above 0.
        layer_weight_decay: L2 penalty of matrices inside the scaled step, at least 0.

    Example:

    >>> model = build_model("auto", task, optimizer=Lars(learning_rate=1.0))
    """

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        momentum: float = 0.9,
        trust: float = 0.001,
        layer_weight_decay: float = 1e-4,
        name: str = "lars",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.trust, self.layer_weight_decay = trust, layer_weight_decay

    def update_step(
        self, gradient: Gradient, variable: Weight, learning_rate: tf.Tensor | float
    ) -> None:
        if len(variable.shape) > 1:
            ops = keras.ops
            gradient, weights = ops.convert_to_tensor(gradient), ops.convert_to_tensor(variable)
            gradient = gradient + self.layer_weight_decay * weights
            weight_norm = ops.sqrt(ops.sum(ops.square(weights)))
            gradient_norm = ops.sqrt(ops.sum(ops.square(gradient)))
            ratio = self.trust * weight_norm / ops.maximum(gradient_norm, 1e-12)
            # A matrix of zeros has a ratio of 0, and would never move.
            gradient = gradient * ops.where(weight_norm > 0, ratio, 1.0)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, object]:
        config: dict[str, object] = {**super().get_config(), "trust": self.trust}
        config.pop("nesterov")
        return {**config, "layer_weight_decay": self.layer_weight_decay}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class AdamW(keras_optimizers.OpenAdamW):
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) in few passes.

    The numbers are those of `keras.optimizers.AdamW`, whose dozen operations on a variable each go
    once through memory; here TensorFlow's fused kernel does. Rows of an embedding table that a
    batch doesn't mention stay as they are, state and decay included (lazy Adam).

    Example:

    >>> model = build_model("auto", task, optimizer=AdamW(1e-4, weight_decay=0.01))
    """

    # One name, for the reason that `named` tells.
    def __init__(self, *args: Any, name: str = "adam_w", **kwargs: Any) -> None:
        super().__init__(*args, name=name, **kwargs)

    def update_step(
        self, gradient: Gradient, variable: Weight, learning_rate: tf.Tensor | float
    ) -> None:
        state = self.moments(variable)
        rate = tf.cast(learning_rate, variable.dtype)
        decay = rate * self.weight_decay if self.decays(variable) else None
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, (_resource(variable), *state), rate, decay)
        else:
            self._update_whole(gradient, (_resource(variable), *state), rate, decay)

    def _update_whole(
        self,
        gradient: tf.Tensor,
        variables: tuple[tf.Variable, tf.Variable, tf.Variable],
        rate: tf.Tensor,
        decay: tf.Tensor | None,
    ) -> None:
        weight, m, v = variables
        if decay is not None:  # before the step, as Keras does
            weight.assign(weight * (1.0 - decay))
        powers = self._powers(weight.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=powers[0],
            beta2_power=powers[1],
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def _update_rows(
        self,
        gradient: tf.IndexedSlices,
        variables: tuple[tf.Variable, tf.Variable, tf.Variable],
        rate: tf.Tensor,
        decay: tf.Tensor | None,
    ) -> None:
        weight, m, v = variables
        # A word that a batch has twice comes twice.
        rows, place = tf.unique(gradient.indices)
        g = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
        old_m, old_v, old = (tf.gather(x, rows) for x in (m, v, weight))
        new_m = old_m + (g - old_m) * (1.0 - self.beta_1)
        new_v = old_v + (tf.square(g) - old_v) * (1.0 - self.beta_2)
        powers = self._powers(weight.dtype)
        step = rate * tf.sqrt(1.0 - powers[1]) / (1.0 - powers[0])
        new = old if decay is None else old * (1.0 - decay)
        new -= step * new_m / (tf.sqrt(new_v) + self.epsilon)
        for variable, values in ((m, new_m), (v, new_v), (weight, new)):
            variable.scatter_update(tf.IndexedSlices(values, rows))

    def _powers(self, dtype: tf.DType) -> list[tf.Tensor]:
        # Keras counts a step when it is done; Adam's corrections begin with 1.
        step = tf.cast(self.iterations.value + 1, dtype)
        return [tf.pow(tf.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2)]

    def clipped(self, gradients: list[Gradient]) -> list[Gradient]:
        """As Keras clips, but by the norm of all also where a gradient is rows of a table."""
        if not self.global_clipnorm or self.clipnorm or self.clipvalue:
            return super().clipped(gradients)
        dense = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        # `l2_loss` is half of the sum of squares.
        norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(g) for g in dense]))
        scale = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
        return [
            tf.IndexedSlices(g.values * scale, g.indices, g.dense_shape)
            if isinstance(g, tf.IndexedSlices)
            else g * scale
            for g in gradients
        ]


def _resource(variable: Weight) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def get(identifier: str | Given) -> Given | keras.optimizers.Optimizer:
    """A Keras optimizer by its name, in any spelling of case, or the object itself.

    Args:
        identifier: A name such as `"adam"`, `"lamb"` or `"lars"`, an optimizer, or `None`.

    Raises:
        InputError: If Keras has no such optimizer.
    """
    if not isinstance(identifier, str):
        return identifier
    known = {
        name.lower(): value
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type)
        and issubclass(value, keras.optimizers.Optimizer)
        and value is not keras.optimizers.Optimizer
    }
    # Ours goes before Keras' own AdamW: the same numbers in fewer passes through memory.
    known |= {"lars": Lars, "adamw": AdamW}
    if identifier.lower() not in known:
        raise InputError(
            f"`optimizer` must be one of {', '.join(sorted(known))}. Received: {identifier!r}"
        )
    found = known[identifier.lower()]
    return found(name=named(found))


def named(optimizer: type[keras.optimizers.Optimizer]) -> str:
    """What all optimizers of a kind are called that are made here: as Keras calls the first.

    It counts the others, and their variables go by such names. TensorFlow keeps an operation for
    each name of a variable that was made eagerly, 36 kB, for good (tensorflow/tensorflow#42337):
    by that 14 MB for each training of all layers of BERT.

    Args:
        optimizer: The kind.
    """
    return keras_training.spelled(optimizer.__name__)


def rate(optimizer: keras.optimizers.Optimizer) -> Rate | None:
    """What an optimizer's learning rate is made of: a variable, a schedule, a function."""
    return keras_optimizers.rate(getattr(optimizer, "inner_optimizer", optimizer))


def alike(
    optimizer: keras.optimizers.Optimizer, learning_rate: float
) -> keras.optimizers.Optimizer:
    """Another optimizer of the same kind and settings, which has taken no step yet.

    Args:
        optimizer: The one.
        learning_rate: The rate of the other, a number that can be set anew.
    """
    inner, config = getattr(optimizer, "inner_optimizer", None), optimizer.get_config()
    if inner is not None:
        del config["inner_optimizer"]
        return type(optimizer)(alike(inner, learning_rate), **config)
    return type(optimizer).from_config({**config, "learning_rate": learning_rate})


def require(optimizer: object) -> None:
    """Refuses what can't train groups that thaw one after the other.

    Args:
        optimizer: What a model was compiled with.

    Raises:
        InputError: If there is none; or it is several in one, which Keras lets train only all that
            it was built with at once.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner is None or isinstance(inner, keras.optimizers.MultiOptimizer):
        raise InputError(
            "what thaws is trained by one optimizer of the model's; compile it with one, such as "
            "`keras.optimizers.AdamW(1e-4)`. "
            f"Received: {'none' if inner is None else type(inner).__name__}"
        )


def extend(model: keras.Model, variables: Iterable[keras.Variable]) -> None:
    """Makes the model's optimizer know more variables, keeping the state that it has.

    A Keras optimizer knows the variables that it was built with and refuses others, and the
    number of slots can't change under a traced train function. So all variables that will ever
    train must be known before the first step.

    Args:
        model: A compiled model.
        variables: Every variable that will ever train.
    """
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    _check_is_keras(inner)
    key_of = functools.partial(keras_optimizers.key_of, optimizer)
    known = keras_optimizers.known(optimizer) if optimizer.built else []
    wanted = {key_of(variable): variable for variable in [*known, *variables]}
    if optimizer.built and len(wanted) == len(known):
        return
    slots = keras_optimizers.slots(inner) if optimizer.built else {}
    scale = {name: getattr(optimizer, name, None) for name in _SCALE}
    for owner, old in [
        *((inner, v) for values in slots.values() for v in values if v is not None),
        *((optimizer, v) for v in scale.values() if v is not None),
    ]:
        keras_optimizers.forget(owner, old)
    # Keras' `build` does nothing where it was done.
    optimizer.built = inner.built = False
    # In the model's order, in which Keras will build the optimizer of a saved model again.
    place = {key_of(weight): at for at, weight in enumerate(model.weights)}
    # There replicas have copies of the state, as they have of the weights.
    with model.distribute_strategy.scope():
        optimizer.build([wanted[k] for k in sorted(wanted, key=lambda k: place.get(k, len(place)))])
    # Before the state comes back: averages that there were go on from where they stood.
    _average_each(inner)
    for name, values in slots.items():
        for variable, old in zip(known, values):
            if old is not None:
                index = keras_optimizers.place(inner, variable)
                getattr(inner, name)[index].assign(old)
    for name, old in scale.items():
        if old is not None:
            getattr(optimizer, name).assign(old)


def _average_each(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes moving averages of weights right where not all that are known train.

    At the end of `fit` Keras pairs the averages with the weights that train then, by place; and
    an average that begins after the first step would begin at 0.
    """
    if not optimizer.use_ema:
        return
    known, averages = keras_optimizers.known(optimizer), keras_optimizers.averages(optimizer)
    for variable, average in zip(known, averages):
        average.assign(variable)
    finalize = type(optimizer).finalize_variable_values

    def finalize_variable_values(variables: list[keras.Variable]) -> None:
        finalize(optimizer, keras_optimizers.known(optimizer))

    optimizer.finalize_variable_values = finalize_variable_values


def places(model: keras.Model) -> list[int] | None:
    """Which of the model's weights its optimizer knows, in the optimizer's order.

    Args:
        model: A compiled model.

    Returns:
        Places in `model.weights`; `None` if the optimizer isn't built, or knows others too.
    """
    optimizer = model.optimizer
    if not getattr(optimizer, "built", False):
        return None
    key_of = functools.partial(keras_optimizers.key_of, optimizer)
    place = {key_of(weight): at for at, weight in enumerate(model.weights)}
    keys = list(map(key_of, keras_optimizers.known(optimizer)))
    return [place[key] for key in keys] if place.keys() >= set(keys) else None


def build_on(model: keras.Model, known: object) -> None:
    """Builds a model's optimizer, a new one, on weights that `places` gave.

    Keras would build it on the weights that train now, and then finds no place for the state of
    those that trained before, or will: all state is lost. The order is the saved one, because
    state goes by it.

    Args:
        model: A compiled model.
        known: What `places` gave; out of a file, so it may be anything.

    Raises:
        InputError: If these aren't places in `model.weights`.
    """
    weights = model.weights
    if known is None:
        return
    # By `type`, for `True` is an `int` to `isinstance`.
    whole = isinstance(known, list) and all(type(place) is int for place in known)
    if not isinstance(known, list) or not whole or not _apart(known, len(weights)):
        raise InputError(
            f"the weights that an optimizer knows must be places among the model's {len(weights)}, "
            f"each once; the file is damaged. Received: {str(known)[:60]}"
        )
    optimizer = model.optimizer
    # As in `extend`.
    with model.distribute_strategy.scope():
        optimizer.build([weights[place] for place in known])
    _average_each(getattr(optimizer, "inner_optimizer", optimizer))


def _apart(places: list[int], count: int) -> bool:
    return all(0 <= place < count for place in places) and len(set(places)) == len(places)


class LayerRates:
    """Factors on the learning rates of single variables, in the steps that are announced.

    Through the update step, because Adam and its kin all but ignore the scale of a gradient. In
    any other step all factors are 1: nothing outlasts a run that was interrupted, of whose end
    nobody is told, nor does a step that was traced meanwhile.

    Args:
        optimizer: A Keras optimizer.
        rates: Variables with their factors; others keep 1.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        rates: Iterable[tuple[keras.Variable, float]],
    ) -> None:
        self._inner = inner = getattr(optimizer, "inner_optimizer", optimizer)
        self._key_of = functools.partial(keras_optimizers.key_of, inner)
        self._factors = {self._key_of(v): rate for v, rate in rates if rate != 1.0}
        # That of an interrupted run is still in place.
        self._plain = getattr(inner.update_step, "plain", inner.update_step)
        self._until: tf.Variable | None = None
        if self._factors:
            # A variable, because a step that was traced before reads it.
            self._until = tf.Variable(0, trainable=False, dtype="int64", name="announced")
            inner.update_step = self._scaled()
            inner.update_step.plain = self._plain

    def _scaled(self) -> Callable[[Gradient, Weight, tf.Tensor | float], None]:
        plain, until, factors, inner = self._plain, self._until, self._factors, self._inner
        key_of = self._key_of

        def update_step(
            gradient: Gradient, variable: Weight, learning_rate: tf.Tensor | float
        ) -> None:
            factor = factors.get(key_of(variable), 1.0)
            announced = keras_optimizers.steps(inner) < until
            # A function may give a plain number.
            learning_rate = tf.convert_to_tensor(learning_rate)
            scale = tf.where(announced, tf.cast(factor, learning_rate.dtype), 1.0)
            plain(gradient, variable, learning_rate * scale)

        return update_step

    def announce(self, steps: int = 1) -> None:
        """Lets the factors hold in the next steps."""
        if self._until is not None:
            self._until.assign(keras_optimizers.steps(self._inner) + steps)

    def remove(self) -> None:
        """Takes the factors back."""
        if self._until is not None:
            # A step that was traced meanwhile still reads it, and scales nothing then.
            self._until.assign(0)
            self._inner.update_step = self._plain


def _check_is_keras(optimizer: object) -> None:
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"expected a Keras 3 optimizer. Received: {type(optimizer).__name__}")
