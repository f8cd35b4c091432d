"""What a search looks through: each setting, its default, its usual values, when it matters."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import BLOCKS, POOLINGS, Head
from tfhub_transfer.incoming import choices, ranges, usual
from tfhub_transfer.models.building import OPTIMIZERS
from tfhub_transfer.optimization import planning
from tfhub_transfer.tasks import Task
from tfhub_transfer.training.stages import Plan
from tfhub_transfer.training.unfreezing import groups_to_thaw

Value: TypeAlias = int | float | str

# What the encoder is called among the settings.
ENCODER = "encoder"
# Epochs of a thawed encoder by which "as many as the rows need" goes, which no number is.
AS_NEEDED = 0
# What a setting is given as to search it where its usual values are.
SEARCH = "search"
SETTINGS = (
    *("unfreeze", "optimizer", "learning_rate", "warmup", "layer_decay", "epochs", "batch_size"),
    *("pooling", "block", "hidden_units", "dropout", "l2", "head_learning_rate"),
    *("towers", "label_smoothing", "decoder_layers", "loss", "encoder"),
)
# What is searched unless something else is said: what moves most, for few trials are all there are.
SEARCHED = (
    *("unfreeze", "learning_rate", "layer_decay", "batch_size"),
    *("pooling", "hidden_units", "dropout", "head_learning_rate", "towers"),
)
# What a setting is that is either so or not.
NO, YES = "no", "yes"
# Of a rate, times the default: as wide as Devlin et al. 2019 and Clark et al. 2020 tried, and more.
_RATE = (0.1, 5.0)
_HEAD_RATE = (0.1, 4.0)
# More values than that are no longer tried one by one.
_MOST_VALUES = 1000
_DIGITS = 12  # of what steps add up to


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from one to another, both included.

    Args:
        low: The smallest.
        high: The largest.
        log: Whether each power of ten is as likely, as suits rates.
        step: The distance between two of them; any number in between if not given.

    Raises:
        InputError: If there is no such range.

    Example:

    >>> Range(1e-5, 1e-3, log=True)
    Range(low=1e-05, high=0.001, log=True, step=None)
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        low, high = (
            ranges.real_number(name, getattr(self, name), -ranges.MOST, ranges.MOST)
            for name in ("low", "high")
        )
        given = ranges.given(ranges.real_number, "step", self.step, 0.0, ranges.MOST)
        log = choices.flag("log", self.log)
        if low >= high or (log and low <= 0):
            above = ", both above 0" if log else ""
            raise InputError(
                f"a range goes from a number to a larger one{above}. Received: {low:g} to {high:g}"
            )
        if log and given is not None:
            raise InputError(
                "a range has equal steps, or each power of ten as likely; give one of `step` and "
                f"`log`. Received: {self}"
            )
        if given is not None and (high - low) / given >= _MOST_VALUES:
            raise InputError(
                f"a step gives up to {_MOST_VALUES} values; make it larger. Received: {self}"
            )
        for name, value in (("low", low), ("high", high), ("step", given), ("log", log)):
            object.__setattr__(self, name, value)

    def stepped(self) -> list[float]:
        """Its values, one by one, where it has a step."""
        assert self.step is not None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return [round(self.low + at * self.step, _DIGITS) for at in range(count)]


Values: TypeAlias = Sequence[Value] | Range


@dataclasses.dataclass(frozen=True)
class Setting:
    """Something that a search may choose.

    Attributes:
        name: What it is called.
        default: What the library itself would take.
        usual: What is searched unless something else is said.
        read: Makes a value of what a user gives, or refuses it.
        whole: Whether it is a whole number.
        thawed: Whether it matters for a thawed encoder alone.
    """

    name: str
    default: Value
    usual: Values
    read: Callable[[object], Value]
    whole: bool = False
    thawed: bool = True


def known_settings(
    encoder: Encoder, task: Task, head: Head | Mapping[str, Head] | None, plan: Plan
) -> dict[str, Setting]:
    """The settings that an encoder and a task have, by name.

    Ranges are around the defaults; what is usual follows Devlin et al. 2019
    (https://arxiv.org/abs/1810.04805: rates, batches, few epochs, dropout of 0.1), Howard and Ruder
    2018 (https://arxiv.org/abs/1801.06146: thawing from the top), Clark et al. 2020
    (https://arxiv.org/abs/2003.10555: a rate that falls with depth), Liu et al. 2019
    (https://arxiv.org/abs/1907.11692: a warm-up of 0.06), Mosbach et al. 2021
    (https://arxiv.org/abs/2006.04884: a warm-up of 0.1, more epochs of few rows), You et al. 2020
    (https://arxiv.org/abs/1904.00962: LAMB), Srivastava et al. 2014
    (https://jmlr.org/papers/v15/srivastava14a.html: dropout up to 0.5), Szegedy et al. 2016
    (https://arxiv.org/abs/1512.00567: label smoothing of 0.1), Reimers and Gurevych 2019
    (https://arxiv.org/abs/1908.10084: the mean or the first token, texts of a pair apart). What a
    head on a frozen encoder has (hidden units, L2, its rate) is as our own measurements have it, in
    `benchmarks/`.

    Args:
        encoder: The encoder.
        task: The task, or several in one.
        head: What the library takes for each setting of the head; likewise `plan`.
        plan: The finer settings of training.
    """
    heads = list(head.values()) if isinstance(head, Mapping) else [head or Head()]
    found = [*_thawing(encoder, task, plan), *_heads(encoder, task, heads[0] if heads else Head())]
    if _has_head(task):
        rate, _ = planning.head_rate(task, plan.head_learning_rate)
        found.append(_real("head_learning_rate", rate, _around(rate, _HEAD_RATE), *_RATES))
    smoothed = [each for each in task.parts.values() if hasattr(each, "label_smoothing")]
    if smoothed:
        read = functools.partial(_share, "label_smoothing")
        default = float(smoothed[0].label_smoothing)
        found.append(Setting("label_smoothing", default, (0.0, 0.05, 0.1, 0.2), read, thawed=False))
    layered = [each for each in task.parts.values() if hasattr(each, "decoder_layers")]
    if layered:
        layers = int(layered[0].decoder_layers)
        most = ranges.DECODER_LAYERS
        found.append(_whole("decoder_layers", layers, (1, 2, 3), *most, thawed=False))
    if len(task.losses) > 1:
        found.append(_named("loss", task.losses[0], task.losses, task.losses, thawed=False))
    return {each.name: each for each in found}


_RATES = ranges.LEARNING_RATE


def _thawing(encoder: Encoder, task: Task, plan: Plan) -> list[Setting]:
    """What matters once the encoder thaws, and how far it does."""
    top = groups_to_thaw(encoder, "auto")
    depths = sorted({0, 1, 2, max(1, top // 2), top} & {*range(top + 1)})
    rate = plan.learning_rate or planning.usual_rate(encoder, [*task.parts.values()])[0]
    return [
        Setting("unfreeze", top, depths, functools.partial(groups_to_thaw, encoder), True, False),
        _named("optimizer", OPTIMIZERS[0], ("adamw", "lamb"), OPTIMIZERS),
        _real("learning_rate", rate, _around(rate, _RATE), *_RATES, thawed=True),
        Setting("warmup", usual.WARMUP, (0.0, 0.06, 0.1, 0.2), functools.partial(_share, "warmup")),
        _real(
            *("layer_decay", plan.layer_decay, (0.6, 0.7, 0.8, 0.9, 1.0), 0.0, 1.0),
            thawed=True,
        ),
        _whole("epochs", AS_NEEDED, (AS_NEEDED, 2, 4, 8, 16), AS_NEEDED, ranges.EPOCHS[1]),
        _whole("batch_size", usual.BATCH_SIZE, (16, 32, 64), *ranges.BATCH_SIZE),
    ]


def _heads(encoder: Encoder, task: Task, head: Head) -> list[Setting]:
    """What stands between the encoder and the answer."""
    heeded = {name for each in task.parts.values() for name in each.head_settings}
    found = []
    if encoder.dialect != "text":  # which has vectors of texts alone
        if not task.needs_tokens:
            usual_ones = ("auto", "mean", "first")
            found.append(_named("pooling", head.pooling, usual_ones, POOLINGS, thawed=False))
        if _has_head(task):
            found.append(_named("block", head.block, BLOCKS, BLOCKS, thawed=False))
        if task.one_row and task.pair:
            found.append(_towers(head.towers))
    if _has_head(task):
        units = (0, 64, 256)
        share = functools.partial(_share, "dropout")
        found += [
            _whole("hidden_units", head.hidden_units, units, 0, ranges.SIZE[1], thawed=False),
            Setting("dropout", head.dropout, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5), share, thawed=False),
            _real("l2", head.l2, (0.0, 1e-5, 1e-4, 1e-3), *ranges.WEIGHT, closed=True),
        ]
    return [each for each in found if each.name in heeded or each.name == "towers"]


def _towers(asked: bool) -> Setting:
    """Whether texts of a pair pass the encoder apart, which a frozen one compares best."""

    def read(value: object) -> str:
        if isinstance(value, str):
            choices.one_of("towers", value, (NO, YES))
            return value
        return YES if choices.flag("towers", value) else NO

    # Who asked for it knows why.
    usual_ones = (YES,) if asked else (NO, YES)
    return Setting("towers", YES if asked else NO, usual_ones, read, thawed=False)


def _has_head(task: Task) -> bool:
    return any(each.has_head for each in task.parts.values())


def _around(default: float, times: tuple[float, float]) -> Range:
    return Range(default * times[0], default * times[1], log=True)


def _share(name: str, value: object) -> float:
    return ranges.real_number(name, value, 0.0, ranges.BELOW_ONE, closed=True)


def _real(
    name: str,
    default: float,
    usual_ones: Values,
    above: float,
    most: float,
    closed: bool = False,
    thawed: bool = False,
) -> Setting:
    def read(value: object) -> float:
        return ranges.real_number(name, value, above, most, closed)

    return Setting(name, default, usual_ones, read, thawed=thawed)


def _whole(
    name: str, default: int, usual_ones: Values, least: int, most: int, thawed: bool = True
) -> Setting:
    def read(value: object) -> int:
        return ranges.whole_number(name, value, least, most)

    return Setting(name, default, usual_ones, read, whole=True, thawed=thawed)


def _named(
    name: str, default: str, usual_ones: Values, known: Sequence[str], thawed: bool = True
) -> Setting:
    def read(value: object) -> str:
        choices.one_of(name, str(value), tuple(known))
        return str(value)

    return Setting(name, default, usual_ones, read, thawed=thawed)


class Space:
    """What is searched, and what is fixed.

    Args:
        known: The settings that there are, by name.
        given: What a user says of some: a value, a list of values, a `Range`, or `"search"`. The
            others of `SEARCHED` are searched, the rest is as the library has it.

        suffix: Of the names that KerasTuner knows the settings by, which are all different.

    Attributes:
        left: The names of what is fixed as it was before, since nobody says anything else.

    Raises:
        InputError: If a name is unknown, or a value out of range.
    """

    def __init__(
        self, known: Mapping[str, Setting], given: Mapping[str, object] | None, suffix: str = ""
    ) -> None:
        self._suffix = suffix
        asked = dict(given or {})
        # What is to be as the library has it needn't be a setting here.
        said = [n for n, value in asked.items() if value is not None or n not in SETTINGS]
        self.known = known
        _require_known(known, said)
        wanted = {name: SEARCH for name in SEARCHED if name in known} | asked
        self.fixed: dict[str, Value] = {}
        self.searched: dict[str, Values] = {}
        for name, setting in known.items():
            found = _read(setting, wanted.get(name))
            if isinstance(found, (list, Range)):
                self.searched[name] = found
            else:
                self.fixed[name] = found
        self.left = frozenset(n for n in self.fixed if asked.get(n) in (None, SEARCH))
        if self.fixed.get("unfreeze") == 0:
            self._require_thawing(said)
        self._require_tokens_left()

    def defaults(self) -> dict[str, Value]:
        """What the library itself would take, as far as what is searched and fixed has it."""
        found = dict(self.fixed)
        for name, values in self.searched.items():
            found[name] = _nearest(self.known[name], values)
        return self._that_matter(found)

    def draw(self, hp: Any) -> dict[str, Value]:
        """The values of a trial; what doesn't matter for it isn't among them.

        Args:
            hp: KerasTuner's `HyperParameters`.
        """
        found: dict[str, Value] = dict(self.fixed)
        for name, values in self.searched.items():
            if self.known[name].thawed and "unfreeze" in self.searched:
                depths = [n for n in _listed(self.searched["unfreeze"]) if n]
                with hp.conditional_scope(f"unfreeze{self._suffix}", depths):
                    drawn = self._ask(hp, name, values)
            else:
                drawn = self._ask(hp, name, values)
            if drawn is not None:
                found[name] = drawn
        return self._that_matter(found)

    def __repr__(self) -> str:
        return f"Space(searched={self.searched!r}, fixed={self.fixed!r})"

    def _ask(self, hp: Any, name: str, values: Values) -> Value | None:
        default, told = _nearest(self.known[name], values), name + self._suffix
        if not isinstance(values, Range):
            return hp.Choice(told, _listed(values), default=default)
        ask = hp.Int if self.known[name].whole else hp.Float
        sampling = "log" if values.log else "linear"
        low, high = values.low, values.high
        if self.known[name].whole:
            low, high = int(low), int(high)
        return ask(told, low, high, sampling=sampling, default=default)

    def _that_matter(self, found: dict[str, Value]) -> dict[str, Value]:
        thawed = bool(found.get("unfreeze"))  # of an encoder whose turn it isn't, unknown
        return {name: v for name, v in found.items() if thawed or not self.known[name].thawed}

    def _require_thawing(self, given: Iterable[str]) -> None:
        odd = [name for name in given if self.known[name].thawed]
        for name in [name for name in self.searched if self.known[name].thawed]:
            del self.searched[name]
        if odd:
            raise InputError(
                "a frozen encoder has no use for that; leave it out, or let `unfreeze` be more. "
                f"Received: {', '.join(odd)}, and unfreeze none"
            )

    def _require_tokens_left(self) -> None:
        """Refuses trials that no head can be made for."""
        pooled = self._may_be("pooling", "pooled_output")
        blocks = [each for each in BLOCKS if each != "none" and self._may_be("block", each)]
        if pooled and blocks:
            raise InputError(
                "a block works on token vectors, which `pooled_output` has left behind: take one "
                f"of both out. Received: block {blocks[0]!r}, pooling 'pooled_output'"
            )

    def _may_be(self, name: str, value: Value) -> bool:
        if name in self.searched:
            return value in _listed(self.searched[name])
        return self.fixed.get(name) == value


class Spaces:
    """What is searched on each of several encoders, of which a trial has one.

    Args:
        of: What is searched on each, by its name; the first is that of the library's own values.

    Attributes:
        left: As of `Space`.
    """

    def __init__(self, of: Mapping[str, Space]) -> None:
        self.of = dict(of)
        self.known = {name: each for own in of.values() for name, each in own.known.items()}
        self.fixed = {name: each for own in of.values() for name, each in own.fixed.items()}
        found = {name: each for own in of.values() for name, each in own.searched.items()}
        self.searched: dict[str, Values] = {ENCODER: [*of], **found}
        self.left = frozenset().union(*(own.left for own in of.values()))

    def draw(self, hp: Any) -> dict[str, Value]:
        """As `Space.draw`, with the encoder's name.

        Args:
            hp: KerasTuner's `HyperParameters`.
        """
        drawn, found = hp.Choice(ENCODER, [*self.of], default=next(iter(self.of))), {}
        for name, own in self.of.items():
            with hp.conditional_scope(ENCODER, [name]):
                found[name] = own.draw(hp)
        return {ENCODER: drawn, **found[drawn]}

    def __repr__(self) -> str:
        return f"Spaces({self.of!r})"


def _require_known(known: Mapping[str, Setting], given: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            what = "this encoder and task have no" if name in SETTINGS else "there is no"
            raise InputError(
                f"{what} such setting to search; expected some of {', '.join(known)}. "
                f"Received: {name!r:.80}"
            )


def _read(setting: Setting, given: object) -> Value | list[Value] | Range:
    """A value that is fixed, or what is searched."""
    if given is None:
        return setting.default
    if isinstance(given, str) and given == SEARCH:
        if isinstance(setting.usual, Range):
            return setting.usual
        found = _with_default(setting)
        return found if len(found) > 1 else found[0]
    if isinstance(given, Range):
        return _read_range(setting, given)
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        found = list(dict.fromkeys(map(setting.read, given)))
        if not found:
            raise InputError(f"`{setting.name}` needs a value at least. Received: none")
        return found if len(found) > 1 else found[0]
    return setting.read(given)


def _with_default(setting: Setting) -> list[Value]:
    found = _listed(setting.usual)
    if setting.default in found:
        return found
    # Of numbers in their order, by which a search knows what is near.
    return (
        [setting.default, *found]
        if isinstance(found[0], str)
        else sorted([setting.default, *found])
    )


def _read_range(setting: Setting, given: Range) -> list[Value] | Range:
    if isinstance(setting.default, str):
        raise InputError(
            f"`{setting.name}` is no number; give a list of its values, such as "
            f"{_listed(setting.usual)!r:.80}. Received: {given}"
        )
    low, high = setting.read(_as_given(setting, given.low)), given.high
    setting.read(_as_given(setting, high))
    if given.step is not None:
        return [setting.read(_as_given(setting, value)) for value in given.stepped()]
    if setting.name == "unfreeze":  # what depends on it asks for each of its values
        return [*range(int(low), int(high) + 1)]
    return given


def _as_given(setting: Setting, value: float) -> float:
    """A whole number as one, if it is one."""
    return int(value) if setting.whole and value == int(value) else value


def _listed(values: Values) -> list[Value]:
    return [] if isinstance(values, Range) else list(values)


def _nearest(setting: Setting, values: Values) -> Value:
    """The default, or what of these comes next to it."""
    default = setting.default
    if isinstance(values, Range):
        assert not isinstance(default, str)
        return type(default)(min(max(default, values.low), values.high))
    if default in values or isinstance(default, str):
        return default if default in values else values[0]
    numbers = [each for each in values if not isinstance(each, str)]
    return min(numbers, key=lambda each: abs(each - default))
