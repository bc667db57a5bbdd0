"""The breakages: which line is changed to what, and which tests have to fail then.

Each takes out one guard. A breakage is text, so it is held to the source by a quick test: each old text must stand in
its file exactly once.
"""

from __future__ import annotations

from mutation.attachments import ATTACHMENTS
from mutation.calling import CALLING
from mutation.edges import EDGES
from mutation.emulator import BOUNDED, CALLERS, CALLS, FILES, OPENAI, PRIVATE, REHEARSAL
from mutation.hostile import HOSTILE_SERVICE
from mutation.local import BAD_INPUT, LOCAL, SECRETS
from mutation.memory import MEMORY
from mutation.money import LIMITS
from mutation.reports import REPORTS
from mutation.requests import REQUESTS
from mutation.runs import RUNS
from mutation.schemas import SCHEMAS
from mutation.service import COLLECTING, CREATING
from mutation.shards import SHARDS
from mutation.state import MIGRATING
from mutation.tables import TABLES
from mutation.tables_out import TABLES_OUT
from mutation.tokens import TOKENS
from mutation.webhooks import WEBHOOKS

HERE = BAD_INPUT + REQUESTS + LOCAL + SECRETS + EDGES + MIGRATING + MEMORY + ATTACHMENTS + SCHEMAS + TABLES + TABLES_OUT
SERVICE = CREATING + COLLECTING + RUNS + HOSTILE_SERVICE + LIMITS + TOKENS + CALLING + SHARDS
EMULATOR = CALLERS + PRIVATE + BOUNDED + REHEARSAL + CALLS + FILES + OPENAI + WEBHOOKS
BREAKAGES = HERE + SERVICE + EMULATOR + REPORTS
