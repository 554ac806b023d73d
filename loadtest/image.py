"""Builds the images of the Dockerfile and starts them like their platforms: size, start, stop.

    sudo python loadtest/image.py [--smoke]

It needs root and Debian's `buildah` and `debootstrap`, but no registry of images: the base is a Debian with
Python made here instead of `python:3.13-slim` (sizes are without the base). A started
image has a read-only root and the user of its configuration.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from measuring import ROOT, at_most, report, say, sizes

BASE = "judge-base"
SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
SLIM = "aws,redis,service"
PORT = 18_080
BODY = {"samples": [{"id": "a", "response": "Paris.", "reference": "Paris."}]}


def main() -> None:
    options = sizes(__doc__)
    if missing := [name for name in ("buildah", "debootstrap") if not shutil.which(name)]:
        sys.exit(f"{' and '.join(missing)} not found; apt-get install {' '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="judge-image-") as folder:
        images = Images(Path(folder))
        images.make_base()
        base_mb = images.megabytes(BASE)
        over = {"service": images.build("service") - base_mb}
        figures = [at_most("service over its base", over["service"], 250, "MB")]
        started = {"service": start(images, "service")}
        if not options.smoke:
            over["slim"] = images.build("service", tag="slim", EXTRAS=SLIM) - base_mb
            figures.append(at_most("the same without embedded judge", over["slim"], 120, "MB"))
            over["sagemaker"] = images.build("sagemaker") - base_mb
            started["sagemaker"] = start(images, "sagemaker")
            images.build("sbom")
        figures += [
            at_most(f"{name}: SIGTERM to exit", s["stop_s"], 25, "s") for name, s in started.items()
        ]
    details = {"base": f"Debian {SUITE}, {PACKAGES}", "mb_over_base": over, "started": started}
    report("image", figures, details, smoke=options.smoke)


class Images:
    """Images and containers of buildah in a separate folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def buildah(self, *arguments: str) -> str:
        """Runs buildah. Returns its output."""
        places = ("--root", f"{self._folder}/images", "--runroot", f"{self._folder}/run")
        command = ["buildah", "--storage-driver", "vfs", *places, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"buildah {arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout.strip()

    def make_base(self) -> None:
        """Makes a Debian with Python and this machine's certificates, so that pip reaches the registry."""
        say("debootstrap ...")
        made = self._folder / "base"
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            SUITE,
            made / "root",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(AUTHORITIES, f"{made}/root{AUTHORITIES}")
        (made / "Dockerfile").write_text(f"FROM scratch\nCOPY root /\nENV PIP_CERT={AUTHORITIES}\n")
        self.buildah("build", "--isolation", "chroot", "--tag", BASE, str(made))
        shutil.rmtree(made)

    def build(self, target: str, tag: str = "", **arguments: str) -> float:
        """Builds a target of the Dockerfile. Returns its size in megabytes."""
        say(f"build {tag or target} ...")
        told = {"BASE": f"localhost/{BASE}", **arguments}
        flags = [f"--build-arg={name}={value}" for name, value in told.items()]
        how = ("--isolation", "chroot", "--format", "docker", "--target", target)
        self.buildah("build", *how, *flags, "--tag", tag or target, ".")
        return self.megabytes(tag or target)

    def megabytes(self, image: str) -> float:
        with self.mounted(image) as root:
            said = subprocess.run(["du", "-sb", root], capture_output=True, text=True, check=True)
        return int(said.stdout.split()[0]) / 1e6

    def configuration(self, image: str) -> Any:
        """The image's configuration: user, command, environment."""
        said = self.buildah("inspect", "--type", "image", f"localhost/{image}")
        return json.loads(said)["Docker"]["config"]

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        container = self.buildah("from", "--pull-never", f"localhost/{image}")
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)


def start(images: Images, image: str) -> dict[str, float]:
    """Starts an image like `docker run IMAGE serve`, requests a reward, and stops it. Returns seconds."""
    config = images.configuration(image)
    with images.mounted(image) as root:
        command = inside(root, config, [*config["Entrypoint"], "serve"])
        began_s = time.monotonic()
        with subprocess.Popen(command, env=environ(config)) as process:
            try:
                ready_s = until_ready(process, began_s)
                ask()
                if "Healthcheck" in config:
                    healthy = inside(root, config, config["Healthcheck"]["Test"][1:])
                    subprocess.run(healthy, env=environ(config), check=True)
            finally:
                began_s = time.monotonic()
                process.send_signal(signal.SIGTERM)
                code = process.wait(30)
        stop_s = time.monotonic() - began_s
    if code:
        sys.exit(f"{image}: `judge serve` ended with {code} after SIGTERM")
    return {"ready_s": round(ready_s, 2), "stop_s": round(stop_s, 2)}


def inside(root: Path, config: Any, command: list[str]) -> list[str]:
    """The command in a mount namespace whose root is the image, read-only except a new /tmp."""
    script = (
        'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t tmpfs none "$0/tmp"'
        ' && mount -t proc none "$0/proc" && exec chroot --userspec="$1" "$0" "${@:2}"'
    )
    user = config.get("User") or "0:0"
    return ["unshare", "--mount", "bash", "-c", script, str(root), user, *command]


def environ(config: Any) -> dict[str, str]:
    """The environment of the image's process: its variables and a free port."""
    return {
        **dict(line.split("=", 1) for line in config["Env"]),
        "JUDGE_SERVICE_HOST": "127.0.0.1",
        "JUDGE_SERVICE_PORT": str(PORT),
    }


def until_ready(process: "subprocess.Popen[bytes]", began_s: float) -> float:
    """Seconds from its start until /ping answers 200."""
    while process.poll() is None and time.monotonic() < began_s + 60:
        try:
            with urlopen(f"http://127.0.0.1:{PORT}/ping", timeout=2):
                return time.monotonic() - began_s
        except (URLError, OSError):
            time.sleep(0.05)
    sys.exit("the image did not become ready within 60 s; its own message is above")


def ask() -> None:
    headers = {"content-type": "application/json"}
    body = json.dumps(BODY).encode()
    with urlopen(
        Request(f"http://127.0.0.1:{PORT}/v1/rewards", body, headers), timeout=10
    ) as reply:
        rewards = json.load(reply)["rewards"]
    if not 0.5 < rewards[0]["score"] <= 1:
        sys.exit(f"the image judges wrongly: {rewards}")


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("loadtest/image.py mounts and changes roots; run it as root")
    main()
