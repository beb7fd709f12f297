"""The wheel and the source archive that a checkout makes, installed where no checkout is."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import nerd_fast
from tests.documents import python_blocks

ROOT = Path(__file__).parents[1]


def call(*command, **keywords):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **keywords)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(wheel, source archive) of the files that git tracks, the wheel built from the archive."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in filter(None, call("git", "ls-files", "-z", cwd=ROOT).split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    call(sys.executable, "-m", "build", "--outdir", folder, source)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The Python of a new environment that holds the wheel; what the package needs is lent by this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", built[0])
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "lent.pth").write_text("\n".join(lent))  # their own .pth files, an editable install's, are not read
    return python


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built):
    names = set(zipfile.ZipFile(built[0]).namelist())
    ours = {f"nerd_fast/{path.relative_to(ROOT / 'nerd_fast')}" for path in (ROOT / "nerd_fast").rglob("*.py")}
    kernels = {f"nerd_fast/kernels/{path.relative_to(ROOT / 'kernels')}" for path in (ROOT / "kernels").rglob("*.py")}
    assert {name for name in ours | kernels if "__pycache__" not in name} <= names
    assert "nerd_fast/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"nerd_fast", f"nerd_fast-{nerd_fast.__version__}.dist-info"}


@pytest.mark.slow
def test_the_source_archive_holds_what_a_wheel_is_built_from(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "kernels/apply_forward.py"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("code", python_blocks("README.md"))
def test_python_in_the_readme_runs_on_the_installed_wheel(installed, tmp_path, code):
    if "monai" in code:
        pytest.importorskip("monai")
    where = "import nerd_fast, sys; assert nerd_fast.__file__.startswith(sys.prefix), nerd_fast.__file__\n"
    call(installed, "-c", where + code, cwd=tmp_path)


@pytest.mark.slow
def test_the_command_is_installed(installed, tmp_path):
    out = call(installed.with_name("nerd-fast"), "--version", cwd=tmp_path)
    assert out.strip() == f"nerd-fast {nerd_fast.__version__}"


@pytest.mark.slow
def test_python_started_in_a_checkout_finds_the_kernels_although_the_wheel_is_installed(installed):
    code = "import nerd_fast, nerd_fast.kernels as k; nerd_fast.NeRDm(4); print(nerd_fast.__file__, k.__file__)"
    found = call(installed, "-c", code, cwd=ROOT).split()
    assert found == [str(ROOT / "nerd_fast" / "__init__.py"), str(ROOT / "kernels" / "__init__.py")]


def test_every_file_that_names_the_version_names_the_same():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    changed = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert cited == changed == nerd_fast.__version__
