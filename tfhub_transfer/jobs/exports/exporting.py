"""A trained model as an export that a server loads, as `export` makes it."""

import sys

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.exports import small_devices
from tfhub_transfer.jobs.options.exporting import SAVED_MODEL, ExportJob
from tfhub_transfer.jobs.settling import settle
from tfhub_transfer.serving import kit
from tfhub_transfer.serving.exporting import export_saved_model
from tfhub_transfer.storage import opening


def export(job: ExportJob) -> None:
    """Writes the next version of an export, whole or not at all, and the kit beside; says where.

    Args:
        job: What to do.

    Raises:
        InputError: As `export_saved_model` and `export_small`; if there is no model, or it may not
            be loaded; if a file would be replaced that this package didn't write.
    """
    if job.format != SAVED_MODEL:
        print(visible(f"Written to {small_devices.export_small(job)}"))
        return
    if job.data is not None or job.calibrate is not None:
        raise InputError(
            "`--data` and `--calibrate` are for `--format litert` and `--format onnx`; leave them "
            f"out, or give one of these. Received: --format {job.format}"
        )
    kit.check(opening.path_of(job.output), job.name)
    model, _ = folders.load(job.folder, job.trust_code)
    settle(model, job)
    keep = kit.kept(opening.path_of(job.output), job.keep)
    version = export_saved_model(model, job.output, job.precision, job.top_k, keep)
    print(visible(f"Written to {version}"))
    try:
        with progress.stage("Writing what a server needs", final=False):
            notes = kit.write(version, job.name)
    except OSError as error:
        raise InputError(
            f"the version is whole, but what belongs beside it can't be written ({error}); export "
            f"again. Received: {job.output}"
        ) from error
    for note in notes:
        print(visible(note), file=sys.stderr)
