"""Keeps the pipe to the client clean."""

import os
import sys
from typing import BinaryIO


def claim_stdout() -> BinaryIO:
    """The real stdout, for messages alone; whatever else writes to stdout from here on, also C code, goes to stderr.

    Libraries print: a progress bar or a warning among the messages would end the conversation.
    """
    sys.stdout.flush()
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return messages
