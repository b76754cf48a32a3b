"""What the store and the catalog of one memory share, as those of one database do."""

from dataclasses import dataclass, field
from threading import RLock

from app.domain.study import Study
from app.store.catalog import Record


@dataclass
class MemoryRows:
    """Studies and records by id; whoever reads or changes them holds `lock`."""

    studies: dict[str, Study] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)

    def registered(self, tenant: str) -> list[str]:
        """Ids of the tenant's records."""
        return [record.id for record in self.records.values() if record.tenant == tenant]
