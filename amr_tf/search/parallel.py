"""KerasTuner's chief/worker service with heartbeats, so that workers and chiefs may be killed.

In KerasTuner 1.4, a lost worker keeps its trial forever, so the chief never ends. A worker whose
chief is lost waits for an hour. Here, a worker sends a heartbeat every few seconds over the same
gRPC service, and the chief gives the trial of a silent worker to another.
"""

import contextlib
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
# A chief without workers, or a worker without a chief, waits this many times `worker_timeout`.
PATIENCE = 10
_SIGNS = 6  # Heartbeats per `worker_timeout`.


def role() -> str:
    """Returns this process's role, "alone", "chief" or "worker", from KerasTuner's variables.

    Raises:
        ValueError: only some of the variables are set, or a value is not allowed.
    """
    values: dict[str, Any] = {name: os.environ.get(name) for name in VARIABLES}
    if all(value is None for value in values.values()):
        return "alone"
    for name, value in values.items():
        if not value:
            raise ValueError(
                f"{name} is not set: a parallel search needs {', '.join(VARIABLES[:2])} and "
                f"{VARIABLES[2]}."
            )
    tuner_id, _, port = values.values()
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{VARIABLES[2]} must be a port from 1 to 65535; got '{port}'.")
    if "chief" in tuner_id and tuner_id != "chief":
        raise ValueError(f"{VARIABLES[0]} must be chief or a name without it; got '{tuner_id}'.")
    return "chief" if tuner_id == "chief" else "worker"


def _address() -> str:
    return f"{os.environ[VARIABLES[1]]}:{os.environ[VARIABLES[2]]}"


class _Service(oracle_chief.OracleServicer):
    """KerasTuner's service, which records each worker's last call and rejects lost workers.

    A worker's calls carry its name and an id of its process. If two processes share a name, the one
    that last asked for a trial is the worker.
    """

    def __init__(self, oracle: Any) -> None:
        super().__init__(oracle)
        self.heard: dict[Any, float] = {}  # From workers' names to the times of their last calls.
        self._processes: dict[Any, str | None] = {}

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._processes[request.tuner_id] = _metadata(context).get("process")
        self.heard[request.tuner_id] = time.monotonic()
        return super().CreateTrial(request, context)

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._check_owner(request.trial_id, context)
        return super().GetTrial(request, context)

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._check_owner(request.trial_id, context)
        return super().UpdateTrial(request, context)

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._check_owner(request.trial.trial_id, context)
        return super().EndTrial(request, context)

    def _check_owner(self, trial_id: str, context: grpc.ServicerContext) -> None:
        caller = _metadata(context)
        name, process = caller.get("worker"), caller.get("process")
        trial = self.oracle.ongoing_trials.get(name)
        # A restarted chief does not know the processes yet.
        if self._processes.setdefault(name, process) != process:
            context.abort(grpc.StatusCode.ABORTED, f"another process is called {name}")
        if trial is None or trial.trial_id != trial_id:
            context.abort(grpc.StatusCode.ABORTED, f"{name} was given up as lost")
        self.heard[name] = time.monotonic()


def _metadata(context: grpc.ServicerContext) -> dict[str, Any]:
    return dict(context.invocation_metadata())


def serve(oracle: Any, worker_timeout: float) -> None:
    """Runs the chief, which hands out trials until all are finished and the workers know it.

    Args:
        oracle: a `keras_tuner.Oracle` that is `KillSafe`.
        worker_timeout: seconds without contact after which a worker is considered lost.

    Raises:
        OSError: the address cannot be used, or there was no worker for `PATIENCE` times
            `worker_timeout`.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    service = _Service(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(service, server)
    try:
        port = server.add_insecure_port(_address())
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(f"The chief cannot listen at {_address()}: it is in use, or not ours.")
    server.start()
    print(f"The chief waits for workers at {_address()}.", flush=True)
    try:
        _watch(oracle, service, worker_timeout)
    finally:
        server.stop(grace=5).wait()


def _watch(oracle: Any, service: _Service, worker_timeout: float) -> None:
    started = time.monotonic()
    while not (service.stop_triggered and not oracle.ongoing_trials and not oracle.tuner_ids):
        time.sleep(0.5)
        now = time.monotonic()
        for name in {*oracle.tuner_ids, *oracle.ongoing_trials}:
            if now - service.heard.get(name, started) > worker_timeout:
                _give_up(oracle, name, worker_timeout)
        if now - max(service.heard.values(), default=started) > PATIENCE * worker_timeout:
            finished = sum(trial.status == "COMPLETED" for trial in oracle.trials.values())
            raise OSError(
                f"No worker was heard of for {PATIENCE * worker_timeout:g} s. {finished} trials "
                "are finished; run the same command to continue."
            )


def _give_up(oracle: Any, name: str, worker_timeout: float) -> None:
    trial_id = oracle.give_up(name)
    if trial_id is not None:
        print(
            f"{name} was not heard of for {worker_timeout:g} s: trial {trial_id} goes to another.",
            flush=True,
        )


class Connection:
    """A worker's connection to the chief.

    Args:
        client: KerasTuner's `OracleClient`, which will use this connection.
        worker_timeout: the chief's, in seconds.
    """

    def __init__(self, client: Any, worker_timeout: float) -> None:
        self.patience = PATIENCE * worker_timeout
        self._interval = worker_timeout / _SIGNS
        # By default, gRPC eventually retries only every two minutes.
        wait = max(100, int(1000 * min(5, self._interval)))
        options = [
            ("grpc.max_reconnect_backoff_ms", wait),
            ("grpc.initial_reconnect_backoff_ms", wait),
        ]
        self._channel = grpc.insecure_channel(_address(), options)
        caller = (("worker", client.tuner_id), ("process", uuid.uuid4().hex))
        client.stub = protos.get_service_grpc().OracleStub(
            grpc.intercept_channel(self._channel, _Signature(caller))
        )
        self._stub = client.stub

    def wait(self) -> None:
        """Waits for the chief.

        Raises:
            OSError: the chief does not answer for `PATIENCE` times `worker_timeout`.
        """
        try:
            grpc.channel_ready_future(self._channel).result(timeout=self.patience)
        except grpc.FutureTimeoutError:
            raise OSError(
                f"No chief answered at {_address()} for {self.patience:g} s: start it with "
                "KERASTUNER_TUNER_ID=chief; nothing that was saved is lost."
            ) from None

    @contextlib.contextmanager
    def signs_of_life(self, trial_id: str) -> Iterator[None]:
        """Sends heartbeats for the worker's trial to the chief as long as the context lasts.

        The process exits if the chief considers it lost, since the run's folder then belongs to
        another worker.
        """
        over = threading.Event()
        thread = threading.Thread(target=self._tell, args=(trial_id, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, trial_id: str, over: threading.Event) -> None:
        request = protos.get_service().GetTrialRequest(trial_id=trial_id)
        while not over.wait(self._interval):
            try:
                self._stub.GetTrial(request, timeout=self._interval)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.ABORTED:
                    print(f"error: {lost(error)}", file=sys.stderr, flush=True)
                    os._exit(2)  # Writes nothing more to that folder.


def lost(error: Any) -> str:
    """Returns a sentence that explains a `grpc.RpcError`."""
    if error.code() == grpc.StatusCode.ABORTED:
        return f"This worker ends, since its chief says: {error.details()}."
    return f"The chief at {_address()} failed: {error.details()}; run the same command to continue."


class _Signature(grpc.UnaryUnaryClientInterceptor):
    """Adds the caller's name and process to each call."""

    def __init__(self, caller: tuple[tuple[str, str], ...]) -> None:
        self._caller = caller

    def intercept_unary_unary(
        self, continuation: Callable, client_call_details: Any, request: Any
    ) -> Any:
        return continuation(client_call_details._replace(metadata=self._caller), request)
