"""The shape of the code in numbers: `make shape`, or `python scripts/shape.py FOLDER` for another checkout.

Lines, private helpers that are used once, comments, circles of imports, how many functions one measurement passes, how
many files name an instrument, and how long the command line takes to answer. No number is good in itself; what they do
over a change of the code is of interest.
"""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

import grimp
import networkx

INSTRUMENTS = {"variance": "Variance", "lesion": "Lesion"}
"""Whose files are counted."""

MEASURE = ["measure", "fourier", "-m", "resnet18", "--data", "photos", "--limit", "4", "--img-size", "64"]

DIRECTIVE = re.compile(r"#\s*(noqa|pyright|type:|fmt:|pragma|!)")
"""How comments begin that speak to a tool."""

HIDDEN = ("<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Functions without a name."""

PROFILE = """
import json, runpy, sys, threading
seen = set()
arguments = sys.argv[2:]
package, sys.argv = sys.argv[1], ["alternet", *arguments]
def note(frame, event, argument, package=package):
    code = frame.f_code
    if event == "call" and code.co_flags & 1 and code.co_filename.startswith(package):
        seen.add((code.co_filename, code.co_firstlineno, code.co_name))
threading.setprofile(note)
sys.setprofile(note)
try:
    runpy.run_module("alternet.cli", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
finally:
    sys.setprofile(None)
print("\\n" + json.dumps(sorted(seen)))
"""
"""Notes every function of the package that is entered; module and class bodies are no functions (flag 1)."""


def main() -> None:
    """Print the table."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    for rows in (of_lines(root), of_helpers(root), of_imports(root), of_calls(root), of_names(root), of_times(root)):
        for what, value in rows:
            print(f"{what:<72} {value}", flush=True)


Rows = Iterator[tuple[str, object]]


def sources(root: Path) -> dict[Path, str]:
    """The text of every module."""
    return {path: path.read_text(encoding="utf-8") for path in sorted((root / "src").rglob("*.py"))}


def of_lines(root: Path) -> Rows:
    """Lines and comments."""
    texts = sources(root)
    code = sum(len(code_lines(text)) for text in texts.values())
    comments = sum(comments_in(text) for text in texts.values())
    lines = sum(len(text.splitlines()) for text in texts.values())
    yield "lines of src", lines
    yield "  without blank lines, comments and docstrings", code
    yield "files of src", len(texts)
    yield "comments, of one or several lines, that speak to no tool", comments
    yield "  one in so many lines", round(lines / max(comments, 1), 1)
    yield "  one in so many lines of code", round(code / max(comments, 1), 1)


def code_lines(text: str) -> set[int]:
    """Numbers of the lines that hold code. A text that stands alone, as that under a constant, is a docstring."""
    idle = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    held = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in idle
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            held -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return held


def comments_in(text: str) -> int:
    """How many comments there are; lines of comment that follow each other are one."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    found = [token for token in tokens if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string)]
    alone = [token.start[0] for token in found if token.line.lstrip().startswith("#")]
    blocks = len(list(groupby(enumerate(alone), key=lambda pair: pair[1] - pair[0])))
    return blocks + len(found) - len(alone)


def of_helpers(root: Path) -> Rows:
    """Functions and methods with a leading underscore, and how many of them are mentioned once beside their definition.

    By name: every name counts once, and is looked for in all of src. By definition: a name counts once for each file
    that defines it, and is looked for in that file and in what others import.
    """
    trees = [ast.parse(text) for text in sources(root).values()]
    imported = Counter(name for tree in trees for name in imports_in(tree))
    uses = [Counter(mentions(tree)) for tree in trees]
    names = set().union(*map(private, trees))
    everywhere = sum(uses, imported)
    defined = [use[name] + imported[name] for tree, use in zip(trees, uses, strict=True) for name in private(tree)]
    yield "names of private helpers", len(names)
    yield "  mentioned exactly once in src", _share([everywhere[name] for name in names])
    yield "private helpers, file by file", len(defined)
    yield "  mentioned exactly once in their file", _share(defined)


def _share(counts: list[int]) -> str:
    once = sum(count == 1 for count in counts)
    return f"{once}  ({once / max(len(counts), 1):.0%})"


def private(tree: ast.AST) -> set[str]:
    """Names of functions and methods that begin with one underscore."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def mentions(tree: ast.AST) -> Iterator[str]:
    """Every name that is read, plain or after a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def imports_in(tree: ast.AST) -> Iterator[str]:
    """Every name that is imported from somewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (name.name for name in node.names)


def of_imports(root: Path) -> Rows:
    """Circles of imports: groups of modules each of which imports, over others, every other one."""
    sys.path.insert(0, str(root / "src"))
    for what, left_out in (("at run time", True), ("with those for type checkers", False)):
        graph = grimp.build_graph("alternet", exclude_type_checking_imports=left_out, cache_dir=None)
        edges = [(name, other) for name in graph.modules for other in graph.find_modules_directly_imported_by(name)]
        circles = [sorted(part) for part in networkx.strongly_connected_components(networkx.DiGraph(edges)) if part]
        circles = sorted(circle for circle in circles if len(circle) > 1)
        yield f"circles of imports, {what}", len(circles)
        for circle in circles:
            names = ", ".join(name.removeprefix("alternet.") for name in circle[:4])
            yield f"  {names}{', ...' if circle[4:] else ''}", f"{len(circle)} modules"


def of_calls(root: Path) -> Rows:
    """What one measurement from the command line passes."""
    package = f"{root / 'src' / 'alternet'}{os.sep}"
    with tempfile.TemporaryDirectory() as folder:
        told = _run(root, ["-c", PROFILE, package, *MEASURE, "--device", "cpu", "--out", folder])
    passed = [tuple(entry) for entry in json.loads(told.splitlines()[-1])]
    named = [entry for entry in passed if entry[2] not in HIDDEN]
    yield "functions that `measure fourier` passes", f"{len(named)} in {len({file for file, *_ in named})} files"
    yield "  with lambdas and comprehensions", f"{len(passed)} in {len({file for file, *_ in passed})} files"


def of_names(root: Path) -> Rows:
    """Files that name an instrument, by its class, or by its stem in quotes, in a path, or as a part of a command."""
    for stem, kind in INSTRUMENTS.items():
        files = {path.relative_to(root): named(path, stem, kind) for path in texts_of(root)}
        strictly = Counter(_place(path) for path, (strict, _) in files.items() if strict)
        loosely = Counter(_place(path) for path, (_, loose) in files.items() if loose)
        yield f"files that name {stem}: the class, or the stem quoted or in a path", _told(strictly)
        yield f"  with every mention of the word {stem}", _told(loosely)


def texts_of(root: Path) -> list[Path]:
    """The files in which people read and write names."""
    below = [path for part in ("src", "docs", "tests") for path in (root / part).rglob("*")]
    kinds = {".py", ".pyi", ".md", ".yml", ".yaml", ".toml"}
    loose = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml", "pyproject.toml")]
    return [path for path in (*below, *loose) if path.is_file() and path.suffix in kinds]


def named(path: Path, stem: str, kind: str) -> tuple[bool, bool]:
    """Whether a file names an instrument, strictly and loosely; a path that bears its name does."""
    text = path.read_text(encoding="utf-8")
    word = stem.replace("_", "[_-]")
    strict = rf"\b{kind}\b|[\"'`./]{word}[\"'`./(]|\bmeasure {word}\b|figures[./]{word}\b|instruments[./]{word}\b"
    own = re.search(rf"\b(?:test_)?{word}\b", str(path.with_suffix("").name)) is not None
    return own or re.search(strict, text) is not None, own or re.search(rf"\b({word}|{kind})\b", text) is not None


def _place(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else "top"


def _told(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())}  ({', '.join(f'{place} {count}' for place, count in sorted(counts.items()))})"


def of_times(root: Path) -> Rows:
    """Seconds until an answer, the best of three."""
    alternet = ["-m", "alternet.cli"]
    calls: Mapping[str, Iterable[str]] = {
        "an empty program": ["-c", ""],
        "`import alternet`": ["-c", "import alternet"],
        "`alternet --help`": [*alternet, "--help"],
        "`alternet list instruments`": [*alternet, "list", "instruments"],
    }
    for what, call in calls.items():
        yield f"seconds of {what}", f"{min(_seconds(root, call) for _ in range(3)):.2f}"


def _seconds(root: Path, call: Iterable[str]) -> float:
    begun = time.perf_counter()
    _run(root, call)
    return time.perf_counter() - begun


def _run(root: Path, call: Iterable[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *call], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return done.stdout


if __name__ == "__main__":
    main()
