"""A terminal in which the commands of one page are run, one after the other."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

#: Said by the shell when a command is over, before its status.
_OVER = "the command is over:"


class Shell:
    """One bash: `cd`, `export` and what was left running hold for all that comes after."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._others = 0
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # It is told to end with all that it has started, and waits for these first.
        self.run("trap : TERM")

    def run(self, command: str, seconds: float = 120) -> tuple[int, str]:
        """Run `command` to its end; return its status and what a terminal would show."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # What is in braces is read whole, and cannot read on what is meant for the shell.
        self._process.stdin.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n{_OVER}%s\\n' $?\n")
        self._process.stdin.flush()
        timer = threading.Timer(seconds, self._kill)
        timer.start()
        lines: list[str] = []
        try:
            for line in self._process.stdout:
                if line.startswith(_OVER):
                    return int(line.removeprefix(_OVER)), "".join(lines)
                lines.append(line)
        finally:
            timer.cancel()
        raise AssertionError(f"no end within {seconds} s, or no shell: {command}\n{''.join(lines)}")

    def leave_running(self, command: str) -> None:
        """Start `command` as in another terminal; `other_terminals` has what it shows."""
        self._others += 1
        self.run(f"{command} >terminal-{self._others}.log 2>&1 &")

    def ended(self) -> int:
        """Return how much of what was left running has ended."""
        return self._others - int(self.run("jobs -r | wc -l")[1])

    def other_terminals(self) -> str:
        """Return the end of what is shown where something was left running."""
        logs = sorted(self._folder.glob("terminal-*.log"))
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)

    def close(self) -> None:
        """End the shell, and all that was started in it."""
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self.run("wait", seconds=30)
        finally:
            self._kill()
            self._process.communicate()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
