"""docs/faq.md: the errors in its headings are those that users see."""

from __future__ import annotations

import errno
import os
import re

import pytest
from helpers import ROOT

pytestmark = pytest.mark.once

#: tests/semaphore/test_creation.py provokes this error.
PROVOKED_ELSEWHERE = ["has no values yet"]


def test_each_error_of_the_faq_is_what_its_program_prints() -> None:
    text = (ROOT / "docs/faq.md").read_text()
    sections = re.findall(r"^### `([^`\n]*)`\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert len(sections) > 10
    for symptom, section in sections:
        # Some errors are hard to provoke: then the text names the errno.
        printed = re.findall(r"^```text\n(.*?)^```", section, re.M | re.S)
        named = [os.strerror(getattr(errno, name)) for name in re.findall(r"\(`(E\w+)`\)", section)]
        shown = "".join([*printed, *named, *PROVOKED_ELSEWHERE])
        assert symptom in shown, symptom
