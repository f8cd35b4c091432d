"""An export asked beside its model, as `check-export` does."""

from tfhub_transfer.errors import Ended, InputError
from tfhub_transfer.jobs import folders
from tfhub_transfer.jobs.options.exporting import CheckExportJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.models.encoding import MODEL_FILE
from tfhub_transfer.serving import checking
from tfhub_transfer.storage import opening

# Where `train` has its export.
_SERVING = "serving"
# Of an export that isn't as its model: no mistake of the user's.
_DIFFERS = 1


def check(job: CheckExportJob) -> None:
    """Asks an export in fresh processes what its model is asked, and says what was seen.

    Args:
        job: What to do.

    Raises:
        InputError: If there is no model or no export, or one may not be loaded.
        Ended: With status 1, if a check failed.
    """
    folder = opening.path_of(job.folder)
    trained = (folder / MODEL_FILE).exists()
    if job.model is None and not trained:
        raise InputError(
            "an export is compared with the model that it was made of; name that with `--model`, "
            f"or give the folder that `train` wrote. Received: {folder}"
        )
    model, _ = folders.load(job.model or folder, job.trust_code)
    passed = []
    for each in checking.check(folder / _SERVING if trained else folder, model, job.trust_code):
        say(f"{'ok' if each.passed else 'FAILED':6} {each.text}")
        passed.append(each.passed)
    if not all(passed):
        raise Ended(_DIFFERS, f"{passed.count(False)} of {len(passed)} checks failed")
