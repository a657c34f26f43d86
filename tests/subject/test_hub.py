"""Without a network the hub is asked once, for seconds, and the copies from before are taken."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
from huggingface_hub import constants

from alternet import hub
from alternet.data.datasets import dataset
from alternet.hub import one_try
from alternet.subject.loading import load


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """No network and an empty cache; who was asked."""
    asked: list[Any] = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return asked


@pytest.mark.parametrize("name", ["resnet18@pretrained", "hf:facebook/dinov2-small"])
def test_without_a_network_one_try_ends_in_one_line(nobody: list[Any], name: str) -> None:
    if name.startswith("hf:"):
        pytest.importorskip("transformers", reason="the extra hf is not installed")
    with pytest.raises(ValueError, match=r"cannot be fetched \(huggingface.co does not answer, and there is no copy"):
        load(name)
    assert len(nobody) == 1
    assert not constants.HF_HUB_OFFLINE


def test_data_of_the_hub_as_well(nobody: list[Any]) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    with pytest.raises(ValueError, match="cannot open 'hfds/nobody/nothing'.*does not answer"):
        dataset("hfds/nobody/nothing", split="test")
    assert set(nobody) == {("huggingface.co", 443)}


def test_what_was_downloaded_before_is_taken(
    nobody: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def create(name: str, pretrained: bool = False, **settings: Any) -> Any:
        if pretrained:
            assert huggingface_hub.hf_hub_download("some/model", "w.bin", cache_dir=tmp_path) == str(kept)
        return original(name, **settings)

    kept = tmp_path / "models--some--model" / "snapshots" / ("0" * 40) / "w.bin"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("0" * 40)
    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    load("resnet18@pretrained")
    assert len(nobody) == 1


def test_an_address_that_never_answers_takes_five_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_long_enough = threading.Event()

    def never(*_: Any, **__: Any) -> Any:
        asked_long_enough.wait(60)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub, "SECONDS", 0.1)
    begun = time.monotonic()
    with one_try():
        assert constants.HF_HUB_OFFLINE and time.monotonic() - begun < 5
    assert not constants.HF_HUB_OFFLINE
    with pytest.raises(RuntimeError, match="as it is"), one_try():
        raise RuntimeError("as it is")
    assert not constants.HF_HUB_OFFLINE
    asked_long_enough.set()


def test_a_proxy_is_asked_and_not_the_hub(nobody: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    with one_try():
        assert not constants.HF_HUB_OFFLINE
    assert nobody == []


def test_a_hub_that_answers_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hub, "getproxies", dict)
        with one_try():
            assert not constants.HF_HUB_OFFLINE
