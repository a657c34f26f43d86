"""Attack the package and write down what came out: `make hostile`.

`inputs` runs every bad input of `tests/hostile/` in this process. `interrupts`, `kills` and `pairs` start commands in
children of a process that has imported everything: stop them with SIGINT and SIGTERM, kill them, or start two at once
in one folder. Whatever happens to a command, the same command goes on where it stopped, until its tables are the very
bytes of one that nobody disturbed. `python scripts/hostile.py kills 20` makes twenty of them. Stopped itself, the
script goes on with the row where it was, as long as the code is of the same commit.
"""

import faulthandler
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from subprocess import run
from unittest.mock import patch

import marks
from tqdm import tqdm

from alternet.measurement import ORDER
from alternet_begin import CODES, LINE

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PAGE = ROOT / "docs" / "promises.md"
BEGUN = ROOT / "runs" / "hostile"
"""Where the counts of a row lie until it is whole."""
HEAD = ("what", "how many", "lost", "wrong without a word", "executed", "hangs", "minutes", "Python", "cores", "date")
HANG = 120
"""Seconds after which something hangs."""

CALL = "measure calibration variance lesion -m test_resnet --data digits --limit 24 --img-size 32 --batch-size 8 --out"
STOPPED = f"alternet: {LINE}"
STOPS = tuple(CODES)
ENDS = CODES | {signal.SIGKILL: -9}


@contextmanager
def no_longer_than(seconds: int):
    """Raise TimeoutError in what takes longer."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def inputs(kind: str) -> Iterator[Counter]:
    """All inputs of a kind, at once."""
    from tests.hostile.battery import EXECUTED, fault

    module, counted = import_module(f"tests.hostile.{kind}"), Counter()
    for case in module.CASES:
        counted["how many"] += 1
        with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, case.environment):
            os.chdir(folder)
            (Path(folder) / "input").mkdir()
            try:
                with no_longer_than(HANG):
                    line = module.met(case, Path(folder) / "input")
                wrong = fault(case, line)
            except TimeoutError:
                wrong, line = "hangs", ""
                counted["hangs"] += 1
            except Exception as error:  # which a user would see as it is
                wrong, line = "is no line", repr(error)
            counted["executed"] += Path(EXECUTED).exists()
            if wrong:
                counted["wrong without a word"] += 1
                print(f"{kind}: {case.name}: {wrong}: {line[:300]}")
        os.chdir(ROOT)
    yield counted


def started(out: Path, said: Path) -> int:
    """Start the command in a child of this process; its number.

    A signal waits until the command has begun: what comes sooner meets the fork of this process, not the command.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    if child := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        return child
    with said.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faulthandler.register(signal.SIGUSR1, file=2)
    sys.argv = ["alternet", *CALL.split(), str(out)]
    import alternet_begin as command

    tqdm.set_lock(threading.RLock())  # its own is one of all forked processes, and stays locked if one is killed in it
    command._meet(command._end_now)  # as its first line does
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    try:
        command.main()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(99)


def ended(child: int) -> int:
    """Wait for a child: its exit code, negative for a signal, -14 if it hung."""
    for _ in range(HANG * 50):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGUSR1)  # where it hangs stands behind what it has said
    time.sleep(1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def tables(out: Path) -> dict[str, bytes]:
    """All that was measured."""
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*.csv"))}


def undisturbed(folder: Path) -> tuple[dict[str, bytes], float]:
    """The tables that nobody disturbed, and the seconds that they took."""
    begun = time.monotonic()
    assert ended(started(folder / "whole", folder / "said")) == 0, (folder / "said").read_text()
    return tables(folder / "whole"), time.monotonic() - begun


def finished(out: Path, said: Path, whole: dict[str, bytes]) -> Counter:
    """Start the command once more in a folder: it must end, with the undisturbed tables and nothing beside."""
    counted = Counter()
    code = ended(started(out, said))
    counted["hangs"] += code == -signal.SIGALRM
    counted["lost"] += code != 0 or tables(out) != whole
    files = [file.name for file in out.rglob("*") if file.is_file()]
    # the order of the models is written without a lock, so what is left of that goes a minute later
    left = [name for name in files if name.startswith((".", "items.")) and not name.startswith(f".{ORDER}.")]
    wrong = bool(left) or "Traceback" in said.read_text()
    counted["wrong without a word"] += wrong
    if code or wrong:
        print(f"{out}: {code}, left {left}: {said.read_text()[-9000:]}")
    shutil.rmtree(out, ignore_errors=True)
    said.unlink()
    return counted


def stopped(signals: Sequence[signal.Signals], draws: random.Random) -> Iterator[Counter]:
    """Send the command one of the signals at a random moment, four times in one folder, then let it finish; again."""
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = undisturbed(Path(folder))
        out, said = Path(folder) / "out", Path(folder) / "said"
        while True:
            counted = Counter()
            for _ in range(4):
                number, child = draws.choice(signals), started(out, said)
                time.sleep(draws.uniform(0, seconds))
                os.kill(child, number)
                code = ended(child)
                counted["how many"] += code != 0  # it had ended before
                counted["hangs"] += code == -signal.SIGALRM
                if code not in (0, ENDS[number]):
                    counted["wrong without a word"] += code != -signal.SIGALRM
                    print(f"{number.name}: ended with {code}: {said.read_text()[-9000:]}")
                elif code > 0 and said.read_text().splitlines()[-1] != STOPPED:
                    counted["wrong without a word"] += 1
                    print(f"{number.name}: {said.read_text()[-500:]}")
            yield counted + finished(out, said, whole)


def pairs(draws: random.Random) -> Iterator[Counter]:
    """Start the command twice at once in one folder: one measures, the other is refused or takes up what it finds."""
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = undisturbed(Path(folder))
        out = Path(folder) / "out"
        while True:
            counted = Counter({"how many": 1})
            said = [Path(folder) / "first", Path(folder) / "second"]
            first = started(out, said[0])
            time.sleep(draws.choice((0, 0, draws.uniform(0, seconds))))
            second = started(out, said[1])
            for child, file in ((first, said[0]), (second, said[1])):
                code = ended(child)
                counted["hangs"] += code == -signal.SIGALRM
                refused = "is being written by process" in file.read_text()
                if code not in (0, 1, 2) or (code > 0) != refused:
                    counted["wrong without a word"] += 1
                    print(f"pair: {code}: {file.read_text()[-500:]}")
            said[1].unlink()
            yield counted + finished(out, said[0], whole)


def rows(names: list[str]) -> dict[str, tuple[Callable[[random.Random], Iterator[Counter]], int]]:
    """What is asked for and how many: names of rows, each followed by a number where it shall not be the whole."""
    from tests.hostile.battery import KINDS

    known = {kind: (lambda _, kind=kind: inputs(kind), 1) for kind in KINDS}
    known["interrupts"] = (lambda draws: stopped(STOPS, draws), 500)
    known["kills"] = (lambda draws: stopped([signal.SIGKILL], draws), 200)
    known["pairs"] = (pairs, 100)
    asked: dict[str, int] = {}
    for word in names or known:
        if word.isdecimal():
            asked[list(asked)[-1]] = int(word)
        else:
            asked |= dict.fromkeys(KINDS if word == "inputs" else [word], 0)
    return {name: (known[name][0], times or known[name][1]) for name, times in asked.items()}


def counted(name: str, attack: Callable[[random.Random], Iterator[Counter]], times: int) -> tuple[Counter, float]:
    """How often something came out, and the minutes that it took; what an earlier call has begun is gone on with."""
    commit = run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    path, total, seconds = BEGUN / f"{name}.json", Counter(), 0.0
    if path.exists() and (begun := json.loads(path.read_text()))["commit"] == commit:
        total, seconds = Counter(begun["counted"]), begun["seconds"]
    BEGUN.mkdir(parents=True, exist_ok=True)
    last = time.monotonic()
    for found in attack(random.Random(total["how many"])):
        total.update(found)
        seconds, last = seconds + time.monotonic() - last, time.monotonic()
        path.write_text(json.dumps({"commit": commit, "counted": total, "seconds": seconds}))
        if total["how many"] >= times:
            break
    path.unlink()
    return total, seconds / 60


def write(name: str, counted: Counter, minutes: float) -> None:
    """Put a row into the page, in place of what an earlier run left there, and the sum of all inputs behind it."""
    from tests.hostile.battery import KINDS

    earlier = marks.between(PAGE.read_text(encoding="utf-8"), "hostile")
    kept = {line.split("|")[1].strip(): line for line in earlier.splitlines() if line.startswith("| ")}
    cells = [name, *(counted[column] for column in HEAD[1:6]), f"{minutes:.1f}"]
    about = [platform.python_version(), os.cpu_count(), date.today()]
    kept[name] = f"| {' | '.join(map(str, [*cells, *about]))} |"
    order = [one for one in (*KINDS, "interrupts", "kills", "pairs") if one in kept]
    table = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|", *(kept[one] for one in order)]
    marks.write(PAGE, "hostile", "\n".join(table))


def main(names: list[str]) -> int:
    """Run the rows of these names, each written as it ends, and end with 1 if anything was not as promised."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["NO_COLOR"] = "1"
    import_module("warnings").simplefilter("ignore")
    asked = rows(names)
    if {"interrupts", "kills", "pairs"} & set(asked):
        with tempfile.TemporaryDirectory() as folder:  # in this process once, so that no child imports anything
            import_module("alternet.cli").run([*CALL.split(), folder])
    worse = 0
    for name, (attack, times) in asked.items():
        found, minutes = counted(name, attack, times)
        worse += sum(found[column] for column in HEAD[2:6])
        print(json.dumps({"what": name, **found}), flush=True)
        write(name, found, minutes)
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
