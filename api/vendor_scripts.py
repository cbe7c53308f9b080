"""Brings the pages' libraries into the tree: `python api/vendor_scripts.py`.

What it writes is committed, so installing and serving need neither Node nor another host. A new
version is a new pin here: of the archive, and of each file that is taken out of it.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(__file__).parent / "automl_api" / "dashboard" / "static" / "vendor"


@dataclass(frozen=True)
class Package:
    """A package of the npm registry, and what is taken out of it.

    sha256: of the archive.
    files: name in the archive -> (name in the tree, SHA-256).
    """

    specification: str
    sha256: str
    files: dict[str, tuple[str, str]]


PACKAGES = (
    Package(
        "d3@7.9.0",
        "7e36605710a2ba54846797c8c6d888911341b215ae53257dc32a49a0b824355e",
        {
            "package/dist/d3.min.js": (
                "d3.min.js",
                "f2094bbf6141b359722c4fe454eb6c4b0f0e42cc10cc7af921fc158fceb86539",
            ),
            "package/LICENSE": (
                "d3.LICENSE",
                "3e6849627f74ff73c257a3ae1efb574015d94fc1035c05ec3c15805165efcbc4",
            ),
        },
    ),
    Package(
        "@observablehq/plot@0.6.17",
        "4dcc9f7afd10caee8b2283c0075a5765610cfbbf6d7d93cdb153b3b5d3501afc",
        {
            "package/dist/plot.umd.min.js": (
                "plot.umd.min.js",
                "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
            ),
            "package/LICENSE": (
                "plot.LICENSE",
                "4b295e011e0e046170041b5b46f1349393aeceb95797793a55bd21dbb543363a",
            ),
        },
    ),
    Package(
        "swagger-ui-dist@5.35.0",
        "1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6",
        {
            "package/swagger-ui-bundle.js": (
                "swagger-ui-bundle.js",
                "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
            ),
            "package/swagger-ui.css": (
                "swagger-ui.css",
                "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
            ),
            "package/LICENSE": (
                "swagger-ui.LICENSE",
                "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
            ),
            "package/NOTICE": (
                "swagger-ui.NOTICE",
                "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
            ),
            "package/swagger-ui-bundle.js.LICENSE.txt": (
                "swagger-ui-bundle.LICENSE",
                "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
            ),
        },
    ),
)


def checked(content: bytes, sha256: str, name: str) -> bytes:
    """Return the content; ends the program where it is not the pinned one."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        sys.exit(f"{name} has SHA-256 {found}, pinned is {sha256}; nothing was written")
    return content


def fetch(package: Package) -> dict[str, bytes]:
    """Return the files of a package by their names in the tree."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, package.specification]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(folder).iterdir()).read_bytes()
    checked(archive, package.sha256, package.specification)
    taken: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for source, (name, sha256) in package.files.items():
            member = opened.extractfile(source)
            content = b"" if member is None else member.read()
            taken[name] = checked(content, sha256, f"{source} of {package.specification}")
    return taken


def main() -> None:
    """Fetch everything, then write it."""
    fetched = [fetch(package) for package in PACKAGES]
    TARGET.mkdir(parents=True, exist_ok=True)
    for files in fetched:
        for name, content in files.items():
            (TARGET / name).write_bytes(content)


if __name__ == "__main__":
    main()
