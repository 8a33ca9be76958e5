"""Servers and processes on this machine: a broker, a database, and whatever else must run beside them.

For tests, the sandbox and a durable exchange on one machine; production brings its own servers. Everything listens
on 127.0.0.1 only, and nothing that is started here outlives the process that started it.

    with ApacheKafka(home / "kafka") as kafka, LocalPostgres(home / "postgres") as postgres:
        ...  # kafka.bootstrap, postgres.dsn

kafka, memory_broker, postgres   servers; what they have in common: server     kafka_probe   whether a broker answers
processes                        a child that never outlives us; guard ends those of a program that could not do so itself
supervisor                       keeps a set of programs running                folders, ports   for all of them

Impure throughout: clock, files, sockets, processes. Blocks while a server starts or stops; call it before the event
loop begins, or in a thread.
"""

from services.runtime.infra.folders import open_folder
from services.runtime.infra.kafka import ApacheKafka
from services.runtime.infra.memory_broker import MemoryBroker
from services.runtime.infra.ports import can_listen, free_port
from services.runtime.infra.postgres import LocalPostgres, WheelPostgres, any_postgres
from services.runtime.infra.processes import OwnedProcess
from services.runtime.infra.server import Server, ServerFailed
from services.runtime.infra.supervisor import GaveUp, Life, Program, Supervisor

__all__ = [
    "ApacheKafka",
    "GaveUp",
    "Life",
    "LocalPostgres",
    "MemoryBroker",
    "OwnedProcess",
    "Program",
    "Server",
    "ServerFailed",
    "Supervisor",
    "WheelPostgres",
    "any_postgres",
    "can_listen",
    "free_port",
    "open_folder",
]
