"""The short forms of the soak's scenarios: real servers under load, and not one fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import document
from tests.soak import __main__ as command
from tests.soak import delivery, kills
from tests.soak.scenarios import SCENARIOS

TRIES = 5


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    """Never a fault; what is promised of time holds once of some tries, as a busy machine may delay any one."""
    for _ in range(TRIES):
        count = SCENARIOS[name].short()
        if count.flawless:
            return
        assert getattr(count, "sound", False), count
    raise AssertionError(f"late each time: {count}")


def test_the_page_keeps_the_rows_of_other_scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(shutil.copy(command.PAGE, tmp_path))
    monkeypatch.setattr(command, "PAGE", page)
    command.write("kills", kills.Count(kills=1, listeners=2, told=1))
    command.write("delivery", delivery.Count(sent=12_345))
    command.write("delivery", delivery.Count(sent=23_456, delivered=1))
    rows = {row.split("**")[1]: row for row in document.read(command.SECTION, page).splitlines()[2:]}
    assert list(rows) == [name for name in SCENARIOS if name in rows]
    assert "| kills 1, listeners 2, told 1," in rows["kills"]
    assert "| **not flawless** |" in rows["kills"]
    assert "| sent 23,456, delivered 1, lost 0," in rows["delivery"]
    assert "| flawless |" in rows["delivery"]


def test_only_known_scenarios(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["soak", "nothing"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no such scenario: nothing" in capsys.readouterr().err


def test_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["soak", "--quick", "kills", "gaps"])
    counts = {"kills": kills.Count(), "gaps": kills.Count(kills=1, listeners=1, told=1)}
    monkeypatch.setattr(
        command,
        "SCENARIOS",
        {name: SCENARIOS[name]._replace(short=lambda c=count: c) for name, count in counts.items()},
    )
    assert command.main() == 1
    monkeypatch.setattr("sys.argv", ["soak", "--quick", "gaps"])
    assert command.main() == 0
