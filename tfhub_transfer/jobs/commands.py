"""The commands: what each is called, which options it has, and where that is which runs it."""

import dataclasses

from tfhub_transfer.jobs.options.asking import EncodeJob, EvaluateJob, PredictJob
from tfhub_transfer.jobs.options.checking import CheckJob
from tfhub_transfer.jobs.options.comparing import CompareJob
from tfhub_transfer.jobs.options.distilling import DistillJob
from tfhub_transfer.jobs.options.encoders import ConvertJob, EncodersJob
from tfhub_transfer.jobs.options.exporting import CheckExportJob, ExportJob
from tfhub_transfer.jobs.options.labelling import LabelJob
from tfhub_transfer.jobs.options.serving import ServeJob
from tfhub_transfer.jobs.options.training import DemoJob, TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: What it is called.
        help: What it does, in a few words.
        job: The dataclass of its options.
        run: The function that takes these: a module below this folder, a full stop, its name. The
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
        "trainings.demonstration.demonstrate",
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
        "label",
        "ask which texts have which labels, those first that teach most",
        LabelJob,
        "labelling.labelling.label",
    ),
    Command(
        "check",
        "what is wrong with labelled data: duplicates, leakage, labels in doubt",
        CheckJob,
        "data_checks.check_data",
    ),
    Command(
        "train",
        "train, evaluate and export a model",
        TrainJob,
        "trainings.described_classes.train",
    ),
    Command(
        "tune",
        "search for what trains best, and train, evaluate and export that",
        TuneJob,
        "searches.tuning.tune",
    ),
    Command(
        "distill",
        "make a smaller model that imitates trained ones, or a smaller encoder",
        DistillJob,
        "trainings.distilling.distill",
    ),
    Command(
        "evaluate",
        "evaluate a trained model on a labelled file",
        EvaluateJob,
        "measuring.evaluate_folder",
    ),
    Command(
        "compare",
        "by how much one report is better than another, and which answers changed",
        CompareJob,
        "comparing.compare_reports",
        answers=True,
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
        "exports.exporting.export",
    ),
    Command(
        "check-export",
        "ask an export beside its model, moved and without this package",
        CheckExportJob,
        "exports.checking.check",
    ),
    Command(
        "serve",
        "answer TF Serving's REST, and show a page to try the model",
        ServeJob,
        "exports.serving.serve",
    ),
)
