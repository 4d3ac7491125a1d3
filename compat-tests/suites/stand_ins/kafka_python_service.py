"""Takes the place of kafka-python's `test/service.py`, which its source distribution leaves out: services that run already."""


class ExternalService:
    """A broker that somebody else starts and stops."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def open(self) -> None:
        """It is open."""

    def close(self) -> None:
        """Whoever opened it closes it."""

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """Whoever started it stops it."""

    def dump_logs(self) -> None:
        """Its log is not ours."""

    def wait_for(self, pattern: str, timeout: float = 30) -> bool:
        """Whatever is waited for has happened."""
        return True


class SpawnedService:
    """A broker of the test's own, which there is not."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        raise RuntimeError("these tests run against one broker, which was started for them")
