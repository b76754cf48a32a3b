"""Models as clients of the Hugging Face hub see them; the names are the hub's."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubFile(BaseModel):
    """The name of a file."""

    rfilename: Annotated[str, Field(description="Path within the model.", examples=["config.json"])]


class HubModel(BaseModel):
    """A model: a merge, or a study's base."""

    id: Annotated[str, Field(description="Its name.", examples=["images-2/point-1"])]
    modelId: Annotated[str, Field(description="The same.", examples=["images-2/point-1"])]
    sha: Annotated[str, Field(description="Its only commit: a digest of inputs and coefficients.", examples=[COMMIT])]
    private: Annotated[bool, Field(description="Whether a key is needed; told by the service elsewhere.", examples=[False])] = False
    disabled: Annotated[bool, Field(description="Never.", examples=[False])] = False
    gated: Annotated[bool, Field(description="Never.", examples=[False])] = False
    downloads: Annotated[int, Field(description="Not counted.", examples=[0])] = 0
    likes: Annotated[int, Field(description="Not counted.", examples=[0])] = 0
    tags: Annotated[list[str], Field(description="What the hub groups models by.", examples=[["merge", "mergefront"]])]
    siblings: list[HubFile]


class HubEntry(BaseModel):
    """A file or a folder of a model."""

    type: Annotated[Literal["file", "directory"], Field(description="Which of them.", examples=["file"])]
    path: Annotated[str, Field(description="Path within the model.", examples=["config.json"])]
    size: Annotated[int, Field(description="Bytes.", examples=[612])]
    oid: Annotated[str, Field(description="Changes whenever the file does.", examples=[COMMIT])]
