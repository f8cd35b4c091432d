"""The main job on the packaged sample, as `demo` shows it."""

from pathlib import Path

from tfhub_transfer.encoders import registry
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report
from tfhub_transfer.jobs.options.training import DemoJob, TrainJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.trainings.training import train
from tfhub_transfer.models.encoding import RECORD_FILE, read_record
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.serving.served import load_saved_model


def demonstrate(job: DemoJob) -> Report | JointReport:
    """Shows the main job on the packaged sample: train, evaluate, export, load back, ask.

    Args:
        job: Where to write; an earlier demo there is replaced.

    Raises:
        InputError: If something else is there.
    """
    output = job.output
    ours = _is_demo(output)
    if not ours and output.is_dir() and any(output.iterdir()):
        raise InputError(
            "the folder exists and holds no demo; name another one with `--output`. "
            f"Received: {output}"
        )
    training = TrainJob(
        task="classification",
        data=str(registry.samples_path()),
        output=output,
        text="text",
        label="topic",
        epochs=15,
        batch_size=16,
        strategy="none",  # whatever processes the environment names: it shows all by itself
        overwrite=ours,
    )
    report = train(training)
    assert report is not None  # this process is alone
    served = load_saved_model(output / "serving")
    say("\nThe exported model, loaded back and asked with plain strings:")
    texts = [
        "I was charged twice this month, please sort it out",
        "Where is my parcel? It should have been here on Monday",
        "Just wanted to say how happy I am with it, thank you!",
    ]
    answers = served.predict(texts)
    for text, label, scores in zip(texts, answers["label"], answers["scores"]):
        say(f"  {label.decode():>10} ({scores.max():.2f})  {text}")
    say(f"\nThe report with its plots: {output / 'report' / 'report.html'}")
    return report


def _is_demo(output: Path) -> bool:
    """Whether an earlier demo is all that lies there."""
    found = read_record(output).get("arguments") if (output / RECORD_FILE).exists() else {}
    return (
        isinstance(found, dict)
        and Path(str(found.get("data"))).name == registry.samples_path().name
    )
