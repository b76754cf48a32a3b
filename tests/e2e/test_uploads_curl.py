"""The page on uploads, carried out as it stands, by curl alone."""

import json
import os
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save

WHOLE, REST, REGISTER = re.findall(r"^```sh\n(.*?)^```$", (Path(__file__).parents[2] / "docs" / "uploads.md").read_text(), re.M | re.S)
WEIGHTS = save({"weight": torch.ones(200, 200)})


def carry_out(api, folder, *blocks):
    (folder / "base.safetensors").write_bytes(WEIGHTS)
    environment = os.environ | {"SERVER": api.url}
    ended = subprocess.run(["sh", "-euc", "".join(blocks)], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_goes_on_with_what_was_cut_short(api, tmp_path):
    digest = sha256(WEIGHTS).hexdigest()
    part = {"Content_Range": f"bytes 0-9999/{len(WEIGHTS)}"}
    assert api.ask("PUT", f"/v1/blobs/{digest}", WEIGHTS[:10_000], **part).status == 204
    told = json.loads(carry_out(api, tmp_path, f"DIGEST={digest}\n", REST))
    assert (told["stored"], told["digest"]) == (True, digest)


def test_stores_and_registers(api, tmp_path):
    told = carry_out(api, tmp_path, WHOLE, "echo\n", REGISTER).splitlines()
    assert json.loads(told[0])["stored"]
    assert json.loads(told[1])["kind"] == "full"
