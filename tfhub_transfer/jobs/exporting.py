"""A trained model as an export that a server loads, as `export` makes it."""

from tfhub_transfer.errors import visible
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.exporting_options import ExportJob
from tfhub_transfer.serving.exporting import export_saved_model


def export(job: ExportJob) -> None:
    """Writes the next version of an export, whole or not at all, and says where it is.

    Args:
        job: What to do.

    Raises:
        InputError: As `export_saved_model`; if there is no model, or it may not be loaded.
    """
    model, _ = folders.load(job.folder, job.trust_code)
    version = export_saved_model(model, job.output, job.precision, job.top_k, job.keep)
    print(visible(f"Written to {version}"))
