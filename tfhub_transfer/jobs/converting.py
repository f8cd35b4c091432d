"""Encoders made from other weights, as `convert` does."""

from tfhub_transfer.encoders import conversion, registry
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
        job.source,
        job.output,
        job.method,
        job.dimension,
        overwrite=job.overwrite,
        trust_code=job.trust_code,
        prompt=job.prompt,
    )
    print(visible(f"Written to {job.output}"))
    prompt = registry.read_information(job.output).get("prompt")
    if prompt:
        print(visible(f"A text by itself is read behind {prompt!r}; --prompt changes that"))
