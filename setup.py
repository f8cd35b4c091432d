"""Everything is declared in setup.cfg, but for the packages, which `find:` alone can't name."""

import setuptools

setuptools.setup(
    # `saved_models` lies beside the package and travels inside of it (see `package_dir`).
    packages=[
        *setuptools.find_packages(include=["tfhub_transfer", "tfhub_transfer.*"]),
        "tfhub_transfer.saved_models",
    ]
)
