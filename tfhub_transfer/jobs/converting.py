"""Encoders made from other weights, as `convert` does."""

from tfhub_transfer.encoders import conversion
from tfhub_transfer.errors import visible
from tfhub_transfer.jobs.options.encoders import ConvertJob


def convert_source(job: ConvertJob) -> None:
    """Makes an encoder in TF Hub's form, and says where it is.

    Args:
        job: What to do.

    Raises:
        InputError: As `conversion.convert`.
    """
    conversion.convert(
        job.source, job.output, job.method, job.dimension, job.overwrite, job.trust_code
    )
    print(visible(f"Written to {job.output}"))
