"""Every command of the documentation, run in the order of its page."""

import pytest

from tests.docs.blocks import OTHER_TERMINAL, PAGES, RUN, Block
from tests.docs.conftest import Ground
from tests.docs.matching import is_shown

#: Pages with something to run.
RUNNING = [
    page
    for page, blocks in PAGES.items()
    if any(block.language in RUN and block.not_run is None for block in blocks)
]

#: What a block that is no `console` is given to.
PROGRAMS = {"bash": "bash -e", "python": "python -", "sql": "python -m tests.docs.ask"}


@pytest.mark.parametrize("page", RUNNING)
def test_every_command_of_the_page_does_what_it_shows(page: str, ground: Ground) -> None:
    for block in PAGES[page]:
        if block.language not in RUN or block.not_run is not None:
            continue
        if block.title.startswith(OTHER_TERMINAL):
            [(command, _)] = block.commands()
            ground.leave_running(command)
            continue
        for command, shown in steps(block):
            status, came = ground.run(command)
            said = f"{block.place}: {command}\nshows:\n{shown}\nbut there came:\n{came}\n"
            said += ground.shell.other_terminals()
            if status != 0 or (shown and not is_shown(shown, came)):
                pytest.fail(f"status {status} of {said}", pytrace=False)
    assert ground.shell.ended() == 0, ground.shell.other_terminals()


def steps(block: Block) -> list[tuple[str, str]]:
    """Return what is run for a block, one thing after the other, each with the output shown."""
    if block.language == "console":
        return block.commands()
    return [(f"{PROGRAMS[block.language]} <<'END'\n{block.text}\nEND", block.shown or "")]
