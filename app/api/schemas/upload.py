"""Uploads as clients see them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.actions.uploads import Announced

UPLOAD_ID = "upload_01jd8e5v7hk2m3n4p5q6r7s8t9"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Digest = Annotated[str, Field(description="sha256 of the bytes, hexadecimal.", pattern="^[0-9a-f]{64}$", examples=[SHA256])]


class Announcement(BaseModel):
    """Bytes that are going to be sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    digest: Digest
    size: Annotated[int, Field(description="How many bytes they are.", ge=0, le=1 << 44, examples=[91_000_000])]


class UploadShape(BaseModel):
    """Where announced bytes stand."""

    id: Annotated[str | None, Field(description="Of the upload; null once all is stored.", examples=[UPLOAD_ID])]
    digest: Digest
    size: Annotated[int, Field(description="How many bytes they are.", examples=[91_000_000])]
    offset: Annotated[int, Field(description="How many of them are there.", examples=[0])]
    stored: Annotated[bool, Field(description="Whether nothing is left to be sent.", examples=[False])]


class DigestList(BaseModel):
    """Bytes that a client is about to name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    digests: Annotated[list[Digest], Field(description="At most 10,000.", max_length=10_000, examples=[[SHA256]])]


class Missing(BaseModel):
    """Which of them have to be uploaded."""

    missing: Annotated[list[str], Field(description="Digests, in the order in which they were asked.", examples=[[SHA256]])]


def upload_shape(digest: str, size: int, announced: Announced) -> UploadShape:
    upload = announced.upload
    return UploadShape(id=upload.id if upload else None, digest=digest, size=size, offset=announced.offset, stored=upload is None)
