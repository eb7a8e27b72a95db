"""Promise: thirty dangers of pages that show a log are shut out; each has tests beside the page or rule it belongs to.

The number after ``test_s`` is that of the danger: what nobody may see (1 to 5), what others stored (6 to 9, 22, 23),
writing (10 to 14), headers and other sites (15 to 17, 25), who reads and who is read about (18, 24, 28, 29), what would
stop the server (19 to 21), the application around the pages (26, 27), and the log itself (30).
"""

from __future__ import annotations

import re
from pathlib import Path


def test_each_of_the_thirty_has_a_test():
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    numbers = {number for source in sources for number in re.findall(r"^def test_s(\d\d)_", source, re.MULTILINE)}
    assert numbers == {f"{number:02}" for number in range(1, 31)}
