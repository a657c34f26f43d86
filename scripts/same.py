"""Does the code of another commit give the same bits? `make same BASE=<commit>`.

Runs this tree's `measure_all.py` twice on this machine, with the code of the commit and with the code that lies here,
and compares all files that both wrote: tables, logs and what the command line says byte for byte, provenances and
`run.json` but for their circumstances, weights bit for bit. What the commit gave is kept in `runs/same/`, so that only
the first comparison with it costs twice the time.

    python scripts/same.py [BASE] [--quick] [--keep FOLDER]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "measure_all.py"

CIRCUMSTANCES = {"seconds", "same_pass", "versions", "device", "processes"}
CIRCUMSTANCES |= {"date", "command", "call", "git", "python", "device_name"}
"""Keys of a provenance or `run.json` that do not decide the numbers."""

ADDED = {"split", "columns", "preparation", "origin"}
"""Keys that this tree writes on purpose and older commits did not; none may be lost or changed."""

TIMES = ("seconds", "data_seconds", "images_per_second")
"""Columns of a log that hold times."""

LONGEST = 100
"""Characters that a difference is shown in."""


def main() -> int:
    """Compare; the exit code is 1 where something differs."""
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        now = given.keep or Path(folder) / "now"
        before = results_of(given.base, quick=given.quick)
        run(ROOT / "src", now, quick=given.quick)
        found = list(differences(before, now))
        _show(found, count=len(files_of(now)), base=given.base)
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD~1", help="the commit to compare with (HEAD~1)")
    parser.add_argument("--quick", action="store_true", help="two networks of five, without training")
    parser.add_argument("--keep", type=Path, help="a new folder for what this tree gives")
    return parser.parse_args()


def results_of(base: str, *, quick: bool) -> Path:
    """What the code of a commit gives, measured now or taken from an earlier comparison."""
    commit = _git("rev-parse", "--verify", f"{base}^{{commit}}")
    script = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()
    kept = ROOT / "runs" / "same" / f"{commit[:12]}-{script[:8]}{'-quick' if quick else ''}"
    if not kept.exists():
        with worktree(commit) as tree, tempfile.TemporaryDirectory(dir=_made(kept.parent)) as folder:
            run(tree / "src", Path(folder) / "results", quick=quick)
            (Path(folder) / "results").rename(kept)
    return kept


def run(code: Path, out: Path, *, quick: bool) -> None:
    """Measure with the package that lies in `code`."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, str(SCRIPT), str(out), "--code", str(code), *(["--quick"] if quick else [])]
    print(f"measuring with {code}", flush=True)
    environment = os.environ | alone | {"PYTHONPATH": str(code)}
    done = subprocess.run(call, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"It failed with {code}:\n{done.stderr[-4000:]}")


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """The files of a commit, for a while."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def differences(before: Path, now: Path) -> Iterator[tuple[str, str]]:
    """Every file that differs, with what differs first."""
    was, found = files_of(before), files_of(now)
    for name in sorted(was | found):
        if name not in found:
            yield name, "is missing now"
        elif name not in was:
            yield name, "is new"
        elif difference := compare(before / name, now / name):
            yield name, difference


def files_of(folder: Path) -> set[str]:
    """All files below a folder, by their path in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "events" not in path.name}


def compare(before: Path, now: Path) -> str:
    """What differs between two files; empty if nothing that counts."""
    if before.name in ("provenance.json", "run.json"):
        return difference(json.loads(before.read_text()), json.loads(now.read_text()), circumstances=CIRCUMSTANCES)
    if before.suffix == ".json":
        return difference(json.loads(before.read_text()), json.loads(now.read_text()))
    if before.name == "log.csv":
        return difference_of_lines(without_times(before.read_text()), without_times(now.read_text()))
    if before.suffix in (".csv", ".txt"):
        return difference_of_lines(before.read_text(), now.read_text()) or _of_bytes(before, now)
    if before.suffix == ".safetensors":
        return "" if _tensors(before) == _tensors(now) else _of_bytes(before, now)
    return _of_bytes(before, now)


def _tensors(path: Path) -> tuple[dict[str, Any], bytes]:
    """What a weight file holds but for what its header says beside the tensors."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    return json.loads(whole[8:end]) | {"__metadata__": None}, whole[end:]


def difference(before: Any, now: Any, *, circumstances: Set[str] = frozenset(), at: str = "") -> str:
    """The first place where two values read from JSON part; the order of keys and the kind of a number count."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return "" if _same(before, now) else f"{at or 'value'}: {_short(before)} -> {_short(now)}"
    lost = [key for key in before if key not in now and key not in circumstances]
    new = [key for key in now if key not in before and key not in circumstances | ADDED]
    if lost or new:
        return f"{at or 'keys'}: lost {', '.join(lost) or 'none'}, new {', '.join(new) or 'none'}"
    kept = (key for key in before if key not in circumstances)
    return next(filter(None, (difference(before[key], now[key], at=f"{at}.{key}".strip(".")) for key in kept)), "")


def difference_of_lines(before: str, now: str) -> str:
    """The first line that differs, and how many do."""
    was, found = before.splitlines(), now.splitlines()
    if len(was) != len(found):
        return f"{len(was)} lines -> {len(found)}"
    wrong = [number for number, pair in enumerate(zip(was, found, strict=True)) if pair[0] != pair[1]]
    if not wrong:
        return ""
    first = wrong[0]
    return f"{len(wrong)} of {len(was)} lines, first line {first + 1}: {_parting(was[first], found[first])}"


def without_times(log: str) -> str:
    """The log of a training without the columns that hold times."""
    rows = [line.split(",") for line in log.splitlines()]
    kept = [place for place, name in enumerate(rows[0]) if name not in TIMES]
    return "\n".join(",".join(row[place] for place in kept if place < len(row)) for row in rows)


def _of_bytes(before: Path, now: Path) -> str:
    same = before.read_bytes() == now.read_bytes()
    return "" if same else f"other bytes ({before.stat().st_size} -> {now.stat().st_size})"


def _same(before: Any, now: Any) -> bool:
    return json.dumps(before) == json.dumps(now)


def _parting(before: str, now: str) -> str:
    """Two lines from shortly before the place where they part."""
    alike = next((place for place, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), 0)
    start = max(alike - 12, 0)
    return f"{_short(before[start:])} -> {_short(now[start:])}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST // 2 else text[: LONGEST // 2 - 3] + "..."


def _show(found: list[tuple[str, str]], *, count: int, base: str) -> None:
    width = max((len(name) for name, _ in found), default=0)
    for name, what in found:
        print(f"{name:<{width}}  {what}")
    print(f"{len(found)} of {count} files differ from {base}." if found else f"{count} files, the same as with {base}.")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _git(*arguments: str) -> str:
    if not shutil.which("git"):
        raise SystemExit("same.py needs git.")
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
