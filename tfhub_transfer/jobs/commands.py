"""The commands: what each is called, which options it has, and where that is which runs it."""

import dataclasses

from tfhub_transfer.jobs.asking_options import EncodeJob, EvaluateJob, PredictJob
from tfhub_transfer.jobs.distilling_options import DistillJob
from tfhub_transfer.jobs.encoder_options import ConvertJob, EncodersJob
from tfhub_transfer.jobs.exporting_options import CheckExportJob, ExportJob
from tfhub_transfer.jobs.serving_options import ServeJob
from tfhub_transfer.jobs.training_options import DemoJob, TrainJob
from tfhub_transfer.jobs.tuning_options import TuneJob


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: What it is called.
        help: What it does, in a few words.
        job: The dataclass of its options.
        run: The function that takes these: a module of this folder, a full stop, its name. The
            module is imported once the command runs.
        answers: Whether what it says on standard output is what it is for, unless it has an output
            of its own.
        tensorflow: Whether it needs TensorFlow.
    """

    name: str
    help: str
    job: type
    run: str
    answers: bool = False
    tensorflow: bool = True

    def answers_on_stdout(self, job: object) -> bool:
        """Whether it would work for nothing without standard output.

        Args:
            job: Its options, as given.
        """
        return self.answers and getattr(job, "output", None) is None


COMMANDS = (
    Command(
        "demo",
        "train, evaluate, export and ask a sample model",
        DemoJob,
        "demonstration.demonstrate",
    ),
    Command(
        "encoders",
        "list the encoders that are known",
        EncodersJob,
        "listing.list_encoders",
        answers=True,
        tensorflow=False,
    ),
    Command(
        "convert",
        "make a TF Hub encoder from other weights",
        ConvertJob,
        "converting.convert_source",
    ),
    Command(
        "train",
        "train, evaluate and export a model",
        TrainJob,
        "training.train",
    ),
    Command(
        "tune",
        "search for what trains best, and train, evaluate and export that",
        TuneJob,
        "tuning.tune",
    ),
    Command(
        "distill",
        "make a smaller model that imitates trained ones, or a smaller encoder",
        DistillJob,
        "distilling.distill",
    ),
    Command(
        "evaluate",
        "evaluate a trained model on a labelled file",
        EvaluateJob,
        "measuring.evaluate_folder",
    ),
    Command(
        "predict",
        "answer texts, beside the columns of their file",
        PredictJob,
        "predicting.answer",
        answers=True,
    ),
    Command(
        "encode",
        "texts to vectors, as JSON lines or a .npy file",
        EncodeJob,
        "vectors.encode",
        answers=True,
    ),
    Command(
        "export",
        "write a trained model as the next version of what a server loads",
        ExportJob,
        "exporting.export",
    ),
    Command(
        "check-export",
        "ask an export beside its model, moved and without this package",
        CheckExportJob,
        "checking.check",
    ),
    Command(
        "serve",
        "answer TF Serving's REST, and show a page to try the model",
        ServeJob,
        "serving.serve",
    ),
)
