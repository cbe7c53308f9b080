"""The house rules that no linter keeps: sizes, light doors, complete distributions, clean text."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "automl_compress": ROOT / "automl_compress",
    "automl_agents": ROOT / "agents" / "automl_agents",
    "automl_envs": ROOT / "envs" / "automl_envs",
    "automl_api": ROOT / "api" / "automl_api",
}
MODULE_LINES = 300
FUNCTION_LINES = 40
SKIPPED_FOLDERS = {".git", ".venv", "__pycache__", "build", "dist", "node_modules"}
FOREIGN_FOLDERS = {".hypothesis", ".import_linter_cache", ".pytest_cache", ".ruff_cache"}


def modules() -> list[Path]:
    return sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, decorators and docstring not counted."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return lines
    docstring = function.body[0]
    assert docstring.end_lineno is not None
    return lines - (docstring.end_lineno - docstring.lineno + 1)


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def test_there_are_modules_in_every_package() -> None:
    assert all((folder / "__init__.py").is_file() for folder in PACKAGES.values())


def test_no_module_is_longer_than_the_ceiling() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules()}

    too_long = {name: lines for name, lines in lengths.items() if lines > MODULE_LINES}

    assert not too_long, f"split these modules, {MODULE_LINES} lines at most: {too_long}"


def test_no_function_is_longer_than_the_ceiling() -> None:
    lengths = {
        f"{name_of(path)}:{function.lineno} {function.name}": lines_without_docstring(function)
        for path in modules()
        for function in functions(path)
    }

    too_long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}

    assert not too_long, f"split these functions, {FUNCTION_LINES} lines at most: {too_long}"


def test_function_ceiling_does_not_count_the_docstring() -> None:
    function = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]

    assert isinstance(function, ast.FunctionDef)
    assert lines_without_docstring(function) == 2


@pytest.mark.parametrize("banned", ["utils", "helpers", "common", "manager", "base"])
def test_no_module_has_a_name_that_says_nothing(banned: str) -> None:
    named = [
        name_of(path)
        for path in modules()
        if banned in {path.stem.strip("_"), *path.relative_to(ROOT).parts[:-1]}
    ]

    assert not named, f"name these after their main noun or verb: {named}"


@pytest.mark.parametrize("folder", list(PACKAGES.values()), ids=list(PACKAGES))
def test_every_package_folder_has_a_door(folder: Path) -> None:
    # Alembic runs its scripts by path; they are no package.
    code_folders = {p.parent for p in folder.rglob("*.py") if "migrations" not in p.parts}

    assert not [name_of(each) for each in code_folders if not (each / "__init__.py").is_file()]


@pytest.mark.parametrize("folder", list(PACKAGES.values()), ids=list(PACKAGES))
def test_every_package_is_marked_as_typed(folder: Path) -> None:
    assert (folder / "py.typed").is_file()


HEAVY = ("torch", "gymnasium", "stable_baselines3", "optuna", "sqlalchemy", "fastapi", "dbos")


@pytest.mark.parametrize("door", [*PACKAGES, "automl_compress.core"])
def test_door_loads_nothing_heavy(door: str) -> None:
    code = f"import sys, {door}; print(*(name for name in {HEAVY} if name in sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == [], f"importing {door} loads these"


@dataclass(frozen=True)
class Distributions:
    """File names: of the packages in the tree, in the wheel, and in the sdist.

    `tree` maps a name in the tree to the name in the wheel; it was read before the build.
    """

    tree: dict[str, str]
    wheel: set[str]
    sdist: set[str]


def shipped() -> dict[str, str]:
    return {
        name_of(path): path.relative_to(folder.parent).as_posix()
        for folder in PACKAGES.values()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheel that is built from it."""
    tree = shipped()
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        in_wheel = set(wheel.namelist())
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        in_sdist = {name.partition("/")[2] for name in sdist.getnames()}
    return Distributions(tree, in_wheel, in_sdist)


def test_wheel_holds_every_file_of_the_packages(built: Distributions) -> None:
    missing = set(built.tree.values()) - built.wheel

    assert not missing, f"the wheel lacks {sorted(missing)}"


def test_sdist_holds_every_file_of_the_packages(built: Distributions) -> None:
    missing = set(built.tree) - built.sdist

    assert not missing, f"the sdist lacks {sorted(missing)}"


def test_licence_and_notice_are_in_wheel_and_sdist(built: Distributions) -> None:
    licences = {Path(name).name for name in built.wheel if ".dist-info/licenses/" in name}

    assert licences == {"LICENSE", "NOTICE"}
    assert {"LICENSE", "NOTICE"} <= built.sdist


def test_wheel_claims_only_our_import_names(built: Distributions) -> None:
    top = {name.split("/")[0] for name in built.wheel if ".dist-info/" not in name}

    assert top == set(PACKAGES)


def texts() -> list[Path]:
    """The text files that are committed or would be."""
    skipped = SKIPPED_FOLDERS | FOREIGN_FOLDERS
    git = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if git.returncode == 0:
        paths = [ROOT / name for name in git.stdout.decode().split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not skipped & set(p.relative_to(ROOT).parts)]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def test_no_text_names_a_folder_of_one_machine() -> None:
    # Put together here, or this file would be the first to be found.
    private = re.compile("(?<![\\w.~-])/(?:" + "work|root|home/[a-z]" + ")/")

    found = [
        f"{name_of(path)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if private.search(line)
    ]

    assert not found, f"these lines name a folder that only one machine has: {found}"


def is_unguarded_load(call: ast.Call) -> bool:
    """Whether this is `torch.load(...)` that does not say `weights_only=True`."""
    if ast.unparse(call.func) != "torch.load":
        return False
    said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    return said.get("weights_only") != "True"


def unguarded_loads(source: str) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if is_unguarded_load(call)]


def test_no_module_unpickles_through_torch() -> None:
    found = {name_of(path): unguarded_loads(path.read_text("utf-8")) for path in modules()}

    assert not {name: lines for name, lines in found.items() if lines}


def test_an_unguarded_load_is_found() -> None:
    assert unguarded_loads("torch.load(x)\ntorch.load(x, weights_only=False)\n") == [1, 2]
    assert unguarded_loads("torch.load(x, weights_only=True)\n") == []
