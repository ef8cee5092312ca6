"""A PHP script that listens, as a child process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.child import Child

PHP = Path(__file__).resolve().parents[2] / "php"
END = "end"
SCRIPT = """
require_once 'src/autoload.php';
$client = new Rplx\\Client('127.0.0.1', 1);
$listener = $client->listen(['news', 'other'], $argv[1], ['transport' => $argv[2], 'onGap' => function ($ids) {
    echo "gap\\n";
}]);
echo "ready\\n";
foreach ($listener as $message) {
    echo json_encode($message->data), "\\n";
    if ($message->data === 'end') {
        break;
    }
}
"""


class PhpListener(Child):
    """It listens to the channels news and other, and ends behind the message "end"."""

    def __init__(self, url: str, transport: str = "auto") -> None:
        settings = ("-d", "error_reporting=-1", "-d", "display_errors=1")
        super().__init__(["php", *settings, "-r", SCRIPT, "--", url, transport], cwd=PHP)
        self.wait_for("^ready$")

    def heard(self) -> list[Any]:
        """Returns the messages so far."""
        return [json.loads(line) for line in self.log[1:]]
