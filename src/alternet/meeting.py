"""Meeting: processes that share their work wait for one another, as long as each of them gets on."""

import threading
import time
from contextlib import suppress
from typing import NamedTuple, NoReturn

from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage] - documented all the same

from alternet.errors import LostProcess
from alternet.patience import FINISHED

SHORTEST, LONGEST = 0.001, 1.0
"""Seconds between two looks at the others: at first, and when there was long nothing new."""

KEY, LOST = "alternet/{}", "alternet/lost"
"""Under which a process says how far it is, and the first that gives up says whom."""

HOST = 0
"""The process that keeps what all of them say, unless torchrun does."""


class Said(NamedTuple):
    """What a process says of itself.

    Attributes:
        arrived: How often it came to where all meet.
        finished: How much it has finished.
        turns: How often it has said something.
        left: Whether it is going to say no more.
    """

    arrived: int = 0
    finished: int = 0
    turns: int = 0
    left: int = 0


class Meeting:
    """Where processes wait for one another without waiting for one that is stopped, hangs, or is no more.

    A thread says how far this process is, and looks at what the others say. torch's `monitored_barrier` names who is
    late as well, but takes one that has much left to do for lost.

    Args:
        store: What all of them reach.
        rank: Number of this process.
        size: How many there are.
        limit: Seconds after which one that has finished nothing is lost.
    """

    def __init__(self, store: Store, rank: int, size: int, limit: float) -> None:
        self.rank, self.size, self.limit = rank, size, limit
        self._store, self._arrived, self._turns, self._left = store, 0, 0, False
        self._others = {other: Said() for other in range(size) if other != rank}
        self._idle, self._still = (dict.fromkeys(self._others, 0.0) for _ in range(2))
        self._verdict, self._broken = "", False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meeting", daemon=True)
        self._thread.start()

    def arrive(self) -> None:
        """Wait until all others have arrived as often as this process.

        Raises:
            LostProcess: One of them does not come.
        """
        self._arrived += 1
        self._wake.set()
        # what is counted are the pauses, since this process may have been stopped itself
        pause, silent, turns = SHORTEST, 0.0, self._turns
        while any(said.arrived < self._arrived for said in self._others.values()):
            silent, turns = 0.0 if self._turns != turns else silent + pause, self._turns
            self._require_all(silent)
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST / 10)

    def cut_off(self, error: BaseException) -> NoReturn:
        """Name who is lost, after a connection to one of them broke or timed out.

        Raises:
            LostProcess: One of them is silent, or has left.
            BaseException: All of them still speak; the error as it came.
        """
        turns = self._turns
        time.sleep(4 * LONGEST)  # so that who was lost just now has been silent for some turns
        # what keeps all that is said does not answer either
        if self.rank != HOST and self._turns == turns and not self._broken:
            self._give_up(HOST, "does not answer any more: it is stopped, or hangs")
        silent = [other for other, seconds in self._still.items() if seconds > 2 * LONGEST]
        gone = silent or [other for other, said in self._others.items() if said.left]
        if self._broken:
            self._give_up(HOST, "has ended")
        if not gone:
            raise error
        self._give_up(gone[0], "does not answer any more: it was stopped or has ended")

    def leave(self) -> None:
        """Say no more; the host stays until the others have left, or some seconds."""
        self._left = True
        self._wake.set()
        self._thread.join(2 * LONGEST)
        with suppress(RuntimeError):
            for _ in range(50 if self.rank == HOST and not self._broken else 0):
                if all(self._read(other).left for other in self._others):
                    break
                time.sleep(LONGEST / 10)

    def _require_all(self, silent: float) -> None:
        limit = f"{self.limit:g} seconds"
        if self._verdict:
            self._give_up(int(self._verdict.split()[0]), "is lost")
        if self._broken:
            self._give_up(HOST, "has ended")
        if silent > self.limit:
            self._give_up(HOST, f"has not answered for {limit}: it is stopped, or hangs")
        for other, said in self._others.items():
            if said.arrived >= self._arrived:
                continue
            if said.left:
                self._give_up(other, "has ended")
            if self._idle[other] > self.limit:
                self._give_up(other, f"has finished nothing for {limit}: it is stopped, or hangs")

    def _give_up(self, lost: int, why: str) -> NoReturn:
        """End this process; whoever is the first to give up says why, the others only end."""
        speaker = self.rank
        if not self._broken and lost != HOST:
            verdict = self._store.compare_set(LOST, "", f"{lost} {self.rank}").decode()
            lost, speaker = map(int, verdict.split())
            if self.rank == HOST:
                time.sleep(2 * LONGEST)  # the others read it here
        line = (
            f"Process {lost} of {self.size} {why}. What is finished is kept; start the same command again to go on, "
            "with a longer --timeout if it was only slow."
        )
        raise LostProcess(line, told=speaker != self.rank)

    def _run(self) -> None:
        last, pause = time.monotonic(), SHORTEST
        try:
            while not self._left:
                now = time.monotonic()
                self._turn(min(now - last, 2 * LONGEST))  # a process that was stopped itself has not waited meanwhile
                last = now
                pause = SHORTEST if self._wake.wait(pause) else min(2 * pause, LONGEST, self.limit / 10)
                self._wake.clear()
            self._turn(0.0)
        except (RuntimeError, OSError):  # what keeps all that is said is gone
            self._broken = True

    def _turn(self, passed: float) -> None:
        """Say how far this process is, and look how far the others have come in the seconds that have passed."""
        mine = Said(self._arrived, FINISHED.count, self._turns, int(self._left))
        self._store.set(KEY.format(self.rank), " ".join(map(str, mine)))
        for other, before in self._others.items():
            now = self._read(other)
            self._idle[other] = 0.0 if now[:2] != before[:2] else self._idle[other] + passed
            self._still[other] = 0.0 if now.turns != before.turns else self._still[other] + passed
            self._others[other] = now
        if self._store.check([LOST]):
            self._verdict = self._store.get(LOST).decode()
        self._turns += 1

    def _read(self, other: int) -> Said:
        key = KEY.format(other)
        return Said(*map(int, self._store.get(key).split())) if self._store.check([key]) else Said()
