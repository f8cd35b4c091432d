"""A trained model as an export that a server loads, as `export` makes it."""

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.jobs import folders, small_devices
from tfhub_transfer.jobs.exporting_options import SAVED_MODEL, ExportJob
from tfhub_transfer.serving.exporting import export_saved_model


def export(job: ExportJob) -> None:
    """Writes the next version of an export, whole or not at all, and says where it is.

    Args:
        job: What to do.

    Raises:
        InputError: As `export_saved_model` and `export_small`; if there is no model, or it may not
            be loaded.
    """
    if job.format != SAVED_MODEL:
        print(visible(f"Written to {small_devices.export_small(job)}"))
        return
    if job.data is not None or job.calibrate is not None:
        raise InputError(
            "`--data` and `--calibrate` are for `--format litert` and `--format onnx`; leave them "
            f"out, or give one of these. Received: --format {job.format}"
        )
    model, _ = folders.load(job.folder, job.trust_code)
    version = export_saved_model(model, job.output, job.precision, job.top_k, job.keep)
    print(visible(f"Written to {version}"))
