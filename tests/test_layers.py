"""The shape of the code: imports point one way, the core is pure, pieces stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "coordinator"

# From the bottom up: a module imports only from its own layer's parts listed here, and below.
LAYERS = [
    {"core"},
    {"store", "clock", "csv_cells", "latencies", "open_files"}
    | {"shared", "timeline", "workplace"},
    {"faults", "import_files"},
    {"witness"},
    {"turn"},
    {"confirmations", "document_counters", "entry_search", "gap_lives", "imported_rows"},
    {"commit", "exports", "history", "issue_dates", "overview"} | {"proof", "replica", "usage"},
    {"chains"},
    {"registry", "text_index"},
    {"duplicates"},
    {"importing"},
    {"lanes", "service"},
    {"expected", "guests", "peers", "waiting"},
    {"committer", "evidence", "handing", "trouble", "unheard"},
    {"reception"},
    {"sequencer"},
    {"gauges"},
    {"config", "counters", "metrics"},
    {"jobs"},
    {"api"},
    {"app"},
    {"cli"},
    {"__main__"},
]
PURE = {
    *(
        "__future__",
        "array",
        "base64",
        "bisect",
        "collections",
        "coordinator",
        "dataclasses",
    ),
    *("enum", "functools", "hashlib", "heapq", "itertools", "orjson", "re", "struct", "typing"),
    "urllib",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_imports_point_downwards(module: Path) -> None:
    mine = part_of(module)
    if mine == "__init__":
        return
    level = next(i for i, layer in enumerate(LAYERS) if mine in layer)
    allowed = set().union(*LAYERS[: level + 1]) | {"__version__"}
    for name in imports_of(module):
        if name.startswith("coordinator."):
            part = name.split(".")[1]
            assert part in allowed, f"{mine} imports {name}"


@pytest.mark.parametrize("module", sorted((PACKAGE / "core").glob("*.py")), ids=lambda m: m.name)
def test_the_core_is_pure(module: Path) -> None:
    used = {name.split(".")[0] for name in imports_of(module)}
    assert used <= PURE, f"not pure: {used - PURE}"
    names = {n.id for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.Name)}
    assert not names & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("folder", ["coordinator", "dashboard", "cluster", "scripts", "tests"])
def test_pieces_stay_small(folder: str) -> None:
    for module in sorted((ROOT / folder).rglob("*.py")):
        text = module.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{module} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{module}: {node.name} has {length} lines"


def test_the_top_level_holds_what_it_should() -> None:
    allowed = {"pyproject.toml", "README.md", "LICENSE", "START-POC.sh", "START-POC.bat"}
    allowed |= {"coordinator", "dashboard", "cluster", "scripts", "tests", "data"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert {name for name in found if not name.endswith(".egg-info")} <= allowed


def test_a_start_does_not_pay_for_what_only_the_reading_of_files_needs():
    words = "import sys, coordinator.cli; sys.exit('openpyxl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0
