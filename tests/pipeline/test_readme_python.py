"""The README's Python, run as it stands."""

import re
import subprocess
import sys
from pathlib import Path

from tests.cluster import clean_environment
from tests.test_readme import README


def test_the_python_of_the_readme_gives_what_it_shows(
    tmp_path: Path, starter_sqlite: str, registry: Path
) -> None:
    found = re.search(
        r"```python\n(from worker.*?)\n(\S[^\n]*)\n# (\[\{[^\n]*)\n```", README, re.DOTALL
    )
    assert found is not None
    before, last, shown = found.groups()
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\nprint({last})"],
        env=clean_environment(
            LABELSTREAM_DATABASE_URL=starter_sqlite,
            LABELSTREAM_REGISTRY_DIR=str(registry),
            LABELSTREAM_HOME_DIR=str(tmp_path),
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pattern = re.escape(shown).replace("…", r"\d*")
    assert re.fullmatch(pattern, done.stdout.strip()), done.stdout
