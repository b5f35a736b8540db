"""Partners outside: each a Protocol with one implementation over HTTP; what comes back is an
:class:`~pipelines.recycling.adapters.outcomes.Outcome`, failures included."""

from pipelines.recycling.adapters.outcomes import Outcome, State
from pipelines.recycling.adapters.partners import Partners, connect

__all__ = ["Outcome", "Partners", "State", "connect"]
