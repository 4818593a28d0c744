"""glmer and glmer_list: generalised linear mixed models. Composition only."""

from __future__ import annotations

import logging
from typing import Literal

Information = Literal["expected", "observed"]

_log = logging.getLogger(__name__)
