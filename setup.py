"""What pyproject.toml cannot say: a wheel carries Resources/ inside the library, where `resources.py` looks first."""

from setuptools import find_packages, setup

BUNDLED = "TumorRetrievalLib.Resources"

setup(
    packages=[*find_packages(include=["TumorRetrievalLib*"]), BUNDLED],
    package_dir={BUNDLED: "Resources"},
    package_data={"TumorRetrievalLib.report": ["templates/*"], BUNDLED: ["**/*"]},
    exclude_package_data={BUNDLED: ["**/*.py"]},
    include_package_data=False,
)
