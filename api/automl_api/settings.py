"""What an operator may set, each by an environment variable `AUTOML_COMPRESS_...`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from automl_api.logs import LogFormat, LogLevel


class Settings(BaseSettings):
    """The settings of API and worker; both must see the same database and data directory.

    data_dir: uploads and artifacts, and the SQLite files where no database is named.
    database_url: `postgresql://...` or `sqlite:///...`; None for SQLite in the data directory.
    key: the bearer key that clients must send; None asks for none, on loopback only.
    root_path: the prefix under which a proxy serves this service, where it passes it on: `/x/y`.
    max_unfinished_jobs, max_stored_bytes: what an account may have; administrators have no limit.
    artifact_days: for how long the files of networks are kept that jobs made; None for ever.
    requests_per_minute: of one key, at one API process.
    wrong_keys_per_minute: from one address, before it is not heard for a minute.
    max_connections: at one API process; fewer where it may open few files.
    max_connections_per_address, max_connections_per_account: how many of those are requests at
        work from one address, and of one account.
    header_seconds: for which a client may keep the service waiting for a request's header.
    lease_seconds: a worker that is silent for so long is dead, and its jobs go to others.
    poll_seconds: how often a worker looks for jobs.
    chunk_seconds: how long a job works between two checkpoints of the queue.
    jobs_per_worker: jobs that one worker works on at once.
    gpu_jobs_per_worker: jobs beside them that ask for a GPU, of a worker that has one.
    evaluation_processes: evaluations of one job at once; None leaves it to the job.
    ray_address: `HOST:PORT` of a Ray cluster that evaluates, by `RAY_ADDRESS`, Ray's own name for
        it; None evaluates in child processes of the worker.
    trial_cpus, trial_gpus: what one evaluation takes of a node of that cluster.
    log_format, log_level: of what every process writes to standard error.
    trial_seconds, trial_memory_bytes: the most that one trial may take, whatever its job allows;
        None leaves it to the job.
    pruning_nets_dir: where trained PruningNets are kept for later jobs; None for a folder of the
        data directory.
    """

    model_config = SettingsConfigDict(env_prefix="AUTOML_COMPRESS_", populate_by_name=True)

    data_dir: Path = Path("automl-compress-data")
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    key: SecretStr | None = None
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$")] | None = None
    max_upload_bytes: int = Field(default=512 * 2**20, gt=0)
    max_unfinished_jobs: int = Field(default=100, ge=1)
    max_stored_bytes: int = Field(default=20 * 2**30, ge=0)
    artifact_days: float | None = Field(default=None, gt=0, le=36_500)
    requests_per_minute: int = Field(default=1200, ge=1)
    wrong_keys_per_minute: int = Field(default=10, ge=1)
    max_connections: int = Field(default=512, ge=1)
    max_connections_per_address: int = Field(default=128, ge=1)
    max_connections_per_account: int = Field(default=128, ge=1)
    header_seconds: float = Field(default=10.0, gt=0)
    lease_seconds: float = Field(default=30.0, gt=0)
    poll_seconds: float = Field(default=0.5, gt=0)
    chunk_seconds: float = Field(default=2.0, gt=0)
    jobs_per_worker: int = Field(default=1, ge=1)
    gpu_jobs_per_worker: int = Field(default=1, ge=1)
    evaluation_processes: int | None = Field(default=None, ge=1)
    ray_address: Annotated[str | None, Field(validation_alias="RAY_ADDRESS")] = None
    trial_cpus: float = Field(default=1.0, gt=0)
    trial_gpus: float = Field(default=0.0, ge=0)
    log_format: LogFormat = "text"
    log_level: LogLevel = "warning"
    trial_seconds: float | None = Field(default=None, gt=0)
    trial_memory_bytes: int | None = Field(default=None, gt=0)
    pruning_nets_dir: Path | None = None

    @property
    def tables_url(self) -> str:
        """URL of the database of our tables."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute()}/automl-compress.sqlite"
