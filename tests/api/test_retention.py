"""Networks are kept for as long as the operator said; what is known of them stays."""

from datetime import timedelta
from pathlib import Path

from automl_api.engine.retention import LOOK_SECONDS, Retention
from automl_compress.store import ArtifactRow, artifacts
from automl_compress.store.artifacts import NewArtifact
from automl_compress.store.stored_files import file_violations
from tests.api.accounts import OPERATOR_KEY, Person, locked_settings
from tests.api.conftest import problem, running_service

HEADERS = {"Authorization": f"Bearer {OPERATOR_KEY}"}


def test_the_bytes_of_networks_go_and_documents_stay(tmp_path: Path) -> None:
    with running_service(locked_settings(tmp_path, artifact_days=30)) as service:
        anna = Person(service, "anna").furnish()
        job_id = anna.ids["job_id"]
        with service.database.session() as session:
            for name in ("old", "new"):
                written = service.files.write(f"artifacts/{job_id}/{name}", [b"weights"])
                artifacts.put(session, NewArtifact(job_id, name, "network", "x/y"), written)
            rows = {row.name: row for row in artifacts.of_job(session, job_id)}
            rows["old"].created_at -= timedelta(days=31)
            rows["a.json"].created_at -= timedelta(days=31)
            ids = {name: row.id for name, row in rows.items()}
        moment = [0.0]
        retention = Retention(service.database, service.files, 30, lambda: moment[0])

        def described(name: str) -> dict[str, str | None]:
            return service.http.get(f"/v1/artifacts/{ids[name]}", headers=HEADERS).json()

        assert retention.look() == [f"artifacts/{job_id}/old"]
        assert retention.look() == []

        content = f"/v1/artifacts/{ids['old']}/content"
        told = problem(service.http.get(content, headers=HEADERS), 404, "expired")
        assert "30" in told["detail"]
        assert described("old")["removed"] is not None
        assert described("old")["expires"] is None
        assert described("a.json")["expires"] is None
        assert not service.files.path_of(f"artifacts/{job_id}/old").exists()
        with service.database.reading() as session:
            new = session.get_one(ArtifactRow, ids["new"])
            expires = (new.created_at + timedelta(days=30)).isoformat()
            assert str(described("new")["expires"])[:19] == expires[:19]
            assert artifacts.stored_bytes(session, "anna") == len("{}") + len("weights")
            broken = dict(file_violations(session, service.files))
            assert not set(broken) & set(ids.values())
        for name in ("new", "a.json"):
            answer = service.http.get(f"/v1/artifacts/{ids[name]}/content", headers=HEADERS)
            assert answer.status_code == 200, name

        with service.database.session() as session:
            session.get_one(ArtifactRow, ids["new"]).created_at -= timedelta(days=31)
        assert retention.look() == [], "it looked a moment ago"
        moment[0] = LOOK_SECONDS
        assert retention.look() == [f"artifacts/{job_id}/new"]
