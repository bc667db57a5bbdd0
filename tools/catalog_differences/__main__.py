"""List where the catalog differs from two published lists; 1 if a difference or a reason stands alone."""

from __future__ import annotations

import datetime as dt
import sys
from importlib.metadata import version

from catalog_differences import compare, differences, reasons

if __name__ == "__main__":
    found = compare(differences(dt.datetime.now(dt.UTC).date()), reasons())
    lines = [f"Compared with genai-prices {version('genai-prices')} and google-genai {version('google-genai')}."]
    lines += [f"  {difference}\n      {why}" for difference, why in found.explained.items()]
    lines += [f"NO REASON: {difference}" for difference in found.unexplained]
    lines += [f"NO DIFFERENCE: {pattern}" for pattern in found.idle]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(bool(found.unexplained or found.idle))
