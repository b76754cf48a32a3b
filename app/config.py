"""Settings: the only place that reads the environment. Every field is an environment variable MERGEFRONT_<FIELD>."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.store.engine import sqlite_url

_Names = Annotated[tuple[str, ...], NoDecode]
_Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
_Folders = Annotated[tuple[_Folder, ...], NoDecode]


class Settings(BaseSettings):
    """How a process of the service is set up. Lists are written with commas. Sizes are bytes, times seconds."""

    model_config = SettingsConfigDict(env_prefix="MERGEFRONT_", frozen=True, extra="forbid")

    data: _Folder = Field(Path("var"), validate_default=True, description="Directory of the embedded database, blobs, uploads and caches.")
    host: str = Field("127.0.0.1", description="Address to listen at; any but a loopback address needs an API key to exist.")
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64, description="Worker processes of the embedded service.")
    database: str = Field("", description="URL of the database; empty for SQLite under `data`.")
    broker: str = Field("", description="URL of Redis or Valkey; empty for the embedded one.")
    blobs: str = Field("", description="`s3://bucket/prefix`; empty for a directory under `data`.")
    s3_endpoint: str = Field("", description="URL of an S3-compatible server other than AWS.")
    factories: _Names = Field((), description="Factories that studies may name, as FILE.py:CALLABLE with an absolute path.")
    directories: _Folders = Field((), description="Directories whose files studies and registrations may name.")
    buckets: _Names = Field((), description="Places in S3 that registrations may name, as s3://bucket/prefix; all callers may read them.")
    hub: bool = Field(False, description="Whether hf://repo@commit references are read.")
    cache_bytes: int = Field(20 * 2**30, ge=0, description="Size of a worker's local cache of blobs.")
    quota_bytes: int = Field(0, ge=0, description="What one tenant may store; 0 for no bound.")
    grace_seconds: float = Field(86_400.0, ge=0, description="How long bytes are kept that no tenant holds any more.")
    body_bytes: int = Field(1 << 20, ge=1, description="Largest JSON body.")
    lease_seconds: float = Field(60.0, gt=0)
    sweep_seconds: float = Field(5.0, gt=0)
    device: str = Field("auto", description="Where merges are evaluated: cpu, cuda, cuda:1, auto.")
    memory_gb: float | None = Field(None, gt=0, description="Memory for base and task vectors; what exceeds it is streamed.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("factories", "directories", "buckets", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given

    @property
    def database_url(self) -> str:
        return self.database or sqlite_url(self.data / "records.sqlite")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
