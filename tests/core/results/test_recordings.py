"""Recordings: each once, whole, named by ids, and nothing fetched from where no recording can be."""

from __future__ import annotations

import importlib
import logging
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.dialled import DialledCampaign
from support.examples import examples
from support.messages import call, job_complete, store
from support.processes import until
from support.web import Handler, served

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.core.results import download_recordings, recordings
from airflow_provider_outbound.core.results.fetch import RecordingUnavailableError, safe_link
from airflow_provider_outbound.exceptions import JobGroupPurgedError, OutboundBotConfigError

#: Seven answered, three not: see the simulator's table of last digits.
NUMBERS = [f"138000000{digits:02}" for digits in (0, 1, 2, 3, 40, 41, 54, 60, 80, 89)]


def download(campaign: DialledCampaign, folder: Path, **options: Any) -> dict[str, Any]:
    return download_recordings(
        campaign.ledger,
        campaign.client,
        campaign.job_group_id,
        folder,
        **{"timeout": 60.0, "poll_interval": 0.1, "notice_patience": 0.2, **options},
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def expected(campaign: DialledCampaign) -> list[str]:
    return sorted(f"{job_id}_{task_id}.wav" for task_id, job_id in campaign.answered_calls().items())


def assert_whole(folder: Path) -> None:
    for path in folder.iterdir():
        with wave.open(str(path)) as sound:
            assert sound.getnframes() == 2000


def test_each_answered_call_has_its_recording_and_no_name_is_a_number_or_a_remote_one(
    campaign: DialledCampaign, tmp_path: Path
) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.notice(list(campaign.answered_calls()))
    folder = tmp_path / "new" / "recordings"

    result = download(campaign, folder)

    assert names(folder) == expected(campaign)
    assert_whole(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    counts = {"answered": 7, "downloaded": 7, "present": 0, "missing": 0, "bytes": size}
    assert result == {"path": str(folder), **counts}
    assert campaign.requests("DownloadRecording") == 0


def test_the_mkv_of_a_notice_is_downloaded_beside_the_recording_and_never_replaced_by_it(
    campaign: DialledCampaign, tmp_path: Path
) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.notice(list(campaign.answered_calls())[:2], field="mkvUrl")
    download(campaign, tmp_path / "r")

    result = download(campaign, tmp_path / "r", mkv=True, timeout=3.0)

    assert (result["answered"], result["downloaded"], result["missing"]) == (7, 2, 5)
    extra = sorted({*names(tmp_path / "r")} - {*expected(campaign)})
    assert [name.partition(".")[0] for name in extra] == sorted(
        f"{job_id}_{task_id}_mkv" for task_id, job_id in list(campaign.answered_calls().items())[:2]
    )
    assert campaign.requests("DownloadRecording") == 7


def test_notices_that_never_came_are_made_up_for_by_the_api(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.notice(list(campaign.answered_calls())[:2])

    result = download(campaign, tmp_path / "r")

    assert (result["downloaded"], result["missing"]) == (7, 0)
    assert names(tmp_path / "r") == expected(campaign)
    assert campaign.requests("DownloadRecording") == 5


def test_a_group_that_only_the_api_knows(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)

    result = download(campaign, tmp_path / "r")

    assert (result["answered"], result["downloaded"], result["missing"]) == (7, 7, 0)
    assert names(tmp_path / "r") == expected(campaign)


def test_files_that_are_there_are_not_fetched_again(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    download(campaign, tmp_path / "r")
    lost = expected(campaign)[3]
    (tmp_path / "r" / lost).unlink()
    before = campaign.requests("recording")

    result = download(campaign, tmp_path / "r")

    assert (result["downloaded"], result["present"], result["missing"]) == (1, 6, 0)
    assert campaign.requests("recording") == before + 1
    assert names(tmp_path / "r") == expected(campaign)


@pytest.mark.parametrize("fault", ["recording_missing", "recording_wrong_type", "recording_truncated"])
def test_a_recording_that_is_not_whole_at_first_comes_later(
    campaign: DialledCampaign, tmp_path: Path, fault: str
) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.simulator.faults(**{fault: 5})

    result = download(campaign, tmp_path / "r")

    assert (result["downloaded"], result["missing"]) == (7, 0)
    assert campaign.requests("recording") == 12
    assert names(tmp_path / "r") == expected(campaign)
    assert_whole(tmp_path / "r")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("recording_missing", "its link answers HTTP 404", id="missing"),
        pytest.param("recording_wrong_type", "it is not audio", id="wrong-type"),
        pytest.param("recording_truncated", "its download failed", id="truncated"),
    ],
)
def test_what_is_missing_at_the_end_is_counted_with_its_reason_and_no_link(
    campaign: DialledCampaign, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str, reason: str
) -> None:
    caplog.set_level(logging.DEBUG)
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.notice(list(campaign.answered_calls()))
    campaign.simulator.faults(**{fault: True})

    result = download(campaign, tmp_path / "r", timeout=2.0)

    assert (result["answered"], result["downloaded"], result["missing"], result["bytes"]) == (7, 0, 7, 0)
    assert f"7 recordings are missing: 7 × {reason}" in caplog.text
    assert not (tmp_path / "r").exists() or not names(tmp_path / "r")
    for secret in ("Signature=", "/recordings/", *NUMBERS):
        assert secret not in caplog.text


def test_a_slow_recording_does_not_hold_back_the_end(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS[:1])
    campaign.collect()
    campaign.simulator.faults(recording_slow=3.0)

    result = download(campaign, tmp_path / "r", timeout=1.0)

    assert result["missing"] == 1
    assert not (tmp_path / "r").exists() or not names(tmp_path / "r")


def test_notices_are_followed_while_the_campaign_runs(campaign: DialledCampaign, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    waiter = threading.Thread(target=lambda: found.update(download(campaign, tmp_path / "r")))
    campaign.dial(NUMBERS)
    campaign.tell(*campaign.jobs(), eventType="Dialing", status="Executing", failureReason=None)
    campaign.simulator.faults(reset=True)  # the API tells nothing: only messages do
    waiter.start()

    campaign.collect()
    campaign.notice(list(campaign.answered_calls()))
    waiter.join(60)

    assert not waiter.is_alive()
    assert (found["downloaded"], found["missing"]) == (7, 0)


def test_a_notice_that_may_still_come_is_waited_for(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    found: dict[str, Any] = {}
    waiter = threading.Thread(target=lambda: found.update(download(campaign, tmp_path / "r", notice_patience=3600.0)))
    waiter.start()

    campaign.notice(list(campaign.answered_calls()))
    waiter.join(60)

    assert (found["downloaded"], found["missing"]) == (7, 0)
    assert campaign.requests("DownloadRecording") == 0


def test_an_expired_link_is_replaced_by_a_new_one(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS[:2])
    campaign.collect()
    api = campaign.simulator.api
    campaign.notice(list(campaign.answered_calls()), url=f"{api}/recordings/x.wav?Expires=1&Signature=old")

    result = download(campaign, tmp_path / "r")

    assert result["downloaded"] == 2
    assert campaign.requests("DownloadRecording") == 2


def test_a_message_cannot_make_this_machine_connect_elsewhere(campaign: DialledCampaign, tmp_path: Path) -> None:
    visited = []

    class Inside(Handler):
        def do_GET(self) -> None:
            visited.append(self.path)
            self.answer(200, b"RIFF" + b"\0" * 40)

    with served(Inside) as url:
        campaign.dial(NUMBERS[:1])
        campaign.collect()
        campaign.notice(list(campaign.answered_calls()), url=f"{url}/x.wav")

        result = download(campaign, tmp_path / "r")

    assert result["downloaded"] == 1  # from the service, whose own link was asked for
    assert not visited
    assert_whole(tmp_path / "r")


def tell_of_one(ledger: Ledger, url: str) -> None:
    """An answered call, and the notice of its recording."""
    ended = job_complete("g", "job-1", "13800000001", "r-1", call("call-1"))
    recording = {"taskId": "call-1", "fileName": "x", "url": url}
    notice: dict[str, Any] = {"eventType": "RecordingReady", "status": None, "tasks": [], "recording": recording}
    store(ledger, ended, ended | notice)


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, threading.Event]]:
    """Address of a server whose recordings never end, and whether it was asked for one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with importlib.import_module("dripping").dripping_server() as server:
        yield server


def client_of(api: str) -> OutboundBotClient:
    return OutboundBotClient(ClientSettings(access_key_id="k", access_key_secret="s", endpoint=api, instance_id="i"))


def test_a_server_that_drips_bytes_does_not_hold_back_the_end(
    ledger: Ledger, tmp_path: Path, dripping: tuple[str, threading.Event]
) -> None:
    """It would come for a day, and no timeout of a socket notices."""
    tell_of_one(ledger, f"{dripping[0]}/x.wav")

    result = download_recordings(ledger, client_of(dripping[0]), "g", tmp_path / "r", timeout=2.0, poll_interval=0.1)

    assert (result["downloaded"], result["missing"]) == (0, 1)
    assert not [path for path in tmp_path.glob("r/*") if not path.name.startswith(".")]


def test_a_download_that_is_given_up_makes_room_for_others(
    ledger: Ledger,
    tmp_path: Path,
    dripping: tuple[str, threading.Event],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recordings, "DOWNLOAD_SECONDS", 0.5)
    tell_of_one(ledger, f"{dripping[0]}/x.wav")
    options: dict[str, Any] = {"timeout": 4.0, "poll_interval": 0.1, "max_parallel_requests": 1}

    result = download_recordings(ledger, client_of(dripping[0]), "g", tmp_path / "r", **options)

    assert result["missing"] == 1
    assert "1 recording is missing: 1 × the download is too slow" in caplog.text


def test_a_task_that_is_to_end_does_not_wait_for_a_server_that_drips(
    ledger: Ledger, tmp_path: Path, dripping: tuple[str, threading.Event], key: str
) -> None:
    tell_of_one(ledger, f"{dripping[0]}/x.wav")
    arguments = (f"sqlite:///{tmp_path}/ledger.db", key, dripping[0], "g", str(tmp_path / "r"))
    command = [sys.executable, str(Path(__file__).parent / "dripping.py"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert dripping[1].wait(60)
        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_only_a_sound_counts_as_a_recording_that_is_there(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    folder = tmp_path / "r"
    download(campaign, folder)
    wanted = expected(campaign)
    stems = [name.removesuffix(".wav") for name in wanted]
    for name in wanted[:5]:
        (folder / name).unlink()
    (folder / f"{stems[0]}.txt").write_text("notes on this call")
    (folder / wanted[1]).touch()
    (folder / wanted[2]).write_bytes(b"RIFF")
    (folder / wanted[3]).write_bytes((folder / wanted[5]).read_bytes()[:1000])
    (folder / f"{stems[4]}.mp3").write_bytes(b"ID3" + b"\0" * 100)

    result = download(campaign, folder)

    assert (result["downloaded"], result["present"], result["missing"]) == (4, 3, 0)
    for name in {*wanted} - {wanted[4]}:
        with wave.open(str(folder / name)) as sound:
            assert sound.getnframes() == 2000
    assert {path.stat().st_mode & 0o077 for path in folder.glob("*.wav")} == {0}


def test_recordings_of_a_purged_group_are_a_clear_error(ledger: Ledger, tmp_path: Path) -> None:
    tell_of_one(ledger, "http://127.0.0.1:1/x.wav")
    ledger.retention.purge(timedelta(0), job_group_id="g")

    with pytest.raises(JobGroupPurgedError, match="job group g: its rows were purged"):
        download_recordings(ledger, client_of("http://127.0.0.1:1"), "g", tmp_path / "r")


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
@pytest.mark.parametrize(
    "host",
    [
        *("[::1]", "[::1]:8443", "[2001:4860:4860::8888]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[fe80::1%25eth0]"),
        *("127.0.0.1", "10.0.0.8", "169.254.169.254", "127.1", "0x7f000001", "017700000001", "localhost", "localhost."),
        *("redis", "redis.", "metadata.google.internal", "nas.local", "router.home.arpa."),
        *("[v1.x]", "[::1]x"),
    ],
)
def test_no_private_address_is_followed_whatever_the_proxy(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, proxy: str | None
) -> None:
    for scheme in ("http", "https"):
        monkeypatch.delenv("no_proxy", raising=False)
        if proxy is not None:
            monkeypatch.setenv(f"{scheme}_proxy", proxy)
        with pytest.raises(RecordingUnavailableError):
            safe_link(f"{scheme}://{host}/x.wav", "https://outboundbot.cn-shanghai.aliyuncs.com")


@given(address=st.ip_addresses())
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_address_is_followed_only_if_it_is_public(monkeypatch: pytest.MonkeyPatch, address: Any) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    host = f"[{address}]" if address.version == 6 else str(address)
    link = f"https://{host}/x.wav"

    if address.version == 4 and address.is_global:
        assert safe_link(link, "https://o.aliyuncs.com") == link
    else:
        with pytest.raises(RecordingUnavailableError):
            safe_link(link, "https://o.aliyuncs.com")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("file:///etc/passwd", "not http or https", id="file"),
        pytest.param("ftp://a.aliyuncs.com/x", "not http or https", id="ftp"),
        pytest.param("https://user@a.aliyuncs.com/x", "not http or https", id="user"),
        pytest.param("https:///x", "not http or https", id="no-host"),
        pytest.param("https://[::1", "not a URL", id="broken"),
        pytest.param("https://127.0.0.1/x", "private address", id="loopback"),
        pytest.param("https://[::1]/x", "private address", id="loopback-6"),
        pytest.param("https://[::ffff:127.0.0.1]/x", "private address", id="mapped"),
        pytest.param("http://169.254.169.254/latest/meta-data", "private address", id="metadata"),
        pytest.param("http://100.100.100.200/latest/meta-data", "private address", id="metadata-of-ecs"),
        pytest.param("https://10.0.0.8/x", "private address", id="private"),
        pytest.param("https://2130706433/x", "private address", id="number"),
        pytest.param("https://evilaliyuncs.com.localhost/x", "private address|unknown", id="not-the-storage"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")

    with pytest.raises(RecordingUnavailableError, match=words):
        safe_link(url, "https://outboundbot.cn-shanghai.aliyuncs.com")


@pytest.mark.parametrize(
    ("url", "api", "link"),
    [
        pytest.param("https://b.oss.aliyuncs.com/x?s", "https://o.aliyuncs.com", "https://b.oss.aliyuncs.com/x?s"),
        pytest.param("http://b.oss.aliyuncs.com:80/x", "https://o.aliyuncs.com", "https://b.oss.aliyuncs.com/x"),
        pytest.param("http://b.oss.aliyuncs.com/x", "http://o.aliyuncs.com", "http://b.oss.aliyuncs.com/x"),
        pytest.param("http://127.0.0.1:80/x", "http://127.0.0.1:80", "http://127.0.0.1:80/x"),
        pytest.param("https://8.8.8.8/x", "https://o.aliyuncs.com", "https://8.8.8.8/x"),
    ],
)
def test_links_to_the_service_are_followed_with_tls(url: str, api: str, link: str) -> None:
    assert safe_link(url, api) == link


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    class Moved(Handler):
        def do_GET(self) -> None:
            self.answer(302, Location="http://169.254.169.254/")

    from airflow_provider_outbound.core.client import ClientSettings
    from airflow_provider_outbound.core.results.fetch import Fetcher

    with served(Moved) as api:
        fetcher = Fetcher(ClientSettings(endpoint=api), connections=1, go_on=lambda: None)
        with pytest.raises(RecordingUnavailableError, match="HTTP 302"):
            fetcher.fetch(f"{api}/x", tmp_path / "r", "x")
        fetcher.close()

    assert not (tmp_path / "r").exists()


def test_a_folder_that_cannot_be_written_is_said_in_words(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS[:1])
    campaign.collect()
    (tmp_path / "file").touch()

    with pytest.raises(OutboundBotConfigError, match=r"path '.*file.*' cannot be (read|written): "):
        download(campaign, tmp_path / "file")


@pytest.mark.parametrize("limit", [0, 1.5])
def test_a_number_of_requests_that_means_nothing_is_refused(
    campaign: DialledCampaign, tmp_path: Path, limit: Any
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"max_parallel_requests: .* is not (1 or more|a whole number)"):
        download(campaign, tmp_path / "r", max_parallel_requests=limit)


def test_no_thread_is_left_behind(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    before = set(threading.enumerate())

    download(campaign, tmp_path / "r")

    until(lambda: not set(threading.enumerate()) - before, "no thread is left", patience=30)
