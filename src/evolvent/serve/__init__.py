"""One model behind the OpenAI HTTP interface, on this machine.

Not here: shadow, canary, hot swap, batching of requests, feedback; which version is champion (`run.py`).
"""

from evolvent.serve.asked import Limits
from evolvent.serve.model import Served
from evolvent.serve.server import KEY_VARIABLE, Server

__all__ = ["KEY_VARIABLE", "Limits", "Served", "Server"]
