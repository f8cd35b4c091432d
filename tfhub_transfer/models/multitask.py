"""The Keras model of several tasks on one encoder."""

import copy
import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import keras

from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.models.boundary import tensors
from tfhub_transfer.models.forward import EVALUATION_BATCH
from tfhub_transfer.models.one_file import Config
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.models.wiring import Wiring
from tfhub_transfer.tasks import JointLoss, MultiTask
from tfhub_transfer.tasks.layouts import Joint
from tfhub_transfer.tasks.reportable import Joined


@dataclasses.dataclass(frozen=True)
class _Models:
    """The model of each task; in a class, or Keras would take them for layers of the joint one."""

    by_name: dict[str, TransferModel]


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class MultiTaskModel(JointLoss, TransferModel):
    """One encoder with a head for each task; what it reads and gives goes by the tasks' names.

    Each task's own model is in `models`, for all that is done task by task. It shares encoder and
    head with this one, so training either trains both. Make one with
    `build_model(encoder, {name: task})`.

    Attributes:
        models: The `TransferModel` of each task, by name.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: MultiTask,
        head: Mapping[str, Head],
        preprocessor: TextPreprocessor | None,
    ) -> None:
        models = _models(encoder, task, head)
        layout = Joint(task, {name: model.layout for name, model in models.items()})
        inputs = layout.inputs(encoder)
        encoded = layout.encode(encoder, inputs)
        answers = {
            name: model.above_encoder(f"head_of_{name}")(
                [
                    *tensors(encoded[name]),
                    *(inputs[layout.input_name(name, own.name)] for own in model.inputs),
                ]
            )
            for name, model in models.items()
        }
        outputs = task.outputs(answers, Head())
        # Keras made `TransferModel` functional when the first task's model was built.
        super(TransferModel, self).__init__(inputs=inputs, outputs=outputs, name="multi_task_model")
        self._models = _Models(models)
        self._wiring = Wiring(next(iter(encoded.values())), outputs)
        self._remember(encoder, Head(), layout, preprocessor)
        self._heads = dict(head)

    @property
    def models(self) -> dict[str, TransferModel]:
        """The model of each task, by name."""
        return self._models.by_name

    @property
    def parts(self) -> Mapping[str, TransferModel]:
        """The model of each task, by name."""
        return types.MappingProxyType(self._models.by_name)

    def predict_scores(
        self, examples: Any, batch_size: int = EVALUATION_BATCH, allow_nan: bool = False
    ) -> dict[str, Joined]:
        """Scores of the examples of each task (see `TransferModel.predict_scores`).

        Args:
            examples: `{name: examples}`, of some tasks or all.
            batch_size: As for `TransferModel.predict_scores`.
            allow_nan: As for `TransferModel.predict_scores`.

        Returns:
            The scores by name of the task.
        """
        self.task.require_known(examples)
        return {
            name: self.models[name].predict_scores(each, batch_size, allow_nan)
            for name, each in examples.items()
        }

    def predict_text(self, texts: Any) -> Any:
        """Readable answers by name of the task (see `TransferModel.predict_text`).

        Example:

        >>> model = build_model("auto", {"sentiment": task})
        >>> sorted(model.predict_text({"sentiment": ["What a lovely film"]}))
        ['sentiment']
        """
        self.task.require_known(texts)
        return {name: self.models[name].predict_text(each) for name, each in texts.items()}

    @property
    def has_fixed_features(self) -> bool:
        """Each task's head has features of its own."""
        return False

    def get_config(self) -> Config:
        heads = {name: head.__dict__ for name, head in self._heads.items()}
        config = super().get_config()
        # What was read off rows since is known to the tasks of the models alone.
        task = copy.copy(self.task)
        task.tasks = {name: model.task for name, model in self.models.items()}
        told = keras.saving.serialize_keras_object(task)
        return {**config, "task": told, "head": heads}

    @classmethod
    def from_config(cls, config: Config, custom_objects: object = None) -> "MultiTaskModel":
        deserialize = keras.saving.deserialize_keras_object
        encoder, task = deserialize(config["encoder"]), deserialize(config["task"])
        return cls(encoder, task, {n: Head(**h) for n, h in config["head"].items()}, None)


def _models(
    encoder: Encoder, task: MultiTask, head: Mapping[str, Head]
) -> dict[str, TransferModel]:
    """A model for each task. A group that one head doesn't read may be what another one reads."""
    models, left_out = {}, []
    for name, each in task.parts.items():
        models[name] = TransferModel(encoder, each, head[name], None)
        models[name].compile(loss=each.loss(), jit_compile=False, **each.measures())
        left_out.append(set(encoder.unread))
    encoder.mark_unread(*sorted(set.intersection(*left_out)))
    return models
