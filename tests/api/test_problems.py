import socket
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from automl_api.client import Client, ProblemError, ServiceUnreachable
from automl_api.serving import check_host, listen, read_settings
from automl_api.settings import Settings
from automl_compress.core.errors import InvalidInput
from tests.api.conftest import RunningService, problem, running_service


def test_a_path_that_is_not_there_is_a_problem(service: RunningService) -> None:
    problem(service.http.get("/v1/nothing"), 404, "not-found")


def test_a_method_that_is_not_there_names_those_that_are(service: RunningService) -> None:
    answer = problem(service.http.put("/v1/jobs"), 405, "method-not-allowed")

    assert "GET, HEAD, POST" in answer["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/jbs", 404), ("PUT", "/new", 405)])
def test_a_mistyped_address_is_explained_by_a_page(
    service: RunningService, method: str, path: str, status: int
) -> None:
    answer = service.http.request(method, path, headers={"Accept": "text/html"})

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert path in answer.text
    assert '<a href="./">All jobs</a>' in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert (status == 404) or answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/v1/jbs", "text/html"), ("/jbs", "application/json"), ("/static/x.js", "text/html")],
)
def test_programs_get_a_problem_document(service: RunningService, path: str, accept: str) -> None:
    problem(service.http.get(path, headers={"Accept": accept}), 404, "not-found")


def test_a_body_that_is_not_json_is_malformed(service: RunningService) -> None:
    headers = {"Content-Type": "application/json"}

    response = service.http.post("/v1/jobs", content=b'{"name": ', headers=headers)

    problem(response, 400, "malformed")


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"'])
def test_a_body_of_another_shape_is_invalid(service: RunningService, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    problem(service.http.post("/v1/models", content=content, headers=headers), 422, "invalid")


def test_a_body_of_another_type_is_refused(service: RunningService) -> None:
    headers = {"Content-Type": "text/plain"}

    response = service.http.post("/v1/models", content=b'{"name": "x"}', headers=headers)

    problem(response, 422, "invalid")


def test_a_body_that_is_too_large_is_refused(service: RunningService) -> None:
    headers = {"Content-Type": "application/json"}

    response = service.http.post("/v1/jobs", content=b" " * 5_000_000, headers=headers)

    problem(response, 413, "too-large")


def test_a_request_id_is_echoed_where_it_is_harmless(service: RunningService) -> None:
    told = service.http.get("/v1/health", headers={"X-Request-Id": "abc-1"})
    odd = service.http.get("/v1/health", headers={"X-Request-Id": "a b<c>"})

    assert told.headers["X-Request-Id"] == "abc-1"
    assert odd.headers["X-Request-Id"] != "a b<c>"


def test_without_a_key_other_names_of_the_host_are_refused(service: RunningService) -> None:
    response = service.http.get("/v1/health", headers={"Host": "evil.example"})

    problem(response, 403, "forbidden")


def test_every_path_of_the_interface_is_described(service: RunningService) -> None:
    told = service.http.get("/openapi.json").json()

    assert {"/v1/files", "/v1/models", "/v1/datasets", "/v1/jobs"} <= set(told["paths"])
    assert service.http.get("/docs").status_code == 200


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningService]:
    directory = tmp_path_factory.mktemp("locked")
    with running_service(Settings(data_dir=directory, key=SecretStr("secret"))) as running:
        yield running


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic secret", "secret"])
def test_with_a_key_every_path_wants_it(locked: RunningService, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    for path in ("/", "/v1/jobs", "/openapi.json", "/v1/nothing"):
        response = locked.http.get(path, headers=headers)
        problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert locked.http.get("/v1/health").status_code == 200


def test_the_client_sends_the_key(locked: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(locked.url, "secret") as client:
        assert list(client.jobs()) == []
    monkeypatch.setenv("AUTOML_COMPRESS_KEY", "wrong")
    monkeypatch.setenv("AUTOML_COMPRESS_URL", locked.url)
    with Client() as client, pytest.raises(ProblemError) as caught:
        list(client.jobs())
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")


def test_a_client_without_a_service_says_how_to_start_one() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}")

    with client, pytest.raises(ServiceUnreachable, match="automl-compress serve"):
        client.health()


def test_answers_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP  # or asyncio leaves them to Nagle's algorithm


def test_a_port_in_use_is_said() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]

        with pytest.raises(InvalidInput, match=f"port {port} .* in use; choose another"):
            listen("127.0.0.1", port)


def test_a_service_without_a_key_binds_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="set AUTOML_COMPRESS_KEY"):
        check_host(Settings(data_dir=tmp_path, host="0.0.0.0"))
    check_host(Settings(data_dir=tmp_path, host="0.0.0.0", key=SecretStr("secret")))
    check_host(Settings(data_dir=tmp_path, host="localhost"))


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOML_COMPRESS_PORT", "http")

    with pytest.raises(InvalidInput, match="AUTOML_COMPRESS_PORT is 'http'"):
        read_settings()


def test_tables_that_are_gone_are_unavailable_and_not_ready(tmp_path: Path) -> None:
    with running_service(Settings(data_dir=tmp_path)) as running:
        assert running.http.get("/v1/ready").status_code == 200
        with closing(sqlite3.connect(tmp_path / "automl-compress.sqlite")) as tables:
            tables.execute("UPDATE compress_alembic_version SET version_num = '0000'")
            tables.commit()

        problem(running.http.get("/v1/ready"), 503, "unavailable")
        assert running.http.get("/v1/health").status_code == 200


def test_an_unexpected_error_says_nothing_of_the_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from automl_api.jobs import endpoints

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is plum")

    monkeypatch.setattr(endpoints.browsing, "jobs_behind", broken)
    with running_service(Settings(data_dir=tmp_path)) as running:
        answer = problem(running.http.get("/v1/jobs"), 500, "internal")
        assert running.http.get("/v1/health").status_code == 200

    assert "plum" not in str(answer)
    assert answer["request_id"] in answer["detail"]


@pytest.mark.parametrize(
    ("path", "parameter", "told"),
    [
        ("/v1/jobs?txt=x", "txt", "no such parameter; did you mean 'text'?"),
        ("/v1/jobs/job_0/best?max_size_bytes=9", "max_size_bytes", "it takes max_ratio, metric"),
        ("/v1/health?verbose=1", "verbose", "it takes none"),
        ("/v1/models?limit=1&limit=2", "limit", "it stands twice"),
        ("/v1/jobs/job_0/events?last=1", "last", "it takes after, limit"),
        ("/metrics?name=x", "name", "it takes none"),
    ],
)
def test_a_parameter_that_an_operation_does_not_have_is_refused(
    service: RunningService, path: str, parameter: str, told: str
) -> None:
    answer = problem(service.http.get(path), 422, "invalid")

    assert told in answer["detail"]
    assert [each["parameter"] for each in answer["errors"]] == [parameter]


def test_every_unknown_parameter_is_named_also_where_a_body_comes(service: RunningService) -> None:
    answer = problem(service.http.post("/v1/models?dry=1&tag=a", json={}), 422, "invalid")

    assert [each["parameter"] for each in answer["errors"]] == ["dry", "tag"]


def test_parameters_that_may_repeat_do_and_pages_are_free(service: RunningService) -> None:
    assert service.http.get("/v1/jobs?tag=a:b&tag=c:d").status_code == 200
    assert service.http.get("/?utm_source=mail").status_code == 200


def test_every_operation_may_refuse_a_query(service: RunningService) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]

    assert all(
        "422" in operation["responses"]
        for operations in paths.values()
        for operation in operations.values()
    )
