"""`make docs`: write the generated sections of every document."""

from __future__ import annotations

from tests.docs.markdown import DOCUMENTS, with_sections
from tests.docs.sections import SECTIONS

for document in DOCUMENTS:
    document.write_text(with_sections(document.read_text(), SECTIONS))
