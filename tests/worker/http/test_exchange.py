"""What is written to a caller."""

from __future__ import annotations

import json

from echoplaned.worker.http.exchange import to_json
from echoplaned.worker.http.problems import Api, Problem


def test_no_error_fails_to_be_written() -> None:
    """A message that quotes half a character, as a chat template may, is written in every form."""
    for api in Api:
        assert "no '?' here" in json.dumps(json.loads(to_json(Problem(400, "no '\ud800' here").body(api))))
